"""The evaluation table panel: what each system reached on one split of a set, with published figures beside it."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from components.evaluation.format import issue_descriptions, percent, points, system_label
from components.evaluation.metrics import MAP, NDCG_20_PERCENT
from components.evaluation.published import PublishedRow
from components.evaluation.results import Evaluation
from components.mapping.palette import css_colours
from corpus.text.markdown import escaped

MAIN = (MAP, NDCG_20_PERCENT)
_HELP = {
    MAP: "Mean average precision",
    NDCG_20_PERCENT: "Over the top 20 % of each pool. It is not nDCG@20",
}
_KINDS = {"encoder": "encoder", "tfidf": "words alone", "bm25": "words alone", "rankings": "a ranking that was given"}


def evaluation_table(
    evaluations: Sequence[Evaluation],
    *,
    published: Mapping[str, Mapping[str, float]],
    others: Sequence[PublishedRow],
    stale: Mapping[str, str],
) -> None:
    """Draw what systems reached. evaluations: of one split of one set; at least one.

    published: by an evaluation's id, the published figures of its system as fractions, by metric. others: what is
    published of encoders that are not among them. stale: by id, why one is not of the set as it is here.
    """
    columns = [
        _Column.of(metric, evaluations, [*published.values(), *(row.scores for row in others)]) for metric in MAIN
    ]
    head = "".join(
        f'<th title="{_HELP[column.metric]}">{column.metric}<span class="ends"><span>{column.low}</span>'
        f"<span>{column.high}</span></span></th>"
        for column in columns
    )
    rows = "".join(_row(one, published.get(one.id, {}), stale.get(one.id, ""), columns) for one in evaluations)
    rows += "".join(_published_row(row, columns) for row in others)
    colours = css_colours(dark=st.context.theme.type == "dark")
    st.html(
        f'<div style="{colours}"><table class="evaluations"><thead><tr><th>System</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
        '<p class="evaluations-key"><i class="dot"></i> ours, with its 95 % interval'
        + ('<i class="mark"></i> published' if others or any(published.get(one.id) for one in evaluations) else "")
        + "</p></div>"
    )
    _reasons(evaluations)


@dataclass(frozen=True, slots=True)
class _Column:
    """One metric's column: the ends of its scale in percent, and the best mean, a fraction."""

    metric: str
    low: int
    high: int
    best: float

    @classmethod
    def of(cls, metric: str, evaluations: Sequence[Evaluation], published: Sequence[Mapping[str, float]]) -> "_Column":
        """The column whose scale holds all intervals and published figures, to the next ten."""
        figures = [figures[metric] for figures in published if metric in figures]
        low = min([one.intervals[metric][0] for one in evaluations] + figures)
        high = max([one.intervals[metric][1] for one in evaluations] + figures)
        return cls(
            metric=metric,
            low=max(0, 10 * math.floor(10 * low - 0.05)),
            high=min(100, 10 * math.ceil(10 * high + 0.05)),
            best=max(one.means[metric] for one in evaluations),
        )

    def at(self, figure: float) -> str:
        """Where a figure, a fraction, stands on the scale, in percent of its width."""
        return f"{100 * (100 * figure - self.low) / max(self.high - self.low, 1):.2f}%"


def _row(one: Evaluation, published: Mapping[str, float], stale: str, columns: Sequence[_Column]) -> str:
    mark = '<span class="yes">✓ comparable</span>' if one.comparable else "not comparable"
    cells = "".join(_cell(one, column, published.get(column.metric)) for column in columns)
    return (
        f'<tr><th scope="row">{html.escape(system_label(one))}<small>{_KINDS[one.system.kind]}</small>'
        f"<small>{mark}</small>{f'<small>⚠ {html.escape(stale)}</small>' if stale else ''}</th>{cells}</tr>"
    )


def _published_row(row: PublishedRow, columns: Sequence[_Column]) -> str:
    cells = "".join(
        f'<td><b>{percent(figure)}</b><span class="scale"><i class="mark" style="left:{column.at(figure)}"></i></span>'
        "</td>"
        if (figure := row.scores.get(column.metric)) is not None
        else "<td>–</td>"
        for column in columns
    )
    return (
        f'<tr class="published"><th scope="row">{html.escape(row.encoder)}<small>published; not evaluated here</small>'
        f"</th>{cells}</tr>"
    )


