"""Panels of a corpus: the choice of an atlas with what it is, and a corpus as a card."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from components.atlas.manifest import Manifest
from components.atlas.map_state import map_words, rebuild_due
from components.atlas.store import PROBLEMS, Atlas, read_problems
from components.search.markup import facts_html, plural
from corpus.io.files import format_bytes
from corpus.readers.report import problems_csv
from corpus.text.markdown import escaped

_MAX_NAMED = 3  # encoders that are named; further ones are counted


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
    """Draw the choice of a corpus and of its encoder, and what the atlas is.

    corpora: name → title. encoders: name of an atlas of the corpus → label. The choice is in `st.session_state`.
    """
    for label, names, key, on_change, width in (
        ("Corpus", corpora, corpus_key, on_corpus, 190),
        ("Encoder", encoders, encoder_key, on_encoder, 260),
    ):
        if len(names) > 1:
            st.selectbox(
                label,
                list(names),
                format_func=partial(_label, names),
                key=key,
                on_change=on_change,
                label_visibility="collapsed",
                width=width,
            )
    with st.popover(plural(len(atlas), "paper"), icon=":material/menu_book:"):
        st.html(facts_html([*_facts(atlas.manifest), *_files_read(atlas.manifest)]))
        if PROBLEMS in atlas.manifest.files:
            st.download_button(
                "Records left out, with reasons (CSV)",
                lambda: problems_csv(read_problems(atlas.manifest)),
                f"{atlas.name}-left-out.csv",
                "text/csv",
                key="left-out",
                on_click="ignore",
            )


def _label(labels: Mapping[str, str], name: str) -> str:
    return labels.get(name, name)


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    index, growth = manifest.index, manifest.growth
    search = (
        f"hnswlib, ef_search {index.ef_search}: finds {index.ann_recall_at_10:.1%} of the ten nearest papers for its "
        f"own papers, and {index.ann_recall_at_10_outside:.1%} for other texts (measured against exact search)"
        if index.ef_search
        else "exact: every distance is computed"
    )
    facts = [
        ("Corpus", manifest.display_title),
        ("Papers", f"{manifest.papers:,}"),
        ("Encoder", f"{manifest.encoder.name}, {manifest.dimensions} dimensions"),
        ("Search", search),
        ("Map", map_words(manifest)),
        ("Built", manifest.created[:10]),
    ]
    if growth.added or growth.removed:
        due = rebuild_due(manifest)
        rebuild = f". {due} Use Lay out the map again on the Corpora page." if due else ""
        facts.append(("Since the map was laid out", f"{growth.added:,} added, {growth.removed:,} removed{rebuild}"))
    return facts


def _files_read(manifest: Manifest) -> list[tuple[str, str]]:
    """What was read of each file; files added on different days may have one name."""

    def summary(report: Mapping[str, Any]) -> str:
        def count(name: str) -> int:
            return int(report.get(name, 0))

        bare = f" ({count('without_abstract'):,} without an abstract)" if count("without_abstract") else ""
        return (
            f"{count('kept'):,} of {count('read'):,} records{bare}. Left out: {count('empty'):,} without title or "
            f"abstract, {count('non_english'):,} not in English, {count('duplicate'):,} duplicates, "
            f"{count('damaged'):,} damaged"
        )

    sources = (manifest.source, *manifest.source.get("additions", []))
    reports = [report for source in sources for report in source.get("reports", [])]
    return [(f"Read from {report.get('file', '')}", summary(report)) for report in reports]


def corpus_card(
    atlases: Sequence[Manifest], *, thumbnail: str, bytes: int, due: str, actions: Callable[[], None]
) -> None:
    """Draw a corpus. atlases: at least one; the first gives title and map.

    thumbnail: an SVG; empty without one. bytes: on disk, of all atlases. due: why the map should be laid out again;
    empty where it need not. actions: draws what can be done with the corpus.
    """
    first = atlases[0]
    most, least = max(atlas.papers for atlas in atlases), min(atlas.papers for atlas in atlases)
    papers = plural(most, "paper") + (f" ({least:,} with one encoder)" if least != most else "")
    built = max(atlas.created for atlas in atlases)[:10]
    labels = [escaped(atlas.encoder.label) for atlas in atlases]
    encoders = ", ".join(labels[:_MAX_NAMED]) + (
        f" and {len(labels) - _MAX_NAMED} more" if len(labels) > _MAX_NAMED else ""
    )
    with st.container(border=True, key=f"corpus-{first.corpus}"):
        picture, text = st.columns([4, 7], gap="medium", vertical_alignment="center")
        with picture:
            if thumbnail:
                st.image(thumbnail, width="stretch", alt=f"Map of {first.display_title}: {first.papers:,} points")
            else:
                st.caption("Too few papers for a map.")
        with text:
            st.subheader(escaped(first.display_title), anchor=False)
            st.caption(f"{papers} · {format_bytes(bytes)} on disk · built {escaped(built)}  \nEncoders: {encoders}")
            if due:
                st.caption(f":material/map: {escaped(due)}")
            with st.container(horizontal=True, vertical_alignment="center"):
                actions()
