"""The curve drawn: recall against time, one line an M, exact search as the time to beat. As plotly reads it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluation.index_curve.records import Curve, Point
from components.mapping.palette import Palette

FLOOR = 0.8  # of recall: below it nobody would use an index
# Places among the palette's regions that stand out from the page and stay apart for every reader (test_index_curve.py).
LINE_COLOURS = (0, 1, 6, 7, 4)
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "hexagon")
_HEIGHT = 420  # px
_FONT = "'Source Sans', sans-serif"  # the page's own
# How near, as shares of the plot's width and height, a label may come to another label.
_LABEL_WIDTH, _LABEL_HEIGHT = 0.08, 0.05


@dataclass(frozen=True, slots=True)
class _Axes:
    """What the plot shows: milliseconds, on a logarithmic scale, and recall from the floor to a little above 1."""

    left: float
    right: float
    top: float = 1.006

    def place(self, milliseconds: float, recall: float) -> tuple[float, float]:
        """Where a point lies, as shares of the plot's width and height."""
        width = math.log10(self.right) - math.log10(self.left)
        return (
            (math.log10(milliseconds) - math.log10(self.left)) / width,
            (recall - FLOOR) / (self.top - FLOOR),
        )


def figure(curve: Curve, *, size: int, off_rows: bool, palette: Palette) -> dict[str, Any]:
    """A plotly figure of the graphs over `size` rows; points below FLOOR, and times that are none, are not drawn.

    off_rows: the recall of queries off the rows, else that of the rows. The atlas's own setting has the accent.
    """
    lines = {m: _drawn(curve.line(size=size, m=m), off_rows=off_rows) for m in curve.ms}
    lines = {m: line for m, line in lines.items() if line}
    exact = curve.exact_at(size)
    exact_ms = exact.p50_ms if exact and exact.p50_ms > 0 else None
    times = [point.p50_ms for line in lines.values() for point in line] + ([exact_ms] if exact_ms else [])
    axes = _Axes(left=0.7 * min(times, default=0.1), right=1.5 * max(times, default=10.0))
    labelled = _labelled([point for line in lines.values() for point in line], axes, off_rows=off_rows)
    traces = [
        _line(m, line, labelled, place=place, off_rows=off_rows, k=curve.k, palette=palette)
        for place, (m, line) in enumerate(lines.items())
    ]
    own = next((p for p in lines.get(curve.about.m, ()) if p.ef_search == curve.about.ef_search), None)
    if own is not None:
        traces.append(_own(own, off_rows=off_rows, palette=palette))
    return {"data": traces, "layout": _layout(axes, exact_ms, k=curve.k, palette=palette)}


def undrawn(curve: Curve, *, size: int, off_rows: bool) -> int:
    """How many points of a size lie below the floor of the plot."""
    points = [point for point in curve.points if point.size == size]
    return len(points) - len(_drawn(points, off_rows=off_rows))


def _recall(point: Point, *, off_rows: bool) -> float:
    return point.recall_off_rows if off_rows else point.recall


def _drawn(line: Sequence[Point], *, off_rows: bool) -> list[Point]:
    return [point for point in line if _recall(point, off_rows=off_rows) >= FLOOR and point.p50_ms > 0]


def _labelled(points: Sequence[Point], axes: _Axes, *, off_rows: bool) -> set[Point]:
    """The points whose ef_search is written beside them: as many as have room, from the left; the others on hover."""
    taken: list[tuple[float, float]] = []
    found = set()
    for point in sorted(points, key=lambda point: point.p50_ms):
        x, y = axes.place(point.p50_ms, _recall(point, off_rows=off_rows))
        if all(abs(x - other) > _LABEL_WIDTH or abs(y - high) > _LABEL_HEIGHT for other, high in taken):
            taken.append((x, y))
            found.add(point)
    return found


def _line(
    m: int, line: Sequence[Point], labelled: set[Point], *, place: int, off_rows: bool, k: int, palette: Palette
) -> dict[str, Any]:
    colour = palette.regions[LINE_COLOURS[place % len(LINE_COLOURS)]]
    return {
        "type": "scatter",
        "mode": "lines+markers+text",
        "name": f"M {m}",
        "x": [point.p50_ms for point in line],
        "y": [_recall(point, off_rows=off_rows) for point in line],
        "text": [str(point.ef_search) if point in labelled else "" for point in line],
        "textposition": "bottom right",
        "textfont": {"size": 11, "color": colour},
        "cliponaxis": False,
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 8, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
        "customdata": [[point.ef_search, point.p95_ms, point.build_seconds] for point in line],
        "hovertemplate": (
            f"M {m}, ef_search %{{customdata[0]}}<br>recall at {k}: %{{y:.4f}}<br>"
            "median %{x:.3f} ms, 95 % within %{customdata[1]:.3f} ms<br>built in %{customdata[2]:.1f} s<extra></extra>"
        ),
    }


def _own(point: Point, *, off_rows: bool, palette: Palette) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "this atlas",
        "x": [point.p50_ms],
        "y": [_recall(point, off_rows=off_rows)],
        "marker": {"size": 17, "symbol": "circle-open", "color": palette.accent, "line": {"width": 3}},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def _layout(axes: _Axes, exact_ms: float | None, *, k: int, palette: Palette) -> dict[str, Any]:
    plain = {"color": palette.ink, "gridcolor": palette.faded, "linecolor": palette.unlabelled, "zeroline": False}
    shapes, notes = [], []
    if exact_ms is not None:
        shapes.append(
            {
                "type": "line",
                "x0": exact_ms,
                "x1": exact_ms,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": palette.ink, "width": 1.5, "dash": "dash"},
            }
        )
        notes.append(
            {
                "x": math.log10(exact_ms),  # annotations, unlike shapes, take the logarithm
                "y": 0.02,
                "yref": "paper",
                "xanchor": "right",
                "yanchor": "bottom",
                "text": f"exact search: {exact_ms:.2f} ms",
                "showarrow": False,
                "font": {"size": 12, "color": palette.ink},
            }
        )
    return {
        "height": _HEIGHT,
        "margin": {"l": 64, "r": 16, "t": 36, "b": 56},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "color": palette.ink, "size": 13},
        "hoverlabel": {"bgcolor": palette.halo, "font": {"color": palette.ink}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": palette.ink}},
        "xaxis": {
            **plain,
            "type": "log",
            "range": [math.log10(axes.left), math.log10(axes.right)],
            "title": {"text": "median time of one query, ms", "font": {"size": 13}},
            "tickvals": _ticks(axes.left, axes.right),
            "fixedrange": True,
        },
        "yaxis": {
            **plain,
            "range": [FLOOR, axes.top],
            "title": {"text": f"ann_recall_at_{k}", "font": {"size": 13}},
            "tickformat": ".2f",
            "fixedrange": True,
        },
        "shapes": shapes,
        "annotations": notes,
    }


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two numbers.

    >>> _ticks(0.07, 2.1)
    [0.1, 0.2, 0.5, 1.0, 2.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{step}e{power}") for power in powers for step in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]