def _cell(one: Evaluation, column: _Column, published: float | None) -> str:
    mean, (low, high) = one.means[column.metric], one.intervals[column.metric]
    told = f"{column.metric} {percent(mean)} percent, 95 percent interval {percent(low)} to {percent(high)}"
    beside, mark = "", ""
    if published is not None:
        differs = f" ({points(mean - published)})" if one.comparable else ""
        beside = f"<small>published {percent(published)}{differs}</small>"
        mark = f'<i class="mark" style="left:{column.at(published)}"></i>'
        told += f", published {percent(published)}"
    leading = ' class="best"' if mean >= column.best else ""
    return (
        f'<td{leading}><b>{percent(mean)}</b> <small class="interval">{percent(low)} – {percent(high)}</small>'
        f'<span class="scale" role="img" aria-label="{told}"><i class="line" style="left:{column.at(low)};'
        f'right:calc(100% - {column.at(high)})"></i>{mark}<i class="dot" style="left:{column.at(mean)}"></i></span>'
        f"{beside}</td>"
    )


def _reasons(evaluations: Sequence[Evaluation]) -> None:
    """Why figures may not be set beside published ones; said once where it is so for all."""
    if all(one.comparable for one in evaluations):
        return
    with st.expander("Why not comparable with published figures", icon=":material/info:"):
        if len({one.not_comparable for one in evaluations}) == 1:
            st.markdown("\n".join(f"- {escaped(reason)}" for reason in evaluations[0].not_comparable))
            return
        for one in evaluations:
            if not one.comparable:
                st.markdown(
                    f"**{escaped(system_label(one))}**\n"
                    + "\n".join(f"- {escaped(reason)}" for reason in one.not_comparable)
                )


def usual_table(evaluations: Sequence[Evaluation]) -> None:
    """Draw the usual metrics, as ir-measures computes them; at least one evaluation."""
    names = [name for name in evaluations[0].means if name not in MAIN]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(system_label(one))}</th>'
        + "".join(f"<td>{percent(one.means.get(name))}</td>" for name in names)
        + "</tr>"
        for one in evaluations
    )
    st.html(
        '<div class="wide"><table class="usual"><caption>Percent, as ir-measures defines them. nDCG@20 is of the '
        "first 20 ranks, with another discount than NDCG%20: never compare the two.</caption><thead><tr><th>System</th>"
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def measured(evaluations: Sequence[Evaluation]) -> None:
    """Draw what exactly was measured: counts, what was met in the set, fingerprints, times and versions."""
    first = evaluations[0]
    sizes = first.pool_sizes
    folds = f" in {len(first.folds)} folds ({' + '.join(map(str, first.folds))})" if len(first.folds) > 1 else ""
    facts = [
        ("Queries", f"{first.queries:,}{folds}"),
        (
            "Candidates a query",
            f"{sizes.smallest:,.0f} to {sizes.largest:,.0f}, {sizes.median:,.0f} in the middle",
        ),
        ("Papers ranked or asked with", f"{first.papers:,}"),
        ("Relevant", f"from grade {first.relevant_from} on"),
        ("Without anything relevant", f"{first.without_positive:,} (average precision 0)"),
        ("Pools under five", f"{first.pools_under_five:,} (NDCG%20 0)"),
    ]
    if first.handled:
        facts.append(("Met in the set", "; ".join(issue_descriptions(first.handled))))
    if first.rules:
        facts.append(("How the set was made", first.rules))
    facts.append(("Fingerprint of the set", first.set_fingerprint))
    for one in evaluations:
        took = ", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in one.seconds.items())
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        told = [f"fingerprint {one.system.fingerprint[:16]}", one.made, took, versions, one.machine, *one.notes]
        facts.append((system_label(one), " · ".join(told)))
    entries = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in facts)
    with st.expander("What exactly was measured", icon=":material/fact_check:"):
        st.html(f'<dl class="facts">{entries}</dl>')
