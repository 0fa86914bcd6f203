"""Report of one run, or of several side by side, as one HTML file that needs no network."""

import base64
import hashlib
import html
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from components.training.held_out import HeldOutChange, ScoreRow, read_held_out, score_rows, verdict
from components.training.live import layer_name
from components.training.run import RunSummary, StepRecord, ValidationRecord, read_run
from components.training.settings import TrainingError, TrainingSettings, setting_text
from corpus.io.disk import disk_errors
from corpus.io.files import write_text

REPORT = "report.html"  # in the run's folder
MAX_RUNS = 8  # in one report: nobody tells more lines apart

_MAX_POINTS = 1_500  # of a line: a screen has no more columns
_MAX_COLUMNS = 300  # of the heat map
_WINDOWS, _MAX_WINDOW = 50, 500  # strong lines are means over 1/50 of a run, at most 500 steps
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_STATUS = {"running": "running, or killed", "interrupted": "stopped, can be continued"}


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """A run in a report. name: unique in it, of unknown origin. held_out: None if it was not measured."""

    name: str
    summary: RunSummary
    held_out: HeldOutChange | None

    @property
    def steps(self) -> Sequence[StepRecord]:
        """Its steps."""
        return self.summary.curves.steps

    @property
    def validations(self) -> Sequence[ValidationRecord]:
        """Its validations."""
        return self.summary.curves.validations

    @property
    def best(self) -> ValidationRecord | None:
        """The validation whose encoder is kept."""
        return self.summary.curves.best

    @property
    def status(self) -> str:
        """How the run stands, in words."""
        return _STATUS.get(self.summary.record.status, self.summary.record.status)

    @property
    def trouble(self) -> str:
        """Why it did not finish; "" if it did."""
        record = self.summary.record
        if record.status == "diverged":
            return f"The training diverged. {record.reason}"
        if not record.over:
            return (
                f"This run is not finished: {len(self.steps):,} of {record.total_steps:,} steps are done. The command "
                "that started it continues it."
            )
        return ""

    @property
    def duration(self) -> str:
        """How long its steps and validations took."""
        return humanize.naturaldelta(
            sum(step.seconds for step in self.steps) + sum(one.seconds for one in self.validations)
        )

    @property
    def scores(self) -> list[ScoreRow]:
        """Its held-out scores, in words."""
        return score_rows(self.held_out) if self.held_out else []

    @property
    def verdict(self) -> str:
        """What the scores say."""
        return verdict(self.held_out) if self.held_out else ""

    @property
    def facts(self) -> dict[str, str]:
        """What it ran on."""
        record = self.summary.record
        processes = f", {record.processes} processes" if record.processes > 1 else ""
        return {
            "start": f"{record.start.name} ({record.start.fingerprint[:16]})",
            "pairs": f"{record.pairs.papers:,} papers, {record.pairs.train:,} train, {record.pairs.dev:,} dev, "
            f"{record.pairs.test:,} test ({record.pairs.fingerprint[:16]})",
            "pairs left out of each epoch": ", ".join(f"{count:,}" for count in record.left_over[:10]),
            "model": ", ".join(f"{name} {value}" for name, value in record.model.items()),
            "device": record.device + processes,
            "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        }


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with its explanation, in paragraphs of text."""

    id: str
    title: str
    words: Sequence[str]
    figure: go.Figure


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
        runs.append(ReportedRun(f"{name} ({seen[name]})" if seen[name] > 1 else name, summary, held_out))
    template = templates().get_template("report.html.j2")
    drawn = charts(runs)
    fragments = [
        plotly.io.to_html(
            chart.figure,
            full_html=False,
            include_plotlyjs=False,
            div_id=chart.id,
            config={"responsive": True, "displayModeBar": False},
        )
        for chart in drawn
    ]
    # "</script" in plotly.js would end its element.
    library = plotly.offline.get_plotlyjs().replace("\r\n", "\n").replace("</script", "<\\/script")
    theme = templates().get_template("report.js").render(colours=_dark_colours())
    scripts = [library, theme]
    for fragment in fragments:
        scripts += re.findall(r"<script[^>]*>(.*?)</script>", fragment, flags=re.DOTALL)
    # Only scripts with these hashes run, whatever else got into the page; and no server can be asked.
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    defaults = TrainingSettings()
    told = {run.summary.record.pairs.fingerprint: run.summary.record.pairs for run in runs}
    return template.render(
        runs=runs,
        charts=list(zip(drawn, fragments, strict=True)),
        library=library,
        theme=theme,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {hashes}",
        settings=[
            (
                name.replace("_", " "),
                [setting_text(name, getattr(run.summary.record.settings, name)) for run in runs],
                setting_text(name, default),
                any(getattr(run.summary.record.settings, name) != default for run in runs),
            )
            for name, default in asdict(defaults).items()
        ],
        pairs=[(one.name, list(flat_facts(one.told))[:MAX_FACTS]) for one in told.values()],
    )


# -- Charts ------------------------------------------------------------------------------------------------------------


def charts(runs: Sequence[ReportedRun]) -> list[Chart]:
    """The charts that have data, in reading order."""
    drawn = [
        _loss(runs),
        Chart(
            "dev_loss",
            "Loss on the dev set",
            (
                "The same loss on pairs that the model never learns from, with fixed negatives, so that validations "
                "compare.",
                "The star marks the lowest, whose encoder is kept. If this line rises while the training loss falls, "
                "the model memorises its pairs: use more pairs, fewer epochs, or early stopping (patience).",
            ),
            _figure(_validation_lines(runs, lambda record: record.dev_loss, "dev loss %{y:.4f}"), "dev loss"),
        ),
        Chart(
            "dev_accuracy",
            "Right choices on the dev set",
            (
                "The share of dev triplets whose co-cited paper is nearer than the negative. Guessing gives 50 %. "
                "Coarser than the loss: it ignores by how much.",
            ),
            _figure(
                _validation_lines(runs, lambda record: record.dev_accuracy, "%{y:.2%} right"), "right", percent=True
            ),
        ),
        _active(runs),
        *(_mix_over_time(run) for run in runs[:1] if len(runs) == 1),
        _mix_at_best(runs),
        Chart(
            "rate",
            "Learning rate",
            (
                "How far a step moves the weights: it rises from 0 during the warm-up, while Adam's averages are "
                "rough, then falls linearly to 0.",
            ),
            _figure(_step_lines(runs, lambda step, _: step.learning_rate, "%{y:.2e}", smooth=False), "learning rate"),
        ),
        Chart(
            "gradient",
            "Gradient norm",
            (
                "The norm of the gradient of all weights before clipping, on a logarithmic scale.",
                "Within about a power of ten is healthy. A norm that keeps climbing comes before a divergence: lower "
                "the learning rate, or clip at a norm from the calm part of this line.",
            ),
            _figure(
                _step_lines(runs, lambda step, _: step.gradient_norm or math.nan, "norm %{y:.3g}", faint=True),
                "gradient norm",
                logarithmic=True,
            ),
        ),
        Chart(
            "speed",
            "Speed",
            (
                "Word pieces read per second, without padding and validations. A dip means another program on the "
                "machine, or a hot processor.",
            ),
            _figure(
                _step_lines(runs, lambda step, _: step.tokens / max(step.seconds, 1e-9), "%{y:,.0f}"),
                "word pieces per second",
            ),
        ),
    ]
    return [chart for chart in drawn if chart.figure.data]


def _loss(runs: Sequence[ReportedRun]) -> Chart:
    figure = _figure(_step_lines(runs, lambda step, _: step.loss, "loss %{y:.4f}", faint=True), "loss")
    margins = {run.summary.record.settings.margin for run in runs}
    if len(margins) == 1:
        figure.add_hline(
            margins.pop(), line={"color": LIGHT.ink, "width": 1, "dash": "dash"}, annotation_text="margin: guessing"
        )
    words = [
        "Triplet loss of each step's own pairs before it learns from them: max(0, distance to the positive − distance "
        "to the negative + margin), mean over its triplets.",
        "It starts near the margin if the start cannot tell co-cited papers from others, and should fall steeply, then "
        "slowly. A line that rises, or jumps more and more, asks for a lower learning rate.",
        _smoothing(runs),
    ]
    if any(step.self_negatives for run in runs for step in run.steps):
        words.append(
            "With negatives from a plain permutation this line lies higher: triplets that meet their own positive have "
            "the margin as their loss. Compare such runs on the dev set."
        )
    return Chart("loss", "Training loss", words, figure)


def _active(runs: Sequence[ReportedRun]) -> Chart:
    traces = _step_lines(runs, lambda step, _: step.active, "active %{y:.1%}")
    wasted = any(step.self_negatives for run in runs for step in run.steps)
    if wasted:
        own = _step_lines(
            runs, lambda step, run: step.self_negatives / run.summary.record.settings.batch, "own positive %{y:.1%}"
        )
        traces += [trace.update(line_dash="dot", name=f"{trace.name}: own positive", showlegend=True) for trace in own]
    words = (
        "The share of triplets with a loss above 0; the others have no gradient. It falls as the model learns. Near "
        "0 % the drawn negatives are too easy, and more steps change little.",
        "The dotted line is the share of triplets that met their own positive as the negative, from which nothing is "
        "learned. A plain permutation causes that once per micro-batch on average; a derangement never does."
        if wasted
        else "No triplet met its own positive as the negative.",
    )
    return Chart("active", "Active triplets", words, _figure(traces, "share of triplets", percent=True))


def _mix_over_time(run: ReportedRun) -> Chart:
    records = [record for record in run.validations if record.mix]
    records = records[:: -(-len(records) // _MAX_COLUMNS) or 1]
    figure = _figure([], "layer")
    if records:
        ramp = [[i / (len(LIGHT.years) - 1), colour] for i, colour in enumerate(LIGHT.years)]
        figure.add_heatmap(
            x=[record.step for record in records],
            y=_layers(len(records[0].mix)),
            z=[[100 * weight for weight in layer] for layer in zip(*(one.mix for one in records), strict=True)],
            colorscale=ramp,
            colorbar={"thickness": 12, "ticksuffix": " %", "outlinewidth": 0},
            hovertemplate="step %{x:,}<br>layer %{y}: %{z:.2f} %<extra></extra>",
        )
        figure.update_layout(height=120 + 20 * max(len(records[0].mix), 6), hovermode="closest")
        figure.update_yaxes(type="category", showgrid=False)
    words = (
        "The weight of each layer's [CLS] in a paper's vector at each validation; “words” is the embedding layer. All "
        "start equal, unless the start had a mix. They move slowly: mind the numbers at the bar.",
    )
    return Chart("mix_over_time", "Layer weights over time", words, figure)


def _mix_at_best(runs: Sequence[ReportedRun]) -> Chart:
    mixes = [(place, run, run.best.mix) for place, run in enumerate(runs) if run.best and run.best.mix]
    weights = [weight for _, _, mix in mixes for weight in mix]
    # As many digits as tell the weights apart: after a few steps they have moved very little.
    spread = 100 * (max(weights) - min(weights)) if weights else 0.0
    digits = min(max(2, 1 - math.floor(math.log10(spread))), 6) if spread > 0 else 2
    traces = [
        _line(place, run, _layers(len(mix)), mix, f"%{{y:.{digits}%}}", len(runs)).update(mode="lines+markers")
        for place, run, mix in mixes
    ]
    figure = _figure(traces, "weight", x="layer", percent=True)
    figure.update_xaxes(type="category", tickformat="")
    figure.update_yaxes(tickformat=f".{digits}~%", rangemode="normal")
    words = ["The weight of each layer in the encoder that is kept. Low layers see words, high ones their meaning."]
    if mixes:
        count = len(mixes[0][2])
        figure.add_hline(
            1 / count, line={"color": LIGHT.ink, "width": 1, "dash": "dash"}, annotation_text="equal weights"
        )
    if len(mixes) == 1:
        mix = mixes[0][2]
        most, least = int(np.argmax(mix)), int(np.argmin(mix))
        words.append(
            f"Highest: {layer_name(most)}, {mix[most]:.{digits}%}. Lowest: {layer_name(least)}, "
            f"{mix[least]:.{digits}%}. Equal weights would be {1 / len(mix):.{digits}%}."
        )
    return Chart("mix_at_best", "Layer weights of the kept encoder", words, figure)


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
        if not run.steps:
            continue
        x, y = [step.step for step in run.steps], np.array([value(step, run) for step in run.steps])
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
        if not run.validations:
            continue
        x, y = [one.step for one in run.validations], [value(one) for one in run.validations]
        mode = "lines+markers" if len(x) <= 60 else "lines"
        traces.append(_line(place, run, x, y, hover, len(runs)).update(mode=mode))
        if best := run.best:
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
    figure.update_yaxes(type="log") if logarithmic else figure.update_yaxes(rangemode="tozero")
    if percent:  # with room above for half a star, and never 100 % to either side of a level line
        figure.update_yaxes(tickformat=".0%", rangemode="normal", autorangeoptions={"clipmin": 0, "clipmax": 1.03})
    return figure


def _window(run: ReportedRun) -> int:
    return min(max(1, len(run.steps) // _WINDOWS), _MAX_WINDOW)


def _smoothing(runs: Sequence[ReportedRun]) -> str:
    windows = sorted({_window(run) for run in runs})
    if windows == [1]:
        return "Each step is shown."
    steps = f"{windows[0]:,}" if len(windows) == 1 else f"{windows[0]:,} to {windows[-1]:,}"
    return f"The strong line is the mean of the last {steps} steps." + (
        " The faint one is each step." if len(runs) == 1 else ""
    )


def _layers(count: int) -> list[str]:
    return ["words", *map(str, range(1, count))]


def _dark_colours() -> dict[str, str]:
    """The colours of the light theme → those of the dark one."""

    def colours() -> Iterator[tuple[str, str]]:
        for light, dark in zip(asdict(LIGHT).values(), asdict(DARK).values(), strict=True):
            yield from [(light, dark)] if isinstance(light, str) else zip(light, dark, strict=True)

    return dict(colours())


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
