"""The header panel: the name of the tool, the corpus, and how it was made."""

import html
from collections.abc import Callable, Sequence

import streamlit as st

from components.atlas import Atlas


def atlas_header(atlas: Atlas, *, names: Sequence[str], key: str, on_change: Callable[[], None]) -> None:
    """Draw the header. The chosen atlas's name is in `st.session_state[key]`."""
    with st.container(horizontal=True, vertical_alignment="center", key="masthead"):
        st.title("Cocite Atlas", anchor=False, width="content")
        st.space("stretch")
        if len(names) > 1:
            st.selectbox("Corpus", names, key=key, on_change=on_change, label_visibility="collapsed", width=220)
        with st.popover(f"{len(atlas):,} papers", icon=":material/menu_book:"):
            _about(atlas)


def _about(atlas: Atlas) -> None:
    manifest = atlas.manifest
    index = manifest.index
    recall = (
        f"hnswlib, ef_search {index.ef_search}: of the ten nearest that exact search finds, it "
        f"finds {index.ann_recall_at_10:.1%} for its papers and {index.ann_recall_at_10_outside:.1%} for other texts"
        if index.ef_search
        else "exact: every distance is computed"
    )
    facts = {
        "Corpus": manifest.name,
        "Papers": f"{manifest.papers:,}",
        "Encoder": f"{manifest.encoder.name}, {manifest.dimensions} dimensions",
        "Search": recall,
        "Map": f"UMAP, {len(manifest.regions)} regions named by what sets them apart",
        "Built": manifest.created[:10],
    }
    for report in manifest.source.get("reports", []):
        facts[f"Read from {report.get('file', '')}"] = (
            f"{report.get('kept', 0):,} of {report.get('read', 0):,} records; left out: "
            f"{report.get('empty', 0):,} without title or abstract, {report.get('non_english', 0):,} not in English, "
            f"{report.get('duplicate', 0):,} given twice, {report.get('damaged', 0):,} damaged"
        )
    entries = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in facts.items())
    st.html(f'<dl class="facts">{entries}</dl>')
