"""Panels of a search: the query box, the filters, and the header above the results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from components.atlas.facets import Filters
from components.atlas.store import Atlas
from components.encoder.base import TextCoverage
from components.search.cards import has_pair_shares, meaning
from components.search.markup import plural
from components.search.query_text import QueryText, coverage_words
from components.search.search import MAP_SHARE, SearchResult
from components.search.view import K_CHOICES
from corpus.text.markdown import escaped

# Keys of widgets in st.session_state.
PASTE, TITLE = "paste", "title"
K, YEARS, VENUES, TOPICS = "filter-k", "filter-years", "filter-venues", "filter-topics"
_MAX_EXAMPLE_CHARS = 90
_MAX_OPTIONS = 400  # venues and topics offered, the commonest first; rarer ones can be typed
_MAX_NAMED = 3  # papers that are named; further ones are counted


@dataclass(frozen=True, slots=True)
class LookUp:
    """The result of looking up an id. text: what the field then holds: the paper's text, or the id after a failure."""

    text: str
    message: str
    failed: bool = False


def query_box(
    *,
    query_text: QueryText | None,
    searched: bool,
    reading: TextCoverage | None,
    examples: Sequence[str],
    blocked: str,
    look_up: LookUp | None = None,
    takes_text: bool = True,
    takes_ids: bool = False,
    on_search: Callable[[], None],
    on_example: Callable[[int], None],
) -> None:
    """Draw the box. The pasted text is in `st.session_state[PASTE]`, the corrected title in `[TITLE]`.

    query_text: the last paste as parsed; None before a search. searched: whether the results are for it. reading: how
    much of it the encoder read. examples: titles; on_example gets the place of the chosen one. blocked: why there are
    no results; empty where there are. takes_text, takes_ids: whether texts and ids can be searched for.
    """
    with st.form("query", border=False):
        st.text_area(
            "Title and abstract",
            key=PASTE,
            height=190,
            placeholder=("Paste a paper's title and abstract.\nThe first line or paragraph is read as the title.")
            + ("\nOr type a DOI, PMID, PMCID, arXiv or Semantic Scholar id." if takes_ids else "")
            if takes_text
            else "Type the id, PMID or DOI of a paper of this corpus.",
        )
        # Drawn whenever there is a text: Streamlit forgets the value of a field that is not drawn.
        if query_text:
            st.text_input(
                "Title",
                key=TITLE,
                placeholder="No title was found. Type it here and search again.",
                help="Correct it here and search again. Pasting another text replaces it.",
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            st.form_submit_button("Search", type="primary", icon=":material/search:", on_click=on_search)
            st.caption(
                ":material/lock: Pasted text stays on this machine."
                + (" An id not in this corpus is looked up online; only the id is sent." if takes_ids else "")
            )
    if look_up is not None and look_up.failed:
        st.warning(escaped(look_up.message), icon=":material/search_off:")
    elif look_up is not None:
        st.caption(f":material/public: {escaped(look_up.message)}")
    if blocked:
        st.warning(escaped(blocked), icon=":material/info:")
    if query_text is not None and searched:
        with st.container(key="read"):
            _parsed(query_text, reading)
    if examples and not query_text:
        st.caption("Or try one of these papers:")
        with st.container(gap=None):
            for place, title in enumerate(examples):
                st.button(
                    escaped(title if len(title) <= _MAX_EXAMPLE_CHARS else title[: _MAX_EXAMPLE_CHARS - 2] + "…"),
                    key=f"example-{place}",
                    type="tertiary",
                    icon=":material/north_east:",
                    on_click=on_example,
                    args=(place,),
                )


def _parsed(query_text: QueryText, reading: TextCoverage | None) -> None:
    """How the text was parsed, and how much of it the encoder read."""
    if not query_text:
        st.info("There is no text to search for. Paste one, or choose an example.", icon=":material/edit:")
        return
    if reading:
        icon = "done_all" if reading.complete else "spellcheck" if reading.skips else "content_cut"
        st.caption(f":material/{icon}: The encoder {coverage_words(reading)}.")
    for note in query_text.notes:
        st.caption(f":material/info: {note}")


def filter_bar(
    *,
    year_span: tuple[int, int] | None,
    venues: Sequence[str],
    topics: Sequence[str],
    filters: Filters,
    unknown: Sequence[str],
    on_change: Callable[[], None],
    on_clear: Callable[[], None],
) -> None:
    """Draw the filters; their values are in `st.session_state` under K, YEARS, VENUES and TOPICS.

    unknown: venues or topics of the filters that no paper has. on_clear: removes all filters.
    """
    count = bool(filters.years) + len(filters.venues) + len(filters.topics)
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover(f"Filters · {count}" if count else "Filters", icon=":material/filter_list:"):
            if year_span and year_span[0] < year_span[1]:
                st.slider("Years", *year_span, key=YEARS, on_change=on_change)
            for label, key, names, chosen, help in (
                ("Venues", VENUES, venues, filters.venues, "Papers in any of these."),
                ("Topics", TOPICS, topics, filters.topics, "Papers with any of these MeSH headings or keywords."),
            ):
                st.multiselect(
                    label,
                    list(dict.fromkeys([*chosen, *names[:_MAX_OPTIONS]])),
                    key=key,
                    on_change=on_change,
                    accept_new_options=True,
                    placeholder=f"Any {label[:-1].lower()}",
                    help=f"{help} The list has the commonest; type the full name of a rarer one.",
                )
            if count:
                st.button("Clear all filters", on_click=on_clear, type="tertiary")
        st.selectbox(
            "Papers to show",
            K_CHOICES,
            key=K,
            on_change=on_change,
            format_func=lambda k: f"{k} papers",
            label_visibility="collapsed",
            width=130,
        )
    for name in unknown:
        st.caption(":material/info: No paper of this corpus has this venue or topic:")
        st.text(name)


def seeds_panel(atlas: Atlas, seeds: Sequence[int], *, on_clear: Callable[[], None]) -> None:
    """Draw the papers that are the query, and a way back to the text."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            "Papers most like this one" if len(seeds) == 1 else f"Papers most like these {len(seeds):,} on average"
        )
        st.button("Clear", icon=":material/close:", type="tertiary", on_click=on_clear, help="Back to the text")
    _titles(atlas, seeds)


def result_header(
    atlas: Atlas,
    result: SearchResult,
    *,
    asked_for: int,
    filtered: bool,
    seeds: Sequence[int],
    on_clear_seeds: Callable[[], None],
    exports: Callable[[], None],
) -> None:
    """Draw what stands above the results. asked_for: k. seeds: rows searched from. exports: draws a menu."""
    if seeds:
        seeds_panel(atlas, seeds, on_clear=on_clear_seeds)
    if result.hits:
        with st.container(horizontal=True, vertical_alignment="center"):
            count = len(result.hits)
            st.subheader(f"{count} nearest papers" if count > 1 else "The nearest paper", anchor=False)
            st.space("stretch")
            exports()
        _statistics(atlas, result, asked_for=asked_for, filtered=filtered)
    else:
        st.info(
            "No other paper matches these filters. Widen or clear them."
            if filtered
            else "This corpus has no other paper.",
            icon=":material/filter_list_off:",
        )
    if own := sorted(set(result.own) - set(seeds)):
        reason = "the same paper again" if seeds else "the text that you pasted"
        st.caption(f":material/content_copy: Left out, because it is {reason}:")
        _titles(atlas, own)


def _statistics(atlas: Atlas, result: SearchResult, *, asked_for: int, filtered: bool) -> None:
    count, candidates = len(result.hits), plural(result.candidates, "paper")
    closeness = f"est match is {meaning(result.hits[0].share_farther)}" if has_pair_shares(atlas) else ""
    if filtered and count < asked_for:
        text = "The only paper that matches the filters" if count == 1 else f"All {candidates} that match the filters"
        text += f" · b{closeness}" if closeness else ""
    else:
        searched = f"{candidates} match the filters" if filtered else candidates
        text = f"B{closeness} ({searched})" if closeness else f"Searched {candidates}"
    # In a small corpus most papers are near on the map, and the number would mean nothing.
    if len(atlas) <= 2 * count:
        st.caption(text)
        return
    st.caption(
        f"{text}  \n:material/map: {result.near_on_map} of these {count} are also near on the map",
        help=f"Near on the map: among the {MAP_SHARE:.0%} of all points nearest to the star. The map squeezes "
        f"{atlas.manifest.dimensions} dimensions into two; where this number is low, trust the list, not the map.",
    )


def _titles(atlas: Atlas, rows: Sequence[int]) -> None:
    for title in atlas.titles(list(rows[:_MAX_NAMED])):
        st.text(title)
    if len(rows) > _MAX_NAMED:
        st.text(f"… and {len(rows) - _MAX_NAMED:,} more")
