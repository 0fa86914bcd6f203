"""Panels of evaluations: the scores on one split of a set, the queries of a system, and the leaderboard."""

import html
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import streamlit as st

from components.evaluation.error_analysis import QueryComparison
from components.evaluation.format import issue_descriptions, percent, points, system_label
from components.evaluation.metrics import MAP, NDCG_20_PERCENT
from components.evaluation.published import PublishedRow
from components.evaluation.results import Evaluation
from components.evaluation.statistics import PairedTest
from components.mapping.palette import css_colours
from components.search.markup import facts_html, plural
from corpus.text.markdown import escaped

MAIN_METRICS = {MAP: "Mean average precision", NDCG_20_PERCENT: "Over the top 20 % of each pool. Not nDCG@20"}
_KINDS = {"encoder": "encoder", "tfidf": "keywords only", "bm25": "keywords only", "rankings": "an imported ranking"}
_MAX_TITLE_CHARS = 160
_SIGNIFICANT_P = 0.05


@dataclass(frozen=True, slots=True)
class _Scale:
    """The scale of a bar, in percent, which both tables of scores draw."""

    low: float = 0
    high: float = 100

    def at(self, score: float) -> str:
        """Where a score, a fraction, is on the scale, as a CSS length."""
        return f"{100 * (100 * score - self.low) / max(self.high - self.low, 1):.2f}%"

    def bar(self, label: str, *, line: tuple[float, float] | None, mark: float | None, dot: float | None = None) -> str:
        """A bar: a line between two scores, a dot, and a diamond as a mark. label: the same in words."""
        parts = (
            f'<i class="line" style="left:{self.at(line[0])};right:calc(100% - {self.at(line[1])})"></i>'
            if line
            else ""
        )
        for name, score in (("mark", mark), ("dot", dot)):
            parts += f'<i class="{name}" style="left:{self.at(score)}"></i>' if score is not None else ""
        return f'<span class="scale" role="img" aria-label="{html.escape(label)}">{parts}</span>'


# One split of a set


def evaluation_table(
    evaluations: Sequence[Evaluation],
    *,
    published: Mapping[str, Mapping[str, float]],
    others: Sequence[PublishedRow],
    stale: Mapping[str, str],
) -> None:
    """Draw the scores of systems. evaluations: of one split of one set; at least one.

    published: id of an evaluation → its system's published scores as fractions, by metric. others: published scores of
    encoders that were not evaluated. stale: id → why an evaluation is not of the set as it is now.
    """
    scales = {}
    for metric in MAIN_METRICS:
        scores = [
            scores[metric] for scores in (*published.values(), *(row.scores for row in others)) if metric in scores
        ]
        scores += [bound for evaluation in evaluations for bound in evaluation.intervals[metric]]
        low, high = 10 * math.floor(10 * min(scores) - 0.05), 10 * math.ceil(10 * max(scores) + 0.05)
        scales[metric] = _Scale(max(0, low), min(100, high))
    head = "".join(
        f'<th title="{MAIN_METRICS[metric]}">{metric}<span class="ends"><span>{scale.low}</span>'
        f"<span>{scale.high}</span></span></th>"
        for metric, scale in scales.items()
    )
    best = {metric: max(evaluation.means[metric] for evaluation in evaluations) for metric in scales}
    rows = []
    for evaluation in evaluations:
        comparable = '<span class="yes">✓ comparable</span>' if evaluation.comparable else "not comparable"
        warning = f"<small>⚠ {html.escape(stale[evaluation.id])}</small>" if evaluation.id in stale else ""
        own = published.get(evaluation.id, {})
        cells = (
            _cell(evaluation, metric, scale, published=own.get(metric), best=best[metric])
            for metric, scale in scales.items()
        )
        rows.append(
            f'<tr><th scope="row">{html.escape(system_label(evaluation))}'
            f"<small>{_KINDS[evaluation.system.kind]}</small><small>{comparable}</small>{warning}</th>{''.join(cells)}</tr>"
        )
    for row in others:
        cells = (
            f"<td><b>{percent(score)}</b>{scale.bar(f'published {percent(score)} percent', line=None, mark=score)}</td>"
            if (score := row.scores.get(metric)) is not None
            else "<td>–</td>"
            for metric, scale in scales.items()
        )
        rows.append(
            f'<tr class="published"><th scope="row">{html.escape(row.encoder)}'
            f"<small>published; not evaluated here</small></th>{''.join(cells)}</tr>"
        )
    has_published = others or any(published.get(evaluation.id) for evaluation in evaluations)
    st.html(
        f'<div style="{_colours()}"><table class="evaluations"><thead><tr><th>System</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        '<p class="evaluations-key"><i class="dot"></i> measured here, with 95 % interval'
        + ('<i class="mark"></i> published' if has_published else "")
        + "</p></div>"
    )
    _reasons(evaluations)


