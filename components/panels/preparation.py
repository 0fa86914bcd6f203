"""The preparation panel: assembles the default atlas on the first start, and says how far it is."""

import time

import streamlit as st

from components.atlas.build import INDEXING, NAMING, READING, WRITING
from components.atlas.default import ensure_medline, rebuild_medline
from components.atlas.paths import AtlasBusy
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

# What each stage takes of the whole, by the clock; within a stage, progress is its own.
_SHARES = {READING: (0.0, 0.62), NAMING: (0.62, 0.74), INDEXING: (0.74, 0.97), WRITING: (0.97, 1.0)}


def prepare_medline(*, again: bool) -> bool:
    """Assemble the default atlas with a progress bar; whether it is there now. Errors are said on the page."""
    place = st.empty()
    with place.container(key="preparation"):
        st.title("Cocite Atlas", anchor=False)
        st.subheader("Preparing the default corpus", anchor=False)
        st.text(
            "18,000 biomedical papers are being read from an installed package and indexed. "
            "This happens once and takes about half a minute. Nothing is downloaded."
        )
        bar = st.progress(0.0, text=READING)
    shown = 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal shown
        first, last = _SHARES.get(stage, (0.0, 1.0))
        value = first + (last - first) * done / max(total, 1)
        if value - shown > 0.005 or stage == WRITING:
            shown = value
            bar.progress(min(value, 1.0), text=f"{stage}…")

    try:
        (rebuild_medline if again else ensure_medline)(progress=progress)
    except AtlasBusy:
        bar.progress(0.0, text="Another window is preparing it. This page goes on as soon as it is done.")
        time.sleep(1.5)
        st.rerun()
    except CociteAtlasError as error:
        place.empty()
        st.error(escaped(str(error)), icon=":material/error:")
        return False
    place.empty()
    return True
