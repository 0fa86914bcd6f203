"""The index curve panel: recall of the neighbour index against its time, one line an M, and what suffices."""

import streamlit as st

from components.evaluation.index_curve import (
    LOWEST_DRAWN_RECALL,
    SufficientSetting,
    count_undrawn,
    figure,
    partial_note,
    sufficient_settings,
    summary,
    to_csv,
    to_json,
    to_markdown,
)
from components.index.benchmark import TARGET_RECALL, Curve
from components.mapping.palette import DARK, LIGHT
from corpus.text.markdown import escaped

_OFF, _ON = "Pasted texts", "Papers of the corpus"


def index_curve(curve: Curve, *, stale: str = "", key: str = "index-curve") -> None:
    """Draw the curve, with what may be chosen of it, the setting that suffices at each size, and downloads.

    stale: why the curve is not this atlas's any more (see `stale_note`); else empty. key: of the widgets.
    """
    if stale:
        st.warning(escaped(stale), icon=":material/history:")
    if told := partial_note(curve):
        st.info(escaped(told), icon=":material/pause_circle:")
    if not curve.points:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sizes = list(reversed(curve.sizes))
        size = st.selectbox(
            "Size of the corpus", sizes, format_func=lambda size: f"{size:,} papers", key=f"{key}-size", width=200
        )
        asked = st.segmented_control(
            "Queries",
            [_OFF, _ON],
            default=_OFF,
            required=True,
            key=f"{key}-queries",
            help="Pasted texts do not lie on a row of the index, and a graph finds their neighbours less easily. Here "
            "they are papers whose vector was moved off its place; as papers of the corpus, the same ones are asked "
            "for their nearest others.",
        )
    out_of_sample = asked != _ON
    palette = DARK if st.context.theme.type == "dark" else LIGHT
    drawn = figure(curve, size=size, out_of_sample=out_of_sample, palette=palette)
    if drawn["data"]:  # plotly takes no figure of nothing
        st.plotly_chart(drawn, key=f"{key}-plot", theme=None, config={"displayModeBar": False}, alt=summary(curve))
    st.caption(_legend(curve, size=size, out_of_sample=out_of_sample))
    st.markdown(f"**The smallest ef_search that finds {100 * TARGET_RECALL:.0f} % of the nearest**")
    number = st.column_config.NumberColumn
    st.dataframe(
        [_row(one, curve) for one in sufficient_settings(curve)],
        hide_index=True,
        width="stretch",
        key=f"{key}-sufficient",
        column_config={
            "Papers": number(format="localized"),
            "Recall of papers": number(format="%.4f"),
            "Recall of pasted texts": number(format="%.4f"),
            "Median, ms": number(format="%.3f"),
            "Exact search, ms": number(format="%.3f"),
            "Times faster": number(format="%.1f"),
            "Built in, s": number(format="%.1f"),
        },
    )
    st.caption(escaped(_facts(curve)))
    _downloads(curve, key=key)


def _legend(curve: Curve, *, size: int, out_of_sample: bool) -> str:
    told = (
        "Up is better, left is faster. The numbers beside the points are ef\\_search: how many papers the graph keeps "
        "in view as it searches. Left of the dashed line it is faster than looking at every paper."
    )
    if curve.about.ef_search and curve.about.m in curve.ms:
        told += f" The ring is what this atlas uses (M {curve.about.m}, ef\\_search {curve.about.ef_search})."
    if below := count_undrawn(curve, size=size, out_of_sample=out_of_sample):
        points = f"{below:,} points" if below > 1 else "One point"
        told += f" {points} with a recall under {LOWEST_DRAWN_RECALL} cannot be seen here."
    return told


def _row(one: SufficientSetting, curve: Curve) -> dict[str, object]:
    return {
        "Papers": one.size,
        "M": one.m,
        "ef_search": None if one.point is None else one.point.ef_search,
        "Recall of papers": None if one.point is None else one.point.recall,
        "Recall of pasted texts": None if one.point is None else one.point.recall_off_rows,
        "Median, ms": None if one.point is None else one.point.p50_ms,
        "Exact search, ms": one.exact_ms,
        "Times faster": one.times_faster,
        "Built in, s": next(iter(curve.line(size=one.size, m=one.m))).build_seconds,
    }


def _facts(curve: Curve) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in curve.versions.items())
    by = f" by {curve.about.encoder}" if curve.about.encoder else ""
    return (
        f"{curve.rows:,} vectors of {curve.dimensions} dimensions{by}. Recall is the share of the true {curve.k} "
        f"nearest that the graph finds, over {curve.queries:,} queries of each kind. Times are of one query, asked "
        "alone, on one thread. Smaller corpora are samples of this one. "
        f"Measured {curve.made} on {curve.machine}; {versions}."
    )


def _downloads(curve: Curve, *, key: str) -> None:
    name = f"{curve.about.atlas or 'vectors'}-index"
    with st.container(horizontal=True):
        for label, text, mime in (
            ("Markdown", to_markdown(curve), "text/markdown"),
            ("CSV", to_csv(curve), "text/csv"),
            ("JSON", to_json(curve), "application/json"),
        ):
            ending = {"Markdown": "md"}.get(label, label.lower())
            st.download_button(
                label,
                text,
                file_name=f"{name}.{ending}",
                mime=mime,
                icon=":material/download:",
                key=f"{key}-{ending}",
                on_click="ignore",
            )
