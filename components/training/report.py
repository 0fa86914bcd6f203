"""Report of one run, or of several side by side, as one HTML file that needs no network."""

import base64
import hashlib
import html
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import humanize
import numpy as np
import plotly.graph_objects as go
import plotly.io
import plotly.offline

from components.evaluation.index_curve import LINE_COLOURS
from components.mapping.palette import DARK, LIGHT
from components.training.export import MAX_FACTS, flat_facts, templates
from components.training.held_out import HeldOutChange, read_held_out, score_rows, verdict
from components.training.run import Curves, RunRecord, RunSummary, StepRecord, ValidationRecord, read_run
from components.training.settings import TrainingError, TrainingSettings, setting_text
from corpus.io.disk import disk_errors
from corpus.io.files import write_text

REPORT = "report.html"  # in the run's folder
MAX_RUNS = 8  # in one report: nobody tells more lines apart

_MAX_POINTS = 1_500  # of a line: a screen has no more columns
_MAX_COLUMNS = 300  # of the heat map
_WINDOWS, _MAX_WINDOW = 50, 500  # strong lines are means over 1/50 of a run, at most 500 steps
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_LEVEL = {"color": LIGHT.ink, "width": 1, "dash": "dash"}
_STATUS = {"running": "running, or killed", "interrupted": "stopped, can be continued"}


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """A run in a report. name: unique in it, of unknown origin. held_out: None if it was not measured."""

    name: str
    record: RunRecord
    curves: Curves
    held_out: HeldOutChange | None


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of runs and return its path: by default in the folder of the run; several runs need `out`.

    Raises TrainingError if a folder holds no run or there are too many, NoSpaceLeft, CannotWrite.
    """
    if out is None:
        if len(runs) != 1:
            raise TrainingError("A report of several runs needs a file name: --out FILE.html")
        out = runs[0] / REPORT
    content = report_html([(read_run(run), read_held_out(run)) for run in runs])
    with disk_errors(out.parent):
        write_text(out, content)
    return out


def report_html(found: Sequence[tuple[RunSummary, HeldOutChange | None]]) -> str:
    """The report of 1 to MAX_RUNS runs. Raises TrainingError for more."""
    if not 0 < len(found) <= MAX_RUNS:
        raise TrainingError(f"A report shows 1 to {MAX_RUNS} runs, not {len(found)}. Name fewer.")
    seen: Counter[str] = Counter()
    runs = []
    for summary, held_out in found:
        name = summary.folder.resolve().name
        seen[name] += 1
        name = f"{name} ({seen[name]})" if seen[name] > 1 else name
        runs.append(ReportedRun(name, summary.record, summary.curves, held_out))
    config = {"responsive": True, "displayModeBar": False}
    figures = {
        id: plotly.io.to_html(figure, full_html=False, include_plotlyjs=False, div_id=id, config=config)
        for id, figure in charts(runs).items()
    }
    library = plotly.offline.get_plotlyjs().replace("\r\n", "\n").replace("</script", "<\\/script")
    theme = templates().get_template("report.js").render(colours=_dark_colours())
    scripts = [library, theme, *(script for figure in figures.values() for script in _SCRIPT.findall(figure))]
    # Only scripts with these hashes run, whatever else got into the page; and no server can be asked.
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            runs=runs,
            status=[_STATUS.get(run.record.status, run.record.status) for run in runs],
            duration=[humanize.naturaldelta(run.curves.seconds) for run in runs],
            figures=figures,
            self_negatives=_self_negatives(runs),
            library=library,
            theme=theme,
            policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {hashes}",
            score_rows=score_rows,
            verdict=verdict,
            settings=asdict(TrainingSettings()),
            setting_text=setting_text,
            pairs={run.record.pairs.fingerprint: run.record.pairs for run in runs}.values(),
            flat_facts=flat_facts,
            max_facts=MAX_FACTS,
        )
    )


# -- Charts ------------------------------------------------------------------------------------------------------------


def charts(runs: Sequence[ReportedRun]) -> dict[str, go.Figure]:
    """The figures that have data, by the id of their text in the template."""
    drawn = {
        "loss": _loss(runs),
        "dev_loss": _figure(_validation_lines(runs, lambda one: one.dev_loss, "dev loss %{y:.4f}"), "dev loss"),
        "dev_accuracy": _figure(
            _validation_lines(runs, lambda one: one.dev_accuracy, "%{y:.2%} right"), "right", percent=True
        ),
        "active": _active(runs),
        "mix_over_time": _mix_over_time(runs),
        "mix_at_best": _mix_at_best(runs),
        "rate": _figure(
            _step_lines(runs, lambda step, _: step.learning_rate, "%{y:.2e}", smooth=False), "learning rate"
        ),
        "gradient": _figure(
            _step_lines(runs, lambda step, _: step.gradient_norm or math.nan, "norm %{y:.3g}", faint=True),
            "gradient norm",
            logarithmic=True,
        ),
        "speed": _figure(
            _step_lines(runs, lambda step, _: step.tokens / max(step.seconds, 1e-9), "%{y:,.0f}"),
            "word pieces per second",
        ),
    }
    return {id: figure for id, figure in drawn.items() if figure.data}


def _loss(runs: Sequence[ReportedRun]) -> go.Figure:
    figure = _figure(_step_lines(runs, lambda step, _: step.loss, "loss %{y:.4f}", faint=True), "loss")
    margins = {run.record.settings.margin for run in runs}
    if len(margins) == 1:
        figure.add_hline(margins.pop(), line=_LEVEL, annotation_text="margin: guessing")
    return figure


def _active(runs: Sequence[ReportedRun]) -> go.Figure:
    traces = _step_lines(runs, lambda step, _: step.active, "active %{y:.1%}")
    if _self_negatives(runs):
        own = _step_lines(
            runs, lambda step, run: step.self_negatives / run.record.settings.batch, "own positive %{y:.1%}"
        )
        traces += [trace.update(line_dash="dot", name=f"{trace.name}: own positive", showlegend=True) for trace in own]
    return _figure(traces, "share of triplets", percent=True)


def _mix_over_time(runs: Sequence[ReportedRun]) -> go.Figure:
    """A heat map of the scalar mix, of a single run."""
    records = [one for one in runs[0].curves.validations if one.mix] if len(runs) == 1 else []
    records = records[:: -(-len(records) // _MAX_COLUMNS) or 1]
    figure = _figure([], "layer")
    if records:
        layers = _layers(records[0].mix)
        figure.add_heatmap(
            x=[record.step for record in records],
            y=layers,
            z=[[100 * weight for weight in layer] for layer in zip(*(one.mix for one in records), strict=False)],
            colorscale=[[i / (len(LIGHT.years) - 1), colour] for i, colour in enumerate(LIGHT.years)],
            colorbar={"thickness": 12, "ticksuffix": " %", "outlinewidth": 0},
            hovertemplate="step %{x:,}<br>layer %{y}: %{z:.2f} %<extra></extra>",
        )
        figure.update_layout(height=120 + 20 * max(len(layers), 6), hovermode="closest")
        figure.update_yaxes(type="category", showgrid=False)
    return figure


def _mix_at_best(runs: Sequence[ReportedRun]) -> go.Figure:
    bests = [run.curves.best for run in runs]
    mixes = [(place, runs[place], best.mix) for place, best in enumerate(bests) if best and best.mix]
    weights = [weight for _, _, mix in mixes for weight in mix]
    # As many digits as tell the weights apart: after a few steps they have moved very little.
    spread = 100 * (max(weights) - min(weights)) if weights else 0.0
    digits = min(max(2, 1 - math.floor(math.log10(spread))), 6) if spread > 0 else 2
    traces = [
        _line(place, run, _layers(mix), mix, f"%{{y:.{digits}%}}", len(runs)).update(mode="lines+markers")
        for place, run, mix in mixes
    ]
    figure = _figure(traces, "weight", x="layer", percent=True)
    figure.update_xaxes(type="category", tickformat="")
    figure.update_yaxes(tickformat=f".{digits}~%")
    if mixes:
        figure.add_hline(1 / len(mixes[0][2]), line=_LEVEL, annotation_text="equal weights")
    return figure


def _step_lines(
    runs: Sequence[ReportedRun],
    value: Callable[[StepRecord, ReportedRun], float],
    hover: str,
    *,
    smooth: bool = True,
    faint: bool = False,
) -> list[go.Scatter]:
    """A line per run over its steps. smooth: trailing means. faint: with one run, each step behind them."""
    traces = []
    for place, run in enumerate(runs):
        if not run.curves.steps:
            continue
        x, y = [step.step for step in run.curves.steps], np.array([value(step, run) for step in run.curves.steps])
        window = _window(run)
        if faint and len(runs) == 1 and window > 1:
            trace = _line(place, run, x, y, hover, len(runs))
            traces.append(trace.update(opacity=0.3, name="each step", showlegend=True))
        trace = _line(place, run, x, trailing_mean(y, window=window) if smooth else y, hover, len(runs))
        if len(runs) == 1 and smooth and window > 1:
            trace.update(name=f"mean of {window:,} steps", showlegend=faint)
        traces.append(trace)
    return traces


def _validation_lines(
    runs: Sequence[ReportedRun], value: Callable[[ValidationRecord], float], hover: str
) -> list[go.Scatter]:
    """A line per run over its validations, and a star on the best."""
    traces = []
    for place, run in enumerate(runs):
        if not run.curves.validations:
            continue
        x, y = [one.step for one in run.curves.validations], [value(one) for one in run.curves.validations]
        mode = "lines+markers" if len(x) <= 60 else "lines"
        traces.append(_line(place, run, x, y, hover, len(runs)).update(mode=mode))
        if best := run.curves.best:
            star = {"symbol": "star", "size": 15, "color": LIGHT.accent, "line": {"width": 1, "color": LIGHT.halo}}
            traces.append(
                go.Scatter(
                    x=[best.step],
                    y=[value(best)],
                    mode="markers",
                    marker=star,
                    name="kept",
                    showlegend=len(runs) == 1,
                    hovertemplate="the encoder that is kept<extra></extra>",
                    cliponaxis=False,
                )
            )
    return traces


def _line(
    place: int, run: ReportedRun, x: Sequence[Any], y: Sequence[float] | np.ndarray[Any, Any], hover: str, runs: int
) -> go.Scatter:
    kept = thinned(y)
    name = run.name if len(run.name) <= 40 else run.name[:39] + "…"
    return go.Scatter(
        x=[x[i] for i in kept],
        y=[float(f"{y[i]:.6g}") if math.isfinite(y[i]) else None for i in kept],
        mode="lines",
        name=html.escape(name, quote=False),  # plotly reads tags and entities in names
        showlegend=runs > 1,
        line={"color": LIGHT.regions[LINE_COLOURS[place % len(LINE_COLOURS)]], "width": 2, "dash": _DASHES[place % 6]},
        hovertemplate=hover + ("<extra></extra>" if runs == 1 else "<extra>%{fullData.name}</extra>"),
    )


def _figure(
    traces: Sequence[go.Scatter], y: str, *, x: str = "step", logarithmic: bool = False, percent: bool = False
) -> go.Figure:
    axis = {"color": LIGHT.ink, "gridcolor": LIGHT.faded, "linecolor": LIGHT.unlabelled, "zeroline": False}
    figure = go.Figure(list(traces))
    figure.update_layout(
        template="none",
        height=300,
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": LIGHT.ink, "size": 13},
        hovermode="x unified" if len(traces) > 1 else "x",
        hoverlabel={"bgcolor": LIGHT.halo, "bordercolor": LIGHT.unlabelled, "font": {"color": LIGHT.ink}},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(**axis, automargin=True, title={"text": x, "font": {"size": 13}}, tickformat=",d")
    figure.update_yaxes(**axis, automargin=True, title={"text": y, "font": {"size": 13}})
    figure.update_yaxes(type="log") if logarithmic else figure.update_yaxes(rangemode="tozero", exponentformat="e")
    if percent:  # with room above for half a star, and never 100 % to either side of a level line
        figure.update_yaxes(tickformat=".0%", rangemode="normal", autorangeoptions={"clipmin": 0, "clipmax": 1.03})
    return figure


def _window(run: ReportedRun) -> int:
    return min(max(1, len(run.curves.steps) // _WINDOWS), _MAX_WINDOW)


def _self_negatives(runs: Sequence[ReportedRun]) -> bool:
    return any(step.self_negatives for run in runs for step in run.curves.steps)


def _layers(mix: Sequence[float]) -> list[str]:
    return ["words", *map(str, range(1, len(mix)))]


def _dark_colours() -> dict[str, str]:
    """The colours of the light theme → those of the dark one."""
    light, dark = (json.dumps(asdict(palette)) for palette in (LIGHT, DARK))
    return dict(zip(_COLOUR.findall(light), _COLOUR.findall(dark), strict=True))


def trailing_mean(values: np.ndarray[Any, Any], *, window: int) -> np.ndarray[Any, Any]:
    """float64 (n,): at each place the mean of the last `window` values, of as many as there are; NaN is skipped.

    >>> trailing_mean(np.array([1.0, 3.0, 5.0, 7.0]), window=2).tolist()
    [1.0, 2.0, 4.0, 6.0]
    """
    # Each window is summed by itself: in a running sum, one huge loss would spoil all that come later.
    padded = np.concatenate([np.full(window - 1, np.nan), np.where(np.isfinite(values), values, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    counts = np.isfinite(windows).sum(axis=1)
    means: np.ndarray[Any, Any] = np.divide(
        np.nansum(windows, axis=1), counts, out=np.full(len(values), np.nan), where=counts > 0
    )
    return means


def thinned(values: Sequence[float] | np.ndarray[Any, Any]) -> list[int]:
    """Places of about _MAX_POINTS values: the lowest and the highest of each stretch, so that peaks stay."""
    if len(values) <= _MAX_POINTS:
        return list(range(len(values)))
    kept: set[int] = set()
    for stretch in np.array_split(np.arange(len(values)), _MAX_POINTS // 2):
        part = np.nan_to_num(np.asarray(values)[stretch])
        kept |= {int(stretch[part.argmin()]), int(stretch[part.argmax()])}
    return sorted(kept)
