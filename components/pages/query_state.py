"""The query of a session on the pages that have a query box: fields, parsed text, looked-up ids, and vectors.

A text pasted on one page is there on the others.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import streamlit as st

from components.atlas.encoders import TakesNoText
from components.atlas.paths import DEFAULT_ATLAS
from components.atlas.store import Atlas
from components.encoder.base import EncoderUnavailable, TextCoverage
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.pages import resources, session
from components.panels.query import PASTE, TITLE, LookUp
from components.search.query_text import QueryText, understand
from components.search.search import Query
from corpus.errors import CociteAtlasError
from corpus.identifiers import parse_identifier
from corpus.sources.lookup import SOURCES, look_up
from corpus.sources.source import Source

_PASTED = "pasted"  # the paste that was parsed last
_SHOWN_ON = "fields-shown-on"  # the page that drew the fields last
_TYPED_ID = "typed-id"  # an id that is still to be found
_LOOK_UP = "look-up"  # the last LookUp
_ID = re.compile(r"\S{1,300}")  # what can be the id of a paper of a corpus


class _RecordedSources(dict[str, Source]):
    """Sources by name, which records the titles of those that are used."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        super().__init__(sources)
        self.used: list[str] = []

    def __getitem__(self, name: str) -> Source:
        source = super().__getitem__(name)
        self.used.append(source.title)
        return source


def restore_fields(page: str) -> None:
    """Put the paste back into the fields after another page was shown, which makes Streamlit drop their values.

    page: the one that draws the fields now.
    """
    text, before = session.query_text(), st.session_state.get(_SHOWN_ON)
    st.session_state[_SHOWN_ON] = page
    # Between two pages with the fields, their values are still there for a moment, but the fields are empty.
    if text is not None and (before != page or PASTE not in st.session_state):
        st.session_state[PASTE] = st.session_state[_PASTED]
        st.session_state[TITLE] = text.title


def take_paste() -> None:
    """Parse the fields as the query."""
    paste = st.session_state[PASTE]
    text = understand(paste)
    if st.session_state.get(_PASTED) == paste and TITLE in st.session_state:
        # The same paste again: what is in the title field is a correction.
        text = replace(text, title=st.session_state[TITLE].strip())
    st.session_state[_PASTED] = paste
    st.session_state[TITLE] = text.title
    session.set_query_text(text)


def take_paper(atlas: Atlas, row: int) -> None:
    """Take a paper's text as the query."""
    paper = atlas.paper(row)
    st.session_state[PASTE] = f"{paper.title}\n\n{paper.abstract}"
    take_paste()


# Ids


def take_typed_id() -> bool:
    """Whether the field holds an id, which is kept to be found; the field stays as it is."""
    paste = st.session_state[PASTE]
    if parse_identifier(paste) is None and not _ID.fullmatch(paste.strip()):
        return False
    st.session_state[_TYPED_ID] = paste.strip()
    return True


def typed_id() -> str:
    """The id that is still to be found; empty without one."""
    return str(st.session_state.get(_TYPED_ID, ""))


def clear_typed_id() -> None:
    """Forget the typed id: its paper was found."""
    st.session_state.pop(_TYPED_ID, None)


def look_up_typed_id() -> None:
    """Put the title and abstract of the typed id into the field, as if they had been pasted.

    Only the id is sent. After a failure, the field keeps the id and the page says why.
    """
    typed = typed_id()
    clear_typed_id()
    identifier = parse_identifier(typed)
    if identifier is None:
        take_paste()  # a word that is no id of this corpus: a text after all
        return
    sources = _RecordedSources(SOURCES)
    try:
        paper = look_up(identifier, sources=sources, client=resources.client())
    except CociteAtlasError as error:
        session.set_query_text(None)  # the results of the previous query would not belong to this id
        message = f"This corpus does not have {identifier}. {error} You can paste the title and abstract instead."
        st.session_state[_LOOK_UP] = LookUp(typed, message, failed=True)
        return
    st.session_state[PASTE] = f"{paper.title}\n\n{paper.abstract}".strip()
    take_paste()
    message = f"{identifier} was looked up at {' and '.join(dict.fromkeys(sources.used))}; nothing else was sent."
    if not paper.abstract:
        message += " There is no abstract. Paste one below the title if you have it."
    st.session_state[_LOOK_UP] = LookUp(st.session_state[PASTE], message)


def last_look_up() -> LookUp | None:
    """The look-up of the id that the field is about; None where it holds something else."""
    found = cast("LookUp | None", st.session_state.get(_LOOK_UP))
    return found if found is not None and found.text == str(st.session_state.get(PASTE, "")).strip() else None


# Vectors


def text_query(atlas: Atlas, text: QueryText) -> tuple[Query | None, TextCoverage | None, str]:
    """A text as a query for an atlas, how much of it was read, and why there is no query."""
    try:
        query, reading = encode(atlas, text)
    except TakesNoText as error:
        return None, None, str(error)
    except CociteAtlasError as error:
        neural = atlas.manifest.encoder.source not in (EMBEDDED, LEXICAL)
        download = " You can download it on the Encoders page." if isinstance(error, EncoderUnavailable) else ""
        advice = f"{download} The corpus {DEFAULT_ATLAS} works with the embedded encoder." if neural else ""
        return None, None, f"{error}{advice} You can still use the map, and “Use as query” at a paper."
    return query, reading, ""


def encode(atlas: Atlas, text: QueryText) -> tuple[Query, TextCoverage]:
    """A text as a query for an atlas, and how much of it was read.

    Raises TakesNoText, EncoderUnavailable, UnknownEncoder, AtlasDamaged, and FingerprintMismatch where the encoder was
    changed.
    """
    encoder = resources.encoder_of(atlas.manifest)
    atlas.check_fingerprint(encoder.fingerprint)
    vector = resources.text_vector(encoder.fingerprint, text.title, text.abstract, encoder)
    return Query(vector, encoder.fingerprint, text.title), encoder.coverage(text.title, text.abstract)
