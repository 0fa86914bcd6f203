"""The frame of every page: the name of the tool, the way to the other pages, and what a page puts beside it."""

from collections.abc import Callable, Mapping

import streamlit as st
from streamlit.navigation.page import Page

from components.jobs import runner as background
from components.pages import session
from corpus.text.markdown import escaped

_PAGES = "pages"


def remember(pages: Mapping[str, Page]) -> None:
    """Keep the pages of this run, by their names, so that each can link to the others."""
    st.session_state[_PAGES] = dict(pages)


def page(name: str) -> Page:
    """The page of a name."""
    found: Page = st.session_state[_PAGES][name]
    return found


def masthead(*, atlas: str, beside: Callable[[], None] | None = None) -> None:
    """Draw the head of a page. atlas: the one that the page is about, which the links take along.

    beside: draws what the page itself has to choose or to say, at the right.
    """
    with st.container(horizontal=True, vertical_alignment="center", key="masthead"):
        st.title("Cocite Atlas", anchor=False, width="content")
        with st.container(horizontal=True, width="content", gap="small", key="ways"):
            for name, found in st.session_state[_PAGES].items():
                st.page_link(found, label=name, query_params=_params(name, atlas))
        if (now := background.latest()) is not None and not now.over:
            job = now.request
            words = f"building by {job.encoder}" if job.kind == "encode" else job.words
            st.caption(f":material/construction: {escaped(words)}")
        st.space("stretch")
        if beside is not None:
            beside()


def _params(name: str, atlas: str) -> dict[str, str | list[str]]:
    if name == "Explore":
        return session.last_link(atlas)
    if name == "Evaluate":
        return session.evaluation_link(atlas)
    return session.pair_link(atlas) if name == "Compare" else {"atlas": atlas}
