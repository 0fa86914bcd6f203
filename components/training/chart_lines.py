"""Lines of charts as plotly reads them: of the steps and of the looks of runs, and the axes that they lie in.

A colour is a name, as in "@accent"; the page that draws them puts a theme's own in its place (see `colours`).
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from components.evaluation.index_curve import LINE_COLOURS
from components.mapping.palette import DARK, LIGHT, Palette
from components.training.curves import Curves, LookRecord, StepRecord, thinned, trailing_mean

MOST_RUNS = 8  # in one report: more lines than that nobody tells apart
_MOST_POINTS = 1_500  # of a line: a screen has no more columns
_SMOOTHED = 50  # parts of a run: each place shows the mean of the part before it
_WIDEST = 500  # steps of such a part
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_HEIGHT = 300  # px


@dataclass(frozen=True, slots=True)
class Run:
    """What charts need of a run. name: for people, of unknown origin. margin, batch: of its settings."""

    name: str
    curves: Curves
    margin: float
    batch: int


def colours(*, dark: bool) -> dict[str, Any]:
    """What the names of colours stand for in a theme."""
    palette: Palette = DARK if dark else LIGHT
    runs = {f"@run{i}": palette.regions[LINE_COLOURS[i % len(LINE_COLOURS)]] for i in range(MOST_RUNS)}
    last = len(palette.years) - 1
    return {
        **runs,
        "@accent": palette.accent,
        "@ink": palette.ink,
        "@quiet": palette.unlabelled,
        "@faded": palette.faded,
        "@halo": palette.halo,
        "@ramp": [[i / last, colour] for i, colour in enumerate(palette.years)],
    }


def window_of(curves: Curves) -> int:
    """Over how many steps a run's strong lines are means."""
    return min(max(1, len(curves.steps) // _SMOOTHED), _WIDEST)


def of_looks(runs: Sequence[Run], value: Callable[[LookRecord], float], *, told: str) -> list[dict[str, Any]]:
    """A line of each run's looks, and a star on the best."""
    alone = len(runs) == 1
    traces: list[dict[str, Any]] = []
    for place, run in enumerate(runs):
        looks = run.curves.looks
        if not looks:
            continue
        kept = thinned([value(look) for look in looks], most=_MOST_POINTS)
        traces.append(
            {
                **_scatter(run, place, alone=alone, told=told),
                "mode": "lines+markers" if len(kept) <= 60 else "lines",
                "marker": {"size": 6, "color": f"@run{place}"},
                "x": [looks[i].step for i in kept],
                "y": [_plain(value(looks[i])) for i in kept],
            }
        )
        if best := run.curves.best():
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": "kept" if alone else f"{shown(run.name)}: kept",
                    "showlegend": alone,
                    "x": [best.step],
                    "y": [_plain(value(best))],
                    "marker": {
                        "symbol": "star",
                        "size": 15,
                        "color": "@accent",
                        "line": {"width": 1, "color": "@halo"},
                    },
                    "hovertemplate": "the checkpoint that is kept<extra></extra>",
                    "cliponaxis": False,
                }
            )
    return traces


_OfStep = Callable[[StepRecord, Run], float]


def faint_and_smooth(runs: Sequence[Run], value: _OfStep, *, told: str) -> list[dict[str, Any]]:
    """Each step faint, where there is one run, and the trailing means strong."""
    traces: list[dict[str, Any]] = []
    if len(runs) == 1 and window_of(runs[0].curves) > 1:
        run = runs[0]
        values = [value(one, run) for one in run.curves.steps]
        (raw,) = line(run, 0, steps_of(run), values, told=told, alone=True)
        traces.append({**raw, "opacity": 0.3, "name": "each step", "showlegend": True, "line": {"color": "@run0"}})
    return traces + smooth(runs, value, told=told)


def smooth(runs: Sequence[Run], value: _OfStep, *, told: str, named: str = "", dash: str = "") -> list[dict[str, Any]]:
    """The trailing means of each run's steps. named, dash: of a second line of each run."""
    traces: list[dict[str, Any]] = []
    for place, run in enumerate(runs):
        window = window_of(run.curves)
        means = trailing_mean([value(one, run) for one in run.curves.steps], window=window)
        for trace in line(run, place, steps_of(run), list(means), told=told, alone=len(runs) == 1):
            if len(runs) == 1:
                trace |= {"name": named or (f"mean of {window:,} steps" if window > 1 else "each step")}
                trace |= {"showlegend": window > 1 or bool(named)}
            elif named:
                trace |= {"name": f"{trace['name']}: {named}", "showlegend": False}
            if dash:
                trace["line"] |= {"dash": dash}
            traces.append(trace)
    return traces


