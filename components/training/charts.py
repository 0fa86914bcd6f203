"""Charts of runs as plotly reads them: what was written down of each, several laid over one another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.training.chart_lines import (
    DASHES,
    Run,
    drawn,
    extra,
    faint_and_smooth,
    layer_names,
    level,
    line,
    of_looks,
    shown,
    smooth,
    smoothing_words,
    steps_of,
)
from components.training.wording import layer_words


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and what is said beside it. id: of its element. words: plain sentences, a paragraph each."""

    id: str
    title: str
    words: tuple[str, ...]
    figure: dict[str, Any]


def charts(runs: Sequence[Run]) -> list[Chart]:
    """The charts of runs, in the order in which they are read; one that would be empty is left out."""
    found = [
        _loss(runs),
        _dev_loss(runs),
        _dev_accuracy(runs),
        _active(runs),
        _mix_over_time(runs[0]) if len(runs) == 1 else None,
        _mix_at_best(runs),
        _learning_rate(runs),
        _gradient(runs),
        _speed(runs),
    ]
    return [chart for chart in found if chart is not None and chart.figure["data"]]


# Of the steps


def _loss(runs: Sequence[Run]) -> Chart:
    margins = {run.margin for run in runs}
    traces = faint_and_smooth(runs, lambda one, _: one.loss, told="loss %{y:.4f}")
    marks = [level(margins.pop(), "margin: no better than guessing")] if len(margins) == 1 else []
    words: tuple[str, ...] = (
        "The triplet loss of each step's own pairs, before it learns from them: max(0, distance to the positive − "
        "distance to the negative + margin), the mean over its triplets.",
        "It begins near the margin where the start cannot tell co-cited papers from others, and should fall steeply, "
        "then slowly. 0 would mean that every positive is nearer than its negative by the whole margin. A line that "
        "rises, or jumps about more and more, asks for a lower learning rate.",
        smoothing_words(runs),
    )
    if any(one.self_negatives for run in runs for one in run.curves.steps):
        words += (
            "Where negatives are drawn by a plain permutation, the triplets that meet their own positive have the "
            "margin as their loss whatever the model does, so that this line lies higher. Compare such runs on the dev "
            "set.",
        )
    return Chart("loss", "Loss of the steps", words, drawn(traces, y="loss", marks=marks, y_from_zero=True))


def _active(runs: Sequence[Run]) -> Chart:
    traces = smooth(runs, lambda one, _: one.active, told="active %{y:.1%}")
    wasted = any(one.self_negatives for run in runs for one in run.curves.steps)
    if wasted:
        own = smooth(
            runs,
            lambda one, run: one.self_negatives / run.batch,
            told="own positive %{y:.1%}",
            named="own positive as negative",
            dash="dot",
        )
        traces += [trace for trace in own if any(trace["y"])]  # a derangement has none to show
    words = (
        "How many triplets still teach: those whose loss is above 0. The others have no gradient.",
        "It falls as the model learns, and what is left are the hard ones. Near 0 %, negatives drawn by chance are too "
        "easy, and more steps change little.",
        "The dotted line is the share of triplets that met their own positive as the negative. A plain permutation "
        "causes that, once in every micro-batch on average, and nothing is learned from them; a derangement does not."
        if wasted
        else "No triplet met its own positive as the negative, as one in every micro-batch would on average by a plain "
        "permutation.",
    )
    return Chart(
        "active",
        "Triplets that teach",
        words,
        drawn(traces, y="share of the triplets", y_from_zero=True, percent=True),
    )


def _learning_rate(runs: Sequence[Run]) -> Chart:
    traces = []
    for place, run in enumerate(runs):
        rates = [one.learning_rate for one in run.curves.steps]
        traces += line(run, place, steps_of(run), rates, told="%{y:.2e}", alone=len(runs) == 1)
    words = (
        "How far a step moves the weights. It rises from 0 during the warm-up, while Adam's averages are still rough, "
        "then falls in a straight line to 0 at the last step.",
    )
    return Chart("rate", "Learning rate", words, drawn(traces, y="learning rate", y_from_zero=True, powers=True))


def _gradient(runs: Sequence[Run]) -> Chart:
    traces = faint_and_smooth(runs, lambda one, _: one.gradient_norm or math.nan, told="norm %{y:.3g}")
    words = (
        "The length of the gradient of all weights, of the sum of a step's losses, before any clipping; the scale is "
        "logarithmic.",
        "It is healthy where it stays within about a power of ten. One that climbs and climbs comes before a "
        "divergence: lower the learning rate, or clip at a norm that the calm part of this line shows.",
    )
    return Chart("gradient", "Length of the gradient", words, drawn(traces, y="gradient norm", logarithmic=True))


def _speed(runs: Sequence[Run]) -> Chart:
    traces = smooth(runs, lambda one, _: one.tokens / one.seconds if one.seconds else math.nan, told="%{y:,.0f}/s")
    words = (
        "Word pieces read a second, padding not counted, looks at the dev set left out. A dip is another program on "
        "the machine, or a processor that got hot.",
    )
    return Chart("speed", "Speed", words, drawn(traces, y="word pieces a second", y_from_zero=True))


