"""A text as a query, on the pages that take one: the fields, what was understood, and its vector by an atlas's encoder.

The text is the session's: what was asked on one page is there on the others.
"""

from dataclasses import replace

import streamlit as st

from components.atlas import Atlas
from components.atlas_encoder import TakesNoText
from components.encoder import EMBEDDED, LEXICAL, EncoderUnavailable, Reading
from components.medline import NAME as MEDLINE
from components.pages import resources, session
from components.panels.query_box import PASTE, TITLE
from components.query_text import QueryText, understand
from components.search import Query
from corpus.errors import CociteAtlasError

_PASTED = "pasted"  # the paste that was last understood
_SHOWN_ON = "fields-shown-on"  # the page that drew the fields last


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


def take_paper(atlas: Atlas, row: int) -> None:
    """Take a paper's own text as what this session asks."""
    paper = atlas.paper(row)
    st.session_state[PASTE] = f"{paper.title}\n\n{paper.abstract}"
    take_paste()


def text_query(atlas: Atlas, asked: QueryText) -> tuple[Query | None, Reading | None, str]:
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


def encoded(atlas: Atlas, asked: QueryText) -> tuple[Query, Reading]:
    """The query of a text by an atlas's own encoder, and how much of it was read.

    Raises TakesNoText, EncoderUnavailable, UnknownEncoder, AtlasDamaged, and FingerprintMismatch where the encoder was
    changed.
    """
    encoder = resources.encoder_of(atlas.manifest)
    atlas.check_fingerprint(encoder.fingerprint)
    vector = resources.text_vector(encoder.fingerprint, asked.title, asked.abstract, encoder)
    query = Query(vector=vector, fingerprint=encoder.fingerprint, title=asked.title)
    return query, encoder.reading(asked.title, asked.abstract)
