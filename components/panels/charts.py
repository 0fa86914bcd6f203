"""Panels with plotly charts: the distribution of a metric over queries, and the benchmark of a neighbour index."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from components.evaluation.error_analysis import histogram
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
from components.mapping.palette import DARK, LIGHT, Palette
from corpus.text.markdown import escaped

_BINS = 20
_MAX_NAME_CHARS = 34  # of a system, in the drawing
_QUERY_METRICS = {"MAP": "Average precision"}  # what a mean over queries is called for one query
_TEXTS, _PAPERS = "Pasted texts", "Papers of the corpus"


def _palette() -> Palette:
    return DARK if st.context.theme.type == "dark" else LIGHT


# Distribution of a metric


@dataclass(frozen=True, slots=True)
class Distribution:
    """One system's scores by query, as fractions 0 … 1, and their mean as in the table."""

    name: str
    values: Sequence[float]
    mean: float


def score_distribution(first: Distribution, second: Distribution | None, *, metric: str, key: str) -> None:
    """Draw a histogram; of two systems the first upwards and the second downwards, on one scale.

    The systems differ by position and label; the chart is readable without colour.
    """
    import plotly.graph_objects as go

    palette = _palette()
    sides = [(first, 1, palette.accent)] + ([(second, -1, palette.regions[0])] if second is not None else [])
    counts = [histogram(side.values, bins=_BINS) for side, _, _ in sides]
    highest = max(map(max, counts))
    width = 100 / _BINS
    drawing = go.Figure()
    for (side, sign, colour), side_counts in zip(sides, counts, strict=True):
        drawing.add_bar(
            x=[(place + 0.5) * width for place in range(_BINS)],
            y=[sign * count for count in side_counts],
            width=width * 0.9,
            marker={"color": colour, "line": {"width": 0}, "cornerradius": 2},
            customdata=[[round(i * width), round((i + 1) * width), count] for i, count in enumerate(side_counts)],
            hovertemplate="%{customdata[2]} queries at %{customdata[0]} – %{customdata[1]} %<extra></extra>",
            name="",
        )
        # A line at the mean, labelled on the side that has room.
        mean, top, left = 100 * side.mean, sign * 1.06 * highest, side.mean > 0.5
        name = side.name if len(side.name) <= _MAX_NAME_CHARS else side.name[: _MAX_NAME_CHARS - 1] + "…"
        drawing.add_shape(
            type="line", x0=mean, x1=mean, y0=0, y1=top, line={"color": palette.ink, "width": 1.5, "dash": "dot"}
        )
        drawing.add_annotation(
            x=mean,
            y=top,
            text=f"<b>{_plotly_text(name)}</b> mean {mean:.2f} %",
            showarrow=False,
            xanchor="right" if left else "left",
            yanchor="bottom" if sign > 0 else "top",
            bgcolor=palette.halo,
            borderpad=1,
        )
    ticks = _round_ticks(highest)
    drawing.update_layout(
        height=300,
        margin={"l": 8, "r": 24, "t": 8, "b": 8},
        showlegend=False,
        barmode="overlay",
        bargap=0,
        dragmode=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": palette.ink, "size": 12, "family": '"Source Sans", sans-serif'},
        hoverlabel={"bgcolor": palette.halo, "bordercolor": palette.unlabelled, "font": {"color": palette.ink}},
    )
    axis = {"fixedrange": True, "automargin": True}
    drawing.update_xaxes(
        **axis,
        range=[-0.5, 101],
        tickvals=list(range(0, 101, 20)),
        ticktext=[f"{tick} %" for tick in range(0, 101, 20)],
        title={"text": f"{_QUERY_METRICS.get(metric, metric)} of a query", "standoff": 6, "font": {"size": 13}},
        showgrid=False,
        zeroline=False,
    )
    drawing.update_yaxes(
        **axis,
        range=[-1.28 * highest if second is not None else 0, 1.28 * highest],
        tickvals=[sign * tick for _, sign, _ in sides for tick in ticks],
        ticktext=[f"{tick:,}" for _ in sides for tick in ticks],
        title={"text": "queries", "standoff": 6, "font": {"size": 13}},
        gridcolor=palette.faded,
        zeroline=True,
        zerolinecolor=palette.unlabelled,
    )
    description = f"Histogram of {_QUERY_METRICS.get(metric, metric)}." + "".join(
        f" {side.name}: {len(side.values):,} queries, mean {100 * side.mean:.2f} percent, "
        f"{sum(value < 0.2 for value in side.values):,} of them under 20."
        for side, _, _ in sides
    )
    config = {"displayModeBar": False, "responsive": True}
    st.plotly_chart(drawing, theme=None, key=key, config=config, alt=description)


