"""A text as a query, on the pages that take one: the fields, what was understood, and its vector by an atlas's encoder.

The text is the session's: what was asked on one page is there on the others.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import streamlit as st

from components.atlas.encoders import TakesNoText
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.store import Atlas
from components.encoder.base import TextCoverage
from components.encoder.catalogue import EMBEDDED, LEXICAL
from components.encoder.errors import EncoderUnavailable
from components.pages import resources, session
from components.panels.query_box import PASTE, TITLE, LookedUp
from components.search.query_text import QueryText, understand
from components.search.search import Query
from corpus.errors import CociteAtlasError
from corpus.identifiers import parse_identifier
from corpus.sources.lookup import SOURCES, look_up
from corpus.sources.source import Source

_PASTED = "pasted"  # the paste that was last understood
_SHOWN_ON = "fields-shown-on"  # the page that drew the fields last
_ID = re.compile(r"\S{1,300}")  # what the id of a paper of this corpus may look like
_WANTED = "wanted"  # an id that was typed, and that is not looked up yet
_LOOKED_UP = "looked-up"  # the LookedUp of the id that was looked up last


class _Noted(dict[str, Source]):
    """Sources by their names, which note whom they were taken out for."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        super().__init__(sources)
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Source:
        found = super().__getitem__(name)
        self.asked.append(found.title)
        return found


def restore_fields(page: str) -> None:
    """Put back what was pasted, where another page was shown meanwhile: a field is its page's own, and forgotten there.

    page: the one that draws the fields now.
    """
    asked, before = session.asked(), st.session_state.get(_SHOWN_ON)
    st.session_state[_SHOWN_ON] = page
    # Between two pages that draw it, the value is still there for a moment, and the field is empty all the same.
    if asked is not None and (before != page or PASTE not in st.session_state):
        st.session_state[PASTE] = st.session_state[_PASTED]
        st.session_state[TITLE] = asked.title


def take_paste() -> None:
    """Take what is in the fields as what this session asks."""
    paste = st.session_state[PASTE]
    understood = understand(paste)
    if st.session_state.get(_PASTED) == paste and TITLE in st.session_state:
        # The same paste, sent again: what was typed into the title field is a correction of it.
        understood = replace(understood, title=st.session_state[TITLE].strip())
    st.session_state[_PASTED] = paste
    st.session_state[TITLE] = understood.title
    session.ask(understood)


def want_identified() -> bool:
    """Whether what is in the field is no text but an id, kept as what is wanted; the field stays as it is."""
    paste = st.session_state[PASTE]
    if parse_identifier(paste) is None and not _ID.fullmatch(paste.strip()):
        return False
    st.session_state[_WANTED] = paste.strip()
    return True


def wanted() -> str:
    """The id that is wanted; empty where none is."""
    return str(st.session_state.get(_WANTED, ""))


def no_more_wanted() -> None:
    """The id that was wanted was found."""
    st.session_state.pop(_WANTED, None)


def look_up_wanted() -> None:
    """Put the title and the abstract of the id that is wanted into the field, as if they had been pasted.

    Its service is asked, for the id and nothing else. Where that fails, the field stays and the reason is said.
    """
    typed = wanted()
    no_more_wanted()
    identifier = parse_identifier(typed)
    if identifier is None:
        take_paste()  # a word that no paper of this corpus is called: a text after all
        return
    sources = _Noted(SOURCES)
    try:
        paper = look_up(identifier, sources=sources, client=resources.client())
    except CociteAtlasError as error:
        session.ask(None)  # what was asked before is no answer to this
        st.session_state[_LOOKED_UP] = LookedUp(typed, str(error), failed=True)
        return
    st.session_state[PASTE] = f"{paper.title}\n\n{paper.abstract}".strip()
    take_paste()
    without = "" if paper.abstract else " There is no abstract of it there: paste one below the title, if you have it."
    told = f"{identifier} was sent to {' and '.join(dict.fromkeys(sources.asked))}, and nothing else.{without}"
    st.session_state[_LOOKED_UP] = LookedUp(st.session_state[PASTE], told)


def looked_up() -> LookedUp | None:
    """What is to be said of an id that was looked up for what is in the field; None where it holds something else."""
    found = cast("LookedUp | None", st.session_state.get(_LOOKED_UP))
    return found if found is not None and found.text == str(st.session_state.get(PASTE, "")).strip() else None


def take_paper(atlas: Atlas, row: int) -> None:
    """Take a paper's own text as what this session asks."""
    paper = atlas.paper(row)
    st.session_state[PASTE] = f"{paper.title}\n\n{paper.abstract}"
    take_paste()


def text_query(atlas: Atlas, asked: QueryText) -> tuple[Query | None, TextCoverage | None, str]:
    """The query of a text by an atlas's own encoder, how much of it was read, and why there is none."""
    try:
        query, reading = encoded(atlas, asked)
    except TakesNoText as error:
        return None, None, str(error)
    except CociteAtlasError as error:
        neural = atlas.manifest.encoder.source not in (EMBEDDED, LEXICAL)
        fetch = " The Encoders page fetches it, too." if neural and isinstance(error, EncoderUnavailable) else ""
        others = f"{fetch} The corpus {MEDLINE} works with the embedded encoder." if neural else ""
        return None, None, f"{error}{others} “Use as query” and the map go on working here."
    return query, reading, ""


def encoded(atlas: Atlas, asked: QueryText) -> tuple[Query, TextCoverage]:
    """The query of a text by an atlas's own encoder, and how much of it was read.

    Raises TakesNoText, EncoderUnavailable, UnknownEncoder, AtlasDamaged, and FingerprintMismatch where the encoder was
    changed.
    """
    encoder = resources.encoder_of(atlas.manifest)
    atlas.check_fingerprint(encoder.fingerprint)
    vector = resources.text_vector(encoder.fingerprint, asked.title, asked.abstract, encoder)
    query = Query(vector=vector, fingerprint=encoder.fingerprint, title=asked.title)
    return query, encoder.reading(asked.title, asked.abstract)