# Of the looks


def _dev_loss(runs: Sequence[Run]) -> Chart:
    words = (
        "The same loss on pairs that the model never learns from, with negatives that never change, so that all looks "
        "can be compared.",
        "The star is the lowest: the weights of that moment are the checkpoint that was kept. Where this line rises "
        "while the loss of the steps falls, the model learns its pairs by heart: take more pairs, fewer epochs, or an "
        "early stop (patience).",
    )
    traces = of_looks(runs, lambda look: look.dev_loss, told="dev loss %{y:.4f}")
    return Chart("dev_loss", "Loss on the dev set", words, drawn(traces, y="dev loss"))


def _dev_accuracy(runs: Sequence[Run]) -> Chart:
    words = (
        "In how many dev triplets the co-cited paper is nearer than the other one. Guessing gives 50 %.",
        "It answers the question that the loss stands for, and is coarser: it does not see by how much.",
    )
    traces = of_looks(runs, lambda look: look.dev_accuracy, told="%{y:.2%} are right")
    low = min((look.dev_accuracy for run in runs for look in run.curves.looks), default=1.0)
    marks = [level(0.5, "guessing")] if low < 0.6 else []
    found = drawn(traces, y="dev triplets that are right", marks=marks, percent=True)
    return Chart("dev_accuracy", "Right choices on the dev set", words, found)


def _mix_over_time(run: Run) -> Chart | None:
    looks = [look for look in run.curves.looks if look.mix]
    layers = max((len(look.mix) for look in looks), default=0)
    if not layers:
        return None
    looks = [look for look in looks if len(look.mix) == layers]
    looks = [looks[i] for i in np.unique(np.linspace(0, len(looks) - 1, min(len(looks), 300)).astype(int))]
    trace = {
        "type": "heatmap",
        "x": [look.step for look in looks],
        "y": layer_names(layers),
        "z": [[100 * look.mix[layer] for look in looks] for layer in range(layers)],
        "colorscale": "@ramp",
        "colorbar": {"thickness": 12, "ticksuffix": " %", "outlinewidth": 0, "title": {"text": ""}},
        "hovertemplate": "step %{x:,}<br>layer %{y}: %{z:.2f} %<extra></extra>",
    }
    words = (
        "How much each layer's [CLS] weighs in a paper's vector, at every look. “words” is the embedding layer, before "
        "the first.",
        "All weigh the same at first unless the start had a mix of its own. At a learning rate of 1e-5 the weights "
        "move slowly, so mind the numbers at the bar: the colours are spread over whatever there is.",
    )
    found = drawn([trace], y="layer", height=120 + 20 * max(layers, 6))
    found["layout"]["yaxis"] |= {"type": "category", "showgrid": False}
    found["layout"]["hovermode"] = "closest"
    return Chart("mix_over_time", "Weights of the layers over time", words, found)


def _mix_at_best(runs: Sequence[Run]) -> Chart | None:
    mixes = [(place, run, best.mix) for place, run in enumerate(runs) if (best := run.curves.best()) and best.mix]
    if not mixes:
        return None
    layers = max(len(mix) for _, _, mix in mixes)
    digits = _digits([share for _, _, mix in mixes for share in mix])
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": shown(run.name),
            "showlegend": len(runs) > 1,
            "x": layer_names(len(mix)),
            "y": list(mix),
            "line": {"color": f"@run{place}", "width": 2, "dash": DASHES[place % len(DASHES)]},
            "marker": {"size": 8, "color": f"@run{place}"},
            "hovertemplate": f"%{{y:.{digits}%}}" + extra(alone=len(runs) == 1),
        }
        for place, run, mix in mixes
    ]
    words: tuple[str, ...] = (
        "What each layer weighs in the checkpoint that was kept, against equal weights. Low layers see words, "
        "high ones their meaning in the sentence; which of them help is what the mix learns.",
    )
    if len(mixes) == 1:
        mix = mixes[0][2]
        most, least = int(np.argmax(mix)), int(np.argmin(mix))
        words += (
            f"Most: {layer_words(most)}, {mix[most]:.{digits}%}. Least: {layer_words(least)}, "
            f"{mix[least]:.{digits}%}. Equal would be {1 / layers:.{digits}%} each.",
        )
    found = drawn(traces, x="layer", y="weight", marks=[level(1 / layers, "equal weights")], percent=True)
    found["layout"]["xaxis"] |= {"type": "category", "tickformat": ""}
    found["layout"]["yaxis"]["tickformat"] = f".{digits}~%"
    return Chart("mix_at_best", "Weights of the layers in the checkpoint", words, found)


def _digits(shares: Sequence[float]) -> int:
    """How many digits of percent tell shares apart: a mix that was learned for a few steps has moved very little."""
    spread = 100 * (max(shares) - min(shares))
    return 2 if spread <= 0 else min(max(2, 1 - math.floor(math.log10(spread))), 6)