def _plotly_text(text: str) -> str:
    """Escape a text for plotly, which reads some tags and mathematics between dollar signs."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")


def _round_ticks(highest: int) -> list[int]:
    """Three to five round numbers from 0 up to the highest bar."""
    step = 1
    while highest / step > 4:
        step = int(step * (2.5 if str(step).startswith("2") else 2))
    return list(range(0, highest + 1, step))


# Benchmark of an index


def index_curve(curve: Curve, *, stale: str = "", key: str = "index-curve") -> None:
    """Draw recall against time, one line per M, the smallest sufficient ef_search at each size, and downloads.

    stale: why the curve is not of this atlas any more (see `stale_note`); else empty. key: of the widgets.
    """
    if stale:
        st.warning(escaped(stale), icon=":material/history:")
    if note := partial_note(curve):
        st.info(escaped(note), icon=":material/pause_circle:")
    if not curve.points:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        size = st.selectbox(
            "Size of the corpus",
            list(reversed(curve.sizes)),
            format_func=lambda size: f"{size:,} papers",
            key=f"{key}-size",
            width=200,
        )
        queries = st.segmented_control(
            "Queries",
            [_TEXTS, _PAPERS],
            default=_TEXTS,
            required=True,
            key=f"{key}-queries",
            help="A graph finds the neighbours of a pasted text less easily than those of its own papers. Pasted texts "
            "are simulated: they are papers whose vectors were moved.",
        )
    out_of_sample = queries != _PAPERS
    drawing = figure(curve, size=size, out_of_sample=out_of_sample, palette=_palette())
    if drawing["data"]:  # plotly refuses an empty figure
        st.plotly_chart(drawing, key=f"{key}-plot", theme=None, config={"displayModeBar": False}, alt=summary(curve))
    st.caption(_legend(curve, size=size, out_of_sample=out_of_sample))
    st.markdown(f"**Smallest ef_search that finds {100 * TARGET_RECALL:.0f} % of the nearest papers**")
    formats = {
        "Papers": "localized", "Recall of papers": "%.4f", "Recall of pasted texts": "%.4f", "Median, ms": "%.3f",
        "Exact search, ms": "%.3f", "Times faster": "%.1f", "Built in, s": "%.1f",
    }  # fmt: skip
    st.dataframe(
        [_row(setting, curve) for setting in sufficient_settings(curve)],
        hide_index=True,
        width="stretch",
        key=f"{key}-sufficient",
        column_config={name: st.column_config.NumberColumn(format=format) for name, format in formats.items()},
    )
    versions = ", ".join(f"{name} {version}" for name, version in curve.versions.items())
    encoder = f" by {curve.about.encoder}" if curve.about.encoder else ""
    st.caption(
        escaped(
            f"{curve.rows:,} vectors of {curve.dimensions} dimensions{encoder}. Recall: the share of the {curve.k} "
            f"nearest papers that the graph finds, over {curve.queries:,} queries of each kind. Times: one query at a "
            "time, on one thread. Smaller corpora are samples of this one. "
            f"Measured {curve.made} on {curve.machine}; {versions}."
        )
    )
    with st.container(horizontal=True):
        for label, ending, text, media_type in (
            ("Markdown", "md", to_markdown(curve), "text/markdown"),
            ("CSV", "csv", to_csv(curve), "text/csv"),
            ("JSON", "json", to_json(curve), "application/json"),
        ):
            st.download_button(
                label,
                text,
                file_name=f"{curve.about.atlas or 'vectors'}-index.{ending}",
                mime=media_type,
                icon=":material/download:",
                key=f"{key}-{ending}",
                on_click="ignore",
            )


def _legend(curve: Curve, *, size: int, out_of_sample: bool) -> str:
    text = (
        "Higher is better, further left is faster. The numbers beside the points are ef\\_search: how many candidates "
        "the search keeps. Left of the dashed line, the graph is faster than exact search."
    )
    if curve.about.ef_search and curve.about.m in curve.ms:
        text += f" The ring is the setting of this atlas (M {curve.about.m}, ef\\_search {curve.about.ef_search})."
    if undrawn := count_undrawn(curve, size=size, out_of_sample=out_of_sample):
        points = f"{undrawn:,} points" if undrawn > 1 else "One point"
        text += f" {points} with a recall under {LOWEST_DRAWN_RECALL} not shown."
    return text


def _row(setting: SufficientSetting, curve: Curve) -> dict[str, object]:
    point = setting.point
    return {
        "Papers": setting.size,
        "M": setting.m,
        "ef_search": point and point.ef_search,
        "Recall of papers": point and point.recall,
        "Recall of pasted texts": point and point.recall_off_rows,
        "Median, ms": point and point.p50_ms,
        "Exact search, ms": setting.exact_ms,
        "Times faster": setting.times_faster,
        "Built in, s": next(iter(curve.line(size=setting.size, m=setting.m))).build_seconds,
    }