def _cell(evaluation: Evaluation, metric: str, scale: _Scale, *, published: float | None, best: float) -> str:
    mean, (low, high) = evaluation.means[metric], evaluation.intervals[metric]
    label = f"{metric} {percent(mean)} percent, 95 percent interval {percent(low)} to {percent(high)}"
    beside = ""
    if published is not None:
        difference = f" ({points(mean - published)})" if evaluation.comparable else ""
        beside = f"<small>published {percent(published)}{difference}</small>"
        label += f", published {percent(published)}"
    style = ' class="best"' if mean >= best else ""
    return (
        f"<td{style}><b>{percent(mean)}</b> "
        f'<small class="interval">{percent(low)} – {percent(high)}</small>'
        f"{scale.bar(label, line=(low, high), mark=published, dot=mean)}{beside}</td>"
    )


def _reasons(evaluations: Sequence[Evaluation]) -> None:
    """Why scores may not be compared with published ones; once where the reasons are the same for all."""

    def bullets(evaluation: Evaluation) -> str:
        return "\n".join(f"- {escaped(reason)}" for reason in evaluation.not_comparable)

    if all(evaluation.comparable for evaluation in evaluations):
        return
    with st.expander("Why not comparable with published scores", icon=":material/info:"):
        if len({evaluation.not_comparable for evaluation in evaluations}) == 1:
            st.markdown(bullets(evaluations[0]))
            return
        for evaluation in evaluations:
            if not evaluation.comparable:
                st.markdown(f"**{escaped(system_label(evaluation))}**\n{bullets(evaluation)}")


def standard_table(evaluations: Sequence[Evaluation]) -> None:
    """Draw the metrics that ir-measures computes; at least one evaluation."""
    names = [name for name in evaluations[0].means if name not in MAIN_METRICS]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(system_label(evaluation))}</th>'
        + "".join(f"<td>{percent(evaluation.means.get(name))}</td>" for name in names)
        + "</tr>"
        for evaluation in evaluations
    )
    st.html(
        '<div class="wide"><table class="usual"><caption>Percent, as ir-measures defines them. nDCG@20 covers the '
        "first 20 ranks, with another discount than NDCG%20: do not compare the two.</caption><thead><tr><th>System"
        f"</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def measurement_details(evaluations: Sequence[Evaluation]) -> None:
    """Draw what was measured: counts, issues of the set, fingerprints, times and versions."""
    first, sizes = evaluations[0], evaluations[0].pool_sizes
    folds = f" in {len(first.folds)} folds ({' + '.join(map(str, first.folds))})" if len(first.folds) > 1 else ""
    spread = f"{sizes.smallest:,.0f} to {sizes.largest:,.0f}, median {sizes.median:,.0f}"
    facts = [
        ("Queries", f"{first.queries:,}{folds}"),
        ("Candidates per query", f"{sizes.median:,.0f}" if sizes.smallest == sizes.largest else spread),
        ("Papers in the set", f"{first.papers:,}"),
        ("Relevant", f"grade {first.relevant_from} or higher"),
        ("Queries without a relevant candidate", f"{first.without_positive:,} (average precision 0)"),
        ("Pools of fewer than five", f"{first.pools_under_five:,} (NDCG%20 0)"),
    ]
    if first.handled:
        facts.append(("Issues in the set", "; ".join(issue_descriptions(first.handled))))
    if first.rules:
        facts.append(("How the set was made", first.rules))
    facts.append(("Fingerprint of the set", first.set_fingerprint))
    for evaluation in evaluations:
        times = ", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in evaluation.seconds.items())
        versions = ", ".join(f"{name} {version}" for name, version in evaluation.versions.items())
        fingerprint = f"fingerprint {evaluation.system.fingerprint[:16]}"
        parts = [fingerprint, evaluation.made, times, versions, evaluation.machine, *evaluation.notes]
        facts.append((system_label(evaluation), " · ".join(parts)))
    with st.expander("What was measured", icon=":material/fact_check:"):
        st.html(facts_html(facts))


# Queries


def query_list(queries: Sequence[QueryComparison], *, on_open: Callable[[str], None]) -> None:
    """Draw some queries with their scores. on_open: gets the name of the query to open."""
    for number, query in enumerate(queries):
        scores = query.scores
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"query-row-{number}"):
            label, other = f"{100 * query.value:.1f} percent", ""
            if query.other is not None:
                label += f", compared with {100 * query.other:.1f}"
                other = f"<small>vs {100 * query.other:.1f}</small>"
            bar = _Scale().bar(label, line=(0, query.value), mark=query.other)
            st.html(
                f'<div class="query-figure" style="{_colours()}"><b>{100 * query.value:.1f}</b>{other}{bar}</div>',
                width=128,
            )
            with st.container(gap=None):
                title = scores.title or scores.query
                st.button(
                    escaped(title[:_MAX_TITLE_CHARS] + ("…" if len(title) > _MAX_TITLE_CHARS else "")),
                    key=f"look-{scores.fold}-{scores.query}",
                    type="tertiary",
                    on_click=on_open,
                    args=(scores.query,),
                )
                group = f" · {scores.group}" if scores.group else ""
                st.caption(escaped(f"{scores.relevant:,} of {scores.candidates:,} relevant · {scores.query}{group}"))


