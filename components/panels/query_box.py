"""The query box panel: paste a title and abstract, see what was understood, put it right, search."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from components.encoder.base import TextCoverage
from components.search.query_text import QueryText
from corpus.text.markdown import escaped

PASTE, TITLE = "paste", "title"  # of the two fields, in st.session_state
_HEIGHT = 190
_IT_STAYS = ":material/lock: Read by this app alone: not sent on, not stored."
_WHERE_IT_GOES = (
    ":material/lock: A pasted text never leaves this machine. An id that this corpus does not have is looked up at its "
    "service, the id alone."
)


@dataclass(frozen=True, slots=True)
class LookedUp:
    """An id that was looked up. text: what stands in the field for it: the paper's, or the id itself where it failed.

    told: what was sent where, or why nothing came of it.
    """

    text: str
    told: str
    failed: bool = False


def query_box(
    *,
    understood: QueryText | None,
    searched: bool,
    reading: TextCoverage | None,
    examples: Sequence[str],
    blocked: str,
    looked_up: LookedUp | None = None,
    takes_text: bool = True,
    takes_ids: bool = False,
    on_search: Callable[[], None],
    on_example: Callable[[int], None],
) -> None:
    """Draw the box. The pasted text is in `st.session_state[PASTE]`, the title as corrected in `[TITLE]`.

    understood: the last paste as it was read; None before a search. searched: whether it is what the results are for.
    reading: how much of it the encoder read.
    examples: titles to click; on_example is called with the place of the one chosen.
    blocked: why nothing could be searched for; empty where all is well. Searching again tries again.
    looked_up: of the id for which the text stands there, or which gave none. takes_text: whether this atlas can be
    searched with a text at all. takes_ids: whether an id is taken for what it is.
    """
    with st.form("query", border=False):
        st.text_area(
            "Title and abstract",
            key=PASTE,
            height=_HEIGHT,
            placeholder=_placeholder(takes_text=takes_text, takes_ids=takes_ids),
        )
        # Drawn as long as there is a text, for Streamlit forgets what a field held that it did not draw.
        if understood:
            st.text_input(
                "Title, as it was read",
                key=TITLE,
                placeholder="No title was found. Type it here and search again.",
                help="Correct it here and search again. Pasting another text replaces it.",
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.form_submit_button("Search", type="primary", icon=":material/search:", on_click=on_search)
            st.caption(
                _WHERE_IT_GOES if takes_ids else ":material/lock: Read by this app alone: not sent on, not stored."
            )
    if looked_up is not None and looked_up.failed:
        st.warning(escaped(looked_up.told), icon=":material/search_off:")
    elif looked_up is not None:
        st.caption(f":material/public: {escaped(looked_up.told)}")
    if blocked:
        st.warning(escaped(blocked), icon=":material/info:")
    if understood is not None and searched:
        with st.container(key="read"):
            _say_what_was_read(understood, reading)
    if examples and not understood:
        _examples(examples, on_example)


def _placeholder(*, takes_text: bool, takes_ids: bool) -> str:
    if not takes_text:
        return "Type the id, PMID or DOI of a paper of this corpus."
    ids = "\nOr type a DOI, PMID, PMCID, arXiv or Semantic Scholar id." if takes_ids else ""
    return (
        "Paste a paper's title and abstract.\nThe first line, or what stands before a blank line, is read as the title."
        + ids
    )


def _say_what_was_read(understood: QueryText, reading: TextCoverage | None) -> None:
    if not understood:
        st.info(
            "Nothing to search for yet. Paste a title and an abstract, or choose an example.", icon=":material/edit:"
        )
        return
    if reading and reading.skips:
        st.caption(
            f":material/spellcheck: {reading.words_read:,} of {reading.words:,} words are known: "
            "the others occur in hardly any paper of this corpus."
            if not reading.complete
            else f":material/done_all: All {reading.words:,} words are known."
        )
    elif reading and not reading.complete:
        st.caption(
            f":material/content_cut: The first {reading.words_read:,} of {reading.words:,} words were read: "
            f"the encoder takes {reading.max_tokens} word pieces."
        )
    elif reading:
        words = "its one word" if reading.words == 1 else f"all {reading.words:,} words"
        st.caption(f":material/done_all: Read in full: {words}.")
    for note in understood.notes:
        st.caption(f":material/info: {note}")


def _examples(examples: Sequence[str], on_example: Callable[[int], None]) -> None:
    st.caption("Or try one of these papers:")
    with st.container(gap=None):
        for place, title in enumerate(examples):
            st.button(
                escaped(title if len(title) <= 90 else title[:88].rstrip() + "…"),
                key=f"example-{place}",
                type="tertiary",
                icon=":material/north_east:",
                on_click=on_example,
                args=(place,),
            )
