"""The atlas header panel: the corpus and the encoder of an atlas, and how it was made."""

import html
from collections.abc import Callable, Mapping

import streamlit as st

from components.atlas.map_state import map_words, rebuild_due
from components.atlas.store import PROBLEMS, Atlas, read_problems
from corpus.readers.report import problems_csv


def atlas_header(
    atlas: Atlas,
    *,
    corpora: Mapping[str, str],
    encoders: Mapping[str, str],
    corpus_key: str,
    encoder_key: str,
    on_corpus: Callable[[], None],
    on_encoder: Callable[[], None],
) -> None:
    """Draw what an atlas is, and the choice of another corpus, or of another encoder of this one.

    corpora: what each is called, by name. encoders: the atlases of the corpus, by name, with what each is called. What
    is chosen is in `st.session_state`.
    """
    if len(corpora) > 1:
        st.selectbox(
            "Corpus",
            list(corpora),
            format_func=lambda name: corpora.get(name, name),
            key=corpus_key,
            on_change=on_corpus,
            label_visibility="collapsed",
            width=190,
        )
    if len(encoders) > 1:
        st.selectbox(
            "Encoder",
            list(encoders),
            format_func=lambda name: encoders[name],
            key=encoder_key,
            on_change=on_encoder,
            label_visibility="collapsed",
            width=260,
        )
    with st.popover(f"{len(atlas):,} papers" if len(atlas) != 1 else "1 paper", icon=":material/menu_book:"):
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
        "Corpus": manifest.display_title,
        "Papers": f"{manifest.papers:,}",
        "Encoder": f"{manifest.encoder.name}, {manifest.dimensions} dimensions",
        "Search": recall,
        "Map": map_words(manifest),
        "Built": manifest.created[:10],
    }
    if manifest.growth.added or manifest.growth.removed:
        facts["Since the map"] = f"{manifest.growth.added:,} added, {manifest.growth.removed:,} removed"
        if due := rebuild_due(manifest):
            facts["Since the map"] += f". {due} Lay it out again: cocite rebuild {manifest.name}"
    told = list(facts.items())  # files added on different days may have one name
    accounts = (manifest.source, *manifest.source.get("additions", []))
    for report in (report for account in accounts for report in account.get("reports", [])):
        bare = report.get("without_abstract", 0)
        read = (
            f"{report.get('kept', 0):,} of {report.get('read', 0):,} records"
            f"{f' ({bare:,} without an abstract)' if bare else ''}; left out: "
            f"{report.get('empty', 0):,} without title or abstract, {report.get('non_english', 0):,} not in English, "
            f"{report.get('duplicate', 0):,} given twice, {report.get('damaged', 0):,} damaged"
        )
        told.append((f"Read from {report.get('file', '')}", read))
    entries = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in told)
    st.html(f'<dl class="facts">{entries}</dl>')
    if PROBLEMS in manifest.files:
        st.download_button(
            "What was left out, and why (CSV)",
            lambda: problems_csv(read_problems(manifest)),
            f"{manifest.name}-left-out.csv",
            "text/csv",
            key="left-out",
            on_click="ignore",
        )
