"""The score distribution panel: how many queries reach what, for one system or for two, one above the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from components.evaluation.error_analysis import histogram
from components.mapping.palette import DARK, LIGHT

_BINS = 20
_HEIGHT = 300  # px; the same on a phone
_LONGEST = 34  # characters of a system's name in the drawing


@dataclass(frozen=True, slots=True)
class Distribution:
    """One system's figures, query by query, as fractions 0 … 1, and their mean as the table has it."""

    name: str
    values: Sequence[float]
    mean: float


def score_distribution(first: Distribution, second: Distribution | None, *, metric: str, key: str) -> None:
    """Draw the distribution; of two systems the first upwards and the second downwards, on one scale.

    Which is which is told by place and by words, colour only helps: it can be read without telling colours apart.
    """
    import plotly.graph_objects as go

    dark = st.context.theme.type == "dark"
    palette = DARK if dark else LIGHT
    sides = [(first, 1, palette.accent)] + ([(second, -1, palette.regions[0])] if second is not None else [])
    width = 100 / _BINS
    figure = go.Figure()
    counted = [histogram(side.values, bins=_BINS) for side, _, _ in sides]
    most = max(max(counts) for counts in counted)
    for (side, sign, colour), counts in zip(sides, counted, strict=True):
        figure.add_bar(
            x=[(place + 0.5) * width for place in range(_BINS)],
            y=[sign * count for count in counts],
            width=width * 0.9,
            marker={"color": colour, "line": {"width": 0}, "cornerradius": 2},
            customdata=[[round(place * width), round((place + 1) * width), counts[place]] for place in range(_BINS)],
            hovertemplate="%{customdata[2]} queries at %{customdata[0]} – %{customdata[1]} %<extra></extra>",
            name="",
        )
        _mean(figure, side, sign=sign, most=most, ink=palette.ink, halo=palette.halo)
    reach = 1.28 * most
    ticks = _ticks(most)
    figure.update_layout(
        height=_HEIGHT,
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
    figure.update_xaxes(
        range=[-0.5, 101],
        tickvals=list(range(0, 101, 20)),
        ticktext=[f"{tick} %" for tick in range(0, 101, 20)],
        title={"text": f"{_CALLED.get(metric, metric)} of a query", "standoff": 6, "font": {"size": 13}},
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        automargin=True,
    )
    figure.update_yaxes(
        range=[-reach if second is not None else 0, reach],
        tickvals=[sign * tick for _, sign, _ in sides for tick in ticks],
        ticktext=[f"{tick:,}" for _ in sides for tick in ticks],
        title={"text": "queries", "standoff": 6, "font": {"size": 13}},
        gridcolor=palette.faded,
        zeroline=True,
        zerolinecolor=palette.unlabelled,
        fixedrange=True,
        automargin=True,
    )
    st.plotly_chart(
        figure, theme=None, key=key, config={"displayModeBar": False, "responsive": True}, alt=_told(sides, metric)
    )


_CALLED = {"MAP": "Average precision"}


def _mean(figure: object, side: Distribution, *, sign: int, most: int, ink: str, halo: str) -> None:
    """A line at the mean, and beside it, on the side that has room, the system's name and the number."""
    mean = 100 * side.mean
    top = sign * 1.06 * most
    left = mean > 50
    name = side.name if len(side.name) <= _LONGEST else side.name[: _LONGEST - 1] + "…"
    figure.add_shape(  # type: ignore[attr-defined]
        type="line", x0=mean, x1=mean, y0=0, y1=top, line={"color": ink, "width": 1.5, "dash": "dot"}
    )
    figure.add_annotation(  # type: ignore[attr-defined]
        x=mean,
        y=top,
        text=f"<b>{_plain(name)}</b> mean {mean:.2f} %",
        showarrow=False,
        xanchor="right" if left else "left",
        yanchor="bottom" if sign > 0 else "top",
        bgcolor=halo,
        borderpad=1,
    )


def _plain(text: str) -> str:
    """A text that plotly shows as it is: it reads some tags, and knows no way to escape other than the entity."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")


def _ticks(most: int) -> list[int]:
    """Round numbers from 0 up to the highest bar: three or four."""
    step = 1
    while most / step > 4:
        step = int(step * (2.5 if str(step).startswith("2") else 2))
    return list(range(0, most + 1, step))


def _told(sides: Sequence[tuple[Distribution, int, str]], metric: str) -> str:
    """The drawing in words."""
    parts = []
    for side, _, _ in sides:
        under = sum(value < 0.2 for value in side.values)
        parts.append(
            f"{side.name}: {len(side.values):,} queries, mean {100 * side.mean:.2f} percent, {under:,} of them under 20"
        )
    return f"Histogram of {_CALLED.get(metric, metric)}. " + ". ".join(parts) + "."
