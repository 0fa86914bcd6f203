"""The frame of every page: style, head with links to the other pages, and the default corpus on the first start."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import streamlit as st
from streamlit.navigation.page import Page

from components.atlas import paths
from components.atlas.build import INDEXING, NAMING, READING, WRITING
from components.atlas.default import ensure_medline, rebuild_medline
from components.atlas.paths import DEFAULT_ATLAS, AtlasBusy
from components.jobs import runner
from components.pages import session
from components.search.view import Params
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

_PAGES = "pages"
_CSS = (Path(__file__).parents[1] / "panels" / "assets" / "page.css").read_text(encoding="utf-8")
# The share of the time of each stage of assembling the default atlas.
_STAGES = {READING: (0.0, 0.62), NAMING: (0.62, 0.74), INDEXING: (0.74, 0.97), WRITING: (0.97, 1.0)}


def begin(pages: Mapping[str, Page]) -> None:
    """Add the style, and keep the pages of this run by name so that each can link to the others."""
    st.html(f"<style>{_CSS}</style>")
    st.session_state[_PAGES] = dict(pages)


def page(name: str) -> Page:
    """The page of a name."""
    found: Page = st.session_state[_PAGES][name]
    return found


def masthead(*, atlas: str, beside: Callable[[], None] | None = None) -> None:
    """Draw the head of a page. atlas: the page's own, which the links carry on. beside: draws what is at the right."""
    with st.container(horizontal=True, vertical_alignment="center", key="masthead"):
        st.title("Cocite Atlas", anchor=False, width="content")
        with st.container(horizontal=True, width="content", gap="small", key="ways"):
            for name, found in st.session_state[_PAGES].items():
                st.page_link(found, label=name, query_params=_params(name, atlas))
        if (status := runner.latest()) is not None and not status.over:
            words = status.request.words
            st.caption(f":material/construction: {escaped(words[:1].upper() + words[1:])}")
        st.space("stretch")
        if beside is not None:
            beside()


def _params(name: str, atlas: str) -> Params:
    if name == "Explore":
        return session.explore_params(atlas)
    if name == "Evaluate":
        return session.evaluate_params(atlas)
    return session.compare_params(atlas) if name == "Compare" else {"atlas": atlas}


def show_error(error: object, *, icon: str = "error") -> None:
    """Draw an error; its text may have any origin."""
    st.error(escaped(str(error)), icon=f":material/{icon}:")


def default_atlas_ready() -> bool:
    """Whether the default atlas exists; it is assembled where it does not, with a progress bar."""
    return DEFAULT_ATLAS in paths.atlas_names() or assemble_default_atlas()


def assemble_default_atlas(*, again: bool = False) -> bool:
    """Assemble the default atlas from the shipped files; whether it exists now. Errors are drawn."""
    place = st.empty()
    with place.container(key="preparation"):
        st.title("Cocite Atlas", anchor=False)
        st.subheader("Preparing the default corpus", anchor=False)
        st.text(
            "Reading and indexing 18,000 biomedical papers from an installed package. This happens once, takes about "
            "half a minute and downloads nothing."
        )
        bar = st.progress(0.0, text=READING)
    shown = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal shown
        first, last = _STAGES.get(stage, (0.0, 1.0))
        share = min(first + (last - first) * done / max(total, 1), 1.0)
        if share - shown > 0.005 or stage == WRITING:
            shown = share
            bar.progress(share, text=f"{stage}…")

    try:
        (rebuild_medline if again else ensure_medline)(progress=progress)
    except AtlasBusy:
        bar.progress(0.0, text="Another window is preparing it. This page continues when it is done.")
        time.sleep(1.5)
        st.rerun()
    except CociteAtlasError as error:
        place.empty()
        show_error(error)
        return False
    place.empty()
    return True
