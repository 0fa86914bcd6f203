"""The evaluation table panel: what each system reached on one split of a set, with published figures beside it."""

import html
from collections.abc import Mapping, Sequence

import streamlit as st

from components.evaluation.published import PublishedRow
from components.evaluation.results import MAP, NDCG_20_PERCENT, Evaluation
from components.evaluation.wording import called, handled_words, points
from components.markdown import escaped

_HEADLINE = (MAP, NDCG_20_PERCENT)
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
    best = {metric: max(one.means[metric] for one in evaluations) for metric in _HEADLINE}
    head = "".join(f'<th title="{_HELP[metric]}">{metric}</th>' for metric in _HEADLINE)
    rows = "".join(_row(one, published.get(one.id, {}), stale.get(one.id, ""), best) for one in evaluations)
    rows += "".join(map(_published_row, others))
    st.html(
        f'<table class="evaluations"><thead><tr><th>System</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
        '<p class="evaluations-key"><i class="dot"></i> ours, with its 95 % interval'
        + ('<i class="mark"></i> published' if others or any(published.get(one.id) for one in evaluations) else "")
        + " · the scale runs from 0 to 100 %</p>"
    )
    _reasons(evaluations)


def _row(one: Evaluation, published: Mapping[str, float], stale: str, best: Mapping[str, float]) -> str:
    facts = [_KINDS[one.system.kind], one.made[:10]]
    mark = (
        '<span class="yes">✓ comparable with the published figures</span>'
        if one.comparable
        else '<span class="no">not comparable with published figures</span>'
    )
    old = f'<span class="no">⚠ {html.escape(stale)}</span>' if stale else ""
    cells = "".join(_cell(one, metric, published.get(metric), best[metric]) for metric in _HEADLINE)
    return (
        f'<tr><th scope="row">{html.escape(called(one))}<small>{html.escape(" · ".join(facts))}</small>'
        f"<small>{mark}</small>{f'<small>{old}</small>' if old else ''}</th>{cells}</tr>"
    )


def _published_row(row: PublishedRow) -> str:
    cells = "".join(
        f'<td><b>{100 * figure:.2f}</b><span class="scale"><i class="mark" style="left:{100 * figure:.2f}%"></i></span>'
        "</td>"
        if (figure := row.figures.get(metric)) is not None
        else "<td>–</td>"
        for metric in _HEADLINE
    )
    return (
        f'<tr class="published"><th scope="row">{html.escape(row.encoder)}<small>published; not evaluated here</small>'
        f"</th>{cells}</tr>"
    )


def _cell(one: Evaluation, metric: str, published: float | None, best: float) -> str:
    value = 100 * one.means[metric]
    low, high = (100 * bound for bound in one.intervals[metric])
    told = f"{metric} {value:.2f} percent, 95 percent interval {low:.2f} to {high:.2f}"
    beside, mark = "", ""
    if published is not None:
        differs = f" ({points(one.means[metric] - published)})" if one.comparable else ""
        beside = f"<small>published {100 * published:.2f}{differs}</small>"
        mark = f'<i class="mark" style="left:{100 * published:.2f}%"></i>'
        told += f", published {100 * published:.2f}"
    leading = ' class="best"' if one.means[metric] >= best else ""
    return (
        f"<td{leading}><b>{value:.2f}</b> <small>{low:.2f} – {high:.2f}</small>"
        f'<span class="scale" role="img" aria-label="{told}"><i class="line" style="left:{low:.2f}%;'
        f'width:{max(high - low, 0):.2f}%"></i>{mark}<i class="dot" style="left:{value:.2f}%"></i></span>{beside}</td>'
    )


def _reasons(evaluations: Sequence[Evaluation]) -> None:
    """Why figures may not be set beside published ones; said once where it is so for all."""
    if all(one.comparable for one in evaluations):
        return
    with st.expander("Why not comparable", icon=":material/info:"):
        if len({one.not_comparable for one in evaluations}) == 1:
            st.markdown("\n".join(f"- {escaped(reason)}" for reason in evaluations[0].not_comparable))
            return
        for one in evaluations:
            if not one.comparable:
                st.markdown(
                    f"**{escaped(called(one))}**\n" + "\n".join(f"- {escaped(reason)}" for reason in one.not_comparable)
                )


def usual_table(evaluations: Sequence[Evaluation]) -> None:
    """Draw the usual metrics, as ir-measures computes them; at least one evaluation."""
    names = [name for name in evaluations[0].means if name not in _HEADLINE]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(called(one))}</th>'
        + "".join(f"<td>{100 * one.means[name]:.2f}</td>" if name in one.means else "<td>–</td>" for name in names)
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
            f"{sizes['smallest']:,.0f} to {sizes['largest']:,.0f}, {sizes['median']:,.0f} in the middle",
        ),
        ("Papers ranked or asked with", f"{first.papers:,}"),
        ("Relevant", f"from grade {first.relevant_from} on"),
        ("Without anything relevant", f"{first.without_positive:,} (average precision 0)"),
        ("Pools under five", f"{first.pools_under_five:,} (NDCG%20 0)"),
    ]
    if first.handled:
        facts.append(("Met in the set", "; ".join(handled_words(first.handled))))
    if first.rules:
        facts.append(("How the set was made", first.rules))
    facts.append(("Fingerprint of the set", first.set_fingerprint))
    for one in evaluations:
        took = ", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in one.seconds.items())
        versions = ", ".join(f"{name} {version}" for name, version in one.versions.items())
        facts.append((called(one), f"fingerprint {one.system.fingerprint[:16]} · {took} · {versions}"))
    entries = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in facts)
    with st.expander("What exactly was measured", icon=":material/fact_check:"):
        st.html(f'<dl class="facts">{entries}</dl>')
