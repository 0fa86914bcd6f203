"""The neighbour index on the Evaluate page: what an atlas's graph finds of the true neighbours, and how fast."""

from dataclasses import replace

import streamlit as st

from components.atlas import paths, store
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.evaluation.index_curve import CurveDamaged, read_curve, stale_note
from components.jobs.model import curve_request
from components.pages import jobs, session
from components.panels.index_curve import index_curve
from components.search.view import EvaluationView
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

_ATLAS = "index-atlas"


def index_tab(view: EvaluationView) -> None:
    """Draw the curve of an atlas, or what would measure it."""
    names = sorted(paths.atlas_names(), key=lambda name: (name != MEDLINE, name))
    name = view.atlas if view.atlas in names else MEDLINE
    st.markdown(
        "A search does not look at every paper: it walks a graph of near papers (hnswlib), and may miss some of the "
        "nearest. This measures how many it finds, and in what time, for several sizes of the graph and of the corpus."
    )
    st.session_state[_ATLAS] = name
    st.selectbox("Atlas", names, format_func=_called, key=_ATLAS, on_change=_on_atlas, args=(view,))
    try:
        manifest = store.read_manifest(name)
        found = read_curve(name)
    except CurveDamaged as error:
        st.error(escaped(str(error)), icon=":material/error:")
        found = None
    except CociteAtlasError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    old = stale_note(found, manifest) if found is not None else ""
    if found is not None:
        index_curve(found, stale=old)
    if found is None or old or not found.complete:
        st.button(
            "Go on measuring" if found is not None and not old else "Measure it",
            type="primary",
            icon=":material/speed:",
            key="measure-index",
            disabled=jobs.runs(),
            on_click=_measure,
            args=(view, name),
        )
        st.caption(
            "In the background: some minutes for 20,000 papers. Times are of this machine, and true where nothing else "
            "runs on it."
        )


def _called(name: str) -> str:
    try:
        manifest = store.read_manifest(name)
    except CociteAtlasError:
        return name
    return f"{manifest.display_title}, {manifest.papers:,} papers by {manifest.encoder.label}"


def _on_atlas(view: EvaluationView) -> None:
    session.show_evaluation(replace(view, atlas=st.session_state[_ATLAS], tab="index"))


def _measure(view: EvaluationView, name: str) -> None:
    if jobs.begin(curve_request(name, title=store.read_manifest(name).display_title)):
        session.show_evaluation(replace(view, atlas=name, tab="index"))