def paired_test_text(test: PairedTest, *, first: str, second: str) -> str:
    """A paired test in words, as Markdown. first, second: the systems, of unknown origin.

    >>> test = PairedTest(difference=0.0, p_value=1.0, wins=0, losses=0, ties=3, samples=100_000)
    >>> paired_test_text(test, first="a", second="b")
    '**No difference**: a and b score the same on each of the 3 queries.'
    """
    if not test.wins and not test.losses:
        queries = plural(test.ties, "query", "queries")
        return f"**No difference**: {escaped(first)} and {escaped(second)} score the same on each of the {queries}."
    better, worse = (first, second) if test.difference >= 0 else (second, first)
    difference = f"{100 * abs(test.difference):.2f} percentage points"
    p = f"p = {test.p_value:.4f}" if test.p_value >= 0.0001 else "p < 0.0001"
    head = (
        f"**{escaped(better)} is better** than {escaped(worse)} by {difference} ({p})."
        if test.p_value < _SIGNIFICANT_P
        else f"**No significant difference**: {escaped(better)} is {difference} above {escaped(worse)}, which may be "
        f"chance ({p})."
    )
    return (
        f"{head} {escaped(first)} is better on {plural(test.wins, 'query', 'queries')}, worse on {test.losses:,}, and "
        f"the same on {test.ties:,}."
    )


# All sets


def leaderboard(
    evaluations: Sequence[Evaluation], *, on_open: Callable[[Evaluation], None], on_delete: Callable[[Evaluation], None]
) -> None:
    """Draw evaluations by set and split, the best first. on_open, on_delete: get the chosen one."""

    def split(evaluation: Evaluation) -> tuple[str, str, str, str]:
        return evaluation.set_name, evaluation.facet, evaluation.split, evaluation.set_fingerprint

    ranked = sorted(evaluations, key=lambda one: (*split(one), -one.means[MAP], one.system.name, one.id))
    groups = [(key, list(group)) for key, group in groupby(ranked, key=split)]
    versions = Counter(key[:3] for key, _ in groups)
    for (name, facet, split_name, fingerprint), group in groups:
        # Two sets can have the same name, and scores of different sets do not compare.
        which = f", set {fingerprint[:8]}" if versions[name, facet, split_name] > 1 else ""
        with st.container(border=True, key=f"board-{group[0].id}"):
            title = f"{name} ({facet})" if facet else name
            st.markdown(f"**{escaped(title)}**, split {escaped(split_name + which)}")
            for rank, evaluation in enumerate(group, start=1):
                _leaderboard_row(evaluation, rank=rank, on_open=on_open, on_delete=on_delete)


def _leaderboard_row(
    evaluation: Evaluation,
    *,
    rank: int,
    on_open: Callable[[Evaluation], None],
    on_delete: Callable[[Evaluation], None],
) -> None:
    id, args = evaluation.id, (evaluation,)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"board-row-{id}"):
        with st.container(gap=None):
            scores = " · ".join(f"{metric} **{percent(evaluation.means[metric])}**" for metric in MAIN_METRICS)
            st.markdown(f"{rank}\\. **{escaped(system_label(evaluation))}** · {scores}")
            comparable = "comparable" if evaluation.comparable else "not comparable"
            queries = plural(evaluation.queries, "query", "queries")
            st.caption(escaped(f"{queries} · {evaluation.made[:10]} · {comparable} with published scores"))
        st.button("Open", key=f"open-{id}", type="tertiary", on_click=on_open, args=args, width="content")
        with st.popover(
            "", icon=":material/delete:", type="tertiary", help="Delete this evaluation", key=f"delete-menu-{id}"
        ):
            st.markdown("Delete this evaluation and its run file? You can evaluate again at any time.")
            st.button("Delete", type="primary", key=f"delete-{id}", on_click=on_delete, args=args)


def _colours() -> str:
    return css_colours(dark=st.context.theme.type == "dark")