def steps_of(run: Run) -> list[int]:
    """The numbers of its steps."""
    return [one.step for one in run.curves.steps]


def line(
    run: Run, place: int, steps: Sequence[int], values: Sequence[float], *, told: str, alone: bool
) -> list[dict[str, Any]]:
    """A line of a run, thinned to what a screen can show; none where there is no step."""
    if not steps:
        return []
    kept = thinned(values, most=_MOST_POINTS)
    x, y = [steps[i] for i in kept], [_plain(values[i]) for i in kept]
    return [{**_scatter(run, place, alone=alone, told=told), "mode": "lines", "x": x, "y": y}]


def _scatter(run: Run, place: int, *, alone: bool, told: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": shown(run.name),
        "showlegend": not alone,
        "line": {"color": f"@run{place}", "width": 2, "dash": "solid" if alone else DASHES[place % len(DASHES)]},
        "hovertemplate": told + extra(alone=alone),
    }


def extra(*, alone: bool) -> str:
    """What plotly says behind a value: the line's name, by its own name of it, so that no template is read in it."""
    return "<extra></extra>" if alone else "<extra>%{fullData.name}</extra>"


def shown(name: str) -> str:
    """A name of unknown origin as plotly shows it: it reads a few tags, and entities."""
    return html.escape(name if len(name) <= 40 else name[:39] + "…", quote=False)


def _plain(value: float) -> float | None:
    """A number for JSON, without more digits than anyone can see; None where it is none."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def layer_names(count: int) -> list[str]:
    """What the hidden states of a mix are called on an axis, the embedding layer's first."""
    return ["words", *(str(i) for i in range(1, count))]


def smoothing_words(runs: Sequence[Run]) -> str:
    """What the strong lines of `faint_and_smooth` are."""
    windows = sorted({window_of(run.curves) for run in runs})
    if windows == [1]:
        return "Each step is shown as it was."
    told = f"{windows[0]:,}" if len(windows) == 1 else f"{windows[0]:,} to {windows[-1]:,}"
    faint = " The faint one behind it is each step." if len(runs) == 1 else ""
    return f"The strong line is the mean of the last {told} steps.{faint}"


def level(height: float, told: str) -> dict[str, Any]:
    """A dashed line across, and what it is."""
    return {
        "shape": {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": height,
            "y1": height,
            "line": {"color": "@ink", "width": 1, "dash": "dash"},
        },
        "annotation": {
            "xref": "paper",
            "x": 1,
            "y": height,
            "xanchor": "right",
            "yanchor": "bottom",
            "text": told,
            "showarrow": False,
            "font": {"size": 12, "color": "@ink"},
        },
    }


def drawn(
    traces: list[dict[str, Any]],
    *,
    y: str,
    x: str = "step",
    marks: Sequence[dict[str, Any]] = (),
    height: int = _HEIGHT,
    y_from_zero: bool = False,
    logarithmic: bool = False,
    percent: bool = False,
    powers: bool = False,
) -> dict[str, Any]:
    """A plotly figure of lines. marks: of `level`. percent: y as such. powers: y with an exponent."""
    axis = {"color": "@ink", "gridcolor": "@faded", "linecolor": "@quiet", "zeroline": False, "automargin": True}
    y_axis: dict[str, Any] = {**axis, "title": {"text": y, "font": {"size": 13}}}
    if y_from_zero:
        y_axis["rangemode"] = "tozero"
    if logarithmic:
        y_axis |= {"type": "log"}
    if percent:
        y_axis["tickformat"] = ".0%"
        # Around a level line plotly would show 100 % to either side of it. There is room above for half a star.
        y_axis["autorangeoptions"] = {"clipmin": 0, "clipmax": 1.03}
    if powers:
        y_axis["exponentformat"] = "e"
    return {
        "data": traces,
        "layout": {
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": "@ink", "size": 13},
            "hovermode": "x unified" if len(traces) > 1 else "x",
            "hoverlabel": {"bgcolor": "@halo", "bordercolor": "@quiet", "font": {"color": "@ink"}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": "@ink"}},
            "xaxis": {**axis, "title": {"text": x, "font": {"size": 13}}, "tickformat": ",d" if x == "step" else ""},
            "yaxis": y_axis,
            "shapes": [cast(dict[str, Any], mark["shape"]) for mark in marks],
            "annotations": [cast(dict[str, Any], mark["annotation"]) for mark in marks],
        },
    }
