"""What was evaluated, on the Evaluate page: the table of a set, its queries, and the leaderboard of all sets."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from components.evaluation import store as kept
from components.evaluation.error_analysis import Order, paired_by_fold, sort_queries
from components.evaluation.format import set_label, system_label
from components.evaluation.metrics import MAP, NDCG_20_PERCENT, STANDARD_METRICS
from components.evaluation.published import published_rows, published_scores
from components.evaluation.report import Report, report_of
from components.evaluation.results import Evaluation, QueryScores
from components.evaluation.statistics import PairedTest, paired_test
from components.pages import jobs, session
from components.pages.error_analysis import look_at
from components.panels.evaluation_table import evaluation_table, measured, usual_table
from components.panels.leaderboard import leaderboard
from components.panels.query_list import paired_words, query_list
from components.panels.score_distribution import Distribution, score_distribution
from components.search.view import EvaluationView
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

_FIRST, _SECOND, _METRIC, _ORDER, _MORE, _FILTER = (
    "queries-first", "queries-second", "queries-metric", "queries-order", "queries-shown", "leaderboard-set",
)  # fmt: skip
_METRICS = {MAP: "Average precision", NDCG_20_PERCENT: "NDCG%20", **{name: name for name in STANDARD_METRICS}}
_ORDERS: Mapping[Order, str] = {"worst": "Worst first", "best": "Best first", "lost": "Most lost", "won": "Most won"}
_PAGE = 10  # queries that are drawn; more on asking
_NONE = ""


# ---------------------------------------------------------------- results


def results_tab(here: Sequence[Evaluation]) -> None:
    """Draw the table of what was evaluated on one split of one set; at least one evaluation."""
    best = sorted(here, key=lambda one: (-one.means[MAP], one.system.name))
    newest = max(here, key=lambda one: one.made)
    stale = {
        one.id: "of other texts, pools or grades than the newest of this set"
        for one in here
        if one.set_fingerprint != newest.set_fingerprint
    }
    figures = {one.id: published_scores(one.system, one.set_name, one.facet) for one in best}
    shown = {one.system.source for one in best}
    others = [row for row in published_rows(newest.set_name, newest.facet) if row.encoder not in shown]
    st.subheader(escaped(set_label(newest)), anchor=False)
    st.caption(f"{newest.queries:,} queries. Figures are percent; higher is better.")
    evaluation_table(best, published=figures, others=others, stale=stale)
    _downloads(best)
    with st.expander("The usual metrics", icon=":material/table_chart:"):
        usual_table(best)
    measured(best)


def _downloads(shown: Sequence[Evaluation]) -> None:
    """The report in three forms, and each system's run file; made only when they are asked for."""
    first = shown[0]
    name = "-".join(part for part in (first.set_name, first.facet, first.split) if part)

    def report() -> Report:
        return report_of(shown, [_scores(one) for one in shown])

    with st.container(horizontal=True, key="evaluation-downloads"):
        for label, ending, mime, content in (
            ("Markdown", "md", "text/markdown", lambda: report().markdown()),
            ("CSV", "csv", "text/csv", lambda: report().csv()),
            ("JSON", "json", "application/json", lambda: report().json()),
        ):
            st.download_button(
                label,
                content,
                f"{name}.{ending}",
                mime,
                icon=":material/download:",
                key=f"report-{ending}",
                on_click="ignore",
            )
        with st.popover("Run files", icon=":material/download:"):
            st.caption("How each system ranked, a line a candidate, as trec_eval reads it; gzip.")
            for one in shown:
                st.download_button(
                    escaped(system_label(one)),
                    partial(_run_file, one.id),
                    f"{name}-{one.id}.run.txt.gz",
                    "application/gzip",
                    key=f"run-{one.id}",
                    on_click="ignore",
                )


def _run_file(id: str) -> bytes:
    return kept.run_path(id).read_bytes()


# ---------------------------------------------------------------- queries


def queries_tab(view: EvaluationView, here: Sequence[Evaluation]) -> None:
    """Draw the queries of one system, beside another's where one is chosen; or one query, looked at."""
    by_id = {one.id: one for one in sorted(here, key=lambda one: one.made, reverse=True)}
    first = by_id[view.system if view.system in by_id else next(iter(by_id))]
    others = [one for one in by_id.values() if one.id != first.id and one.set_fingerprint == first.set_fingerprint]
    second = next((one for one in others if one.id == view.beside), None)
    view = replace(view, system=first.id, beside=second.id if second else "")
    metric = _metric()
    try:
        scores = _scores(first)
        beside = _scores(second) if second else None
    except CociteAtlasError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    order = _order_chosen(second is not None)
    placed = sort_queries(scores, beside, metric=metric, order=order)
    if view.query:
        look_at(view, first, placed)
        return
    _choose(view, list(by_id.values()), others)
    score_distribution(
        Distribution(first.system.name, [one.metrics[metric] for one in scores], first.means[metric]),
        Distribution(second.system.name, [one.metrics[metric] for one in beside or ()], second.means[metric])
        if second
        else None,
        metric=metric,
        key="distribution",
    )
    if second:
        test = _paired(first, second, metric=metric)
        st.markdown(
            paired_words(test, first=first.system.name, second=second.system.name),
            help="A paired randomisation test, two-sided: the two systems are swapped at random, query by query, "
            f"{test.samples:,} times; p is how often as large a difference comes of that.",
        )
    elif others:
        st.caption("Choose another system beside it to see whether the two differ by more than chance.")
    _orders(second is not None)
    shown = st.session_state.get(_MORE, _PAGE)
    query_list(placed[:shown], on_open=lambda query: session.show_evaluation(replace(view, query=query)))
    if placed[shown:]:
        st.button(f"Show more of {len(placed):,}", key="more-queries", on_click=_show_more)


def _metric() -> str:
    return str(_remembered(_METRIC, MAP, among=_METRICS))


def _order_chosen(with_second: bool) -> Order:
    orders = [order for order in _ORDERS if with_second or order in ("worst", "best")]
    chosen: Order = _remembered(_ORDER, "worst", among=orders)
    return chosen


def _remembered(key: str, default: str, *, among: Container[str]) -> Any:
    """What a widget holds. Set anew, so that it stays while a query is looked at and the widget is not drawn."""
    chosen = st.session_state.get(key)
    st.session_state[key] = chosen if chosen in among else default
    return st.session_state[key]


def _choose(view: EvaluationView, found: Sequence[Evaluation], others: Sequence[Evaluation]) -> None:
    names = {one.id: _distinct(one, found) for one in found}
    st.session_state[_FIRST], st.session_state[_SECOND] = view.system, view.beside
    left, middle, right = st.columns([4, 4, 3], gap="small", vertical_alignment="bottom")
    with left:
        st.selectbox(
            "System", list(names), format_func=names.__getitem__, key=_FIRST, on_change=_on_systems, args=(view,)
        )
    with middle:
        st.selectbox(
            "Beside",
            [_NONE, *(one.id for one in others)],
            format_func=lambda id: names.get(id, "nothing"),
            key=_SECOND,
            on_change=_on_systems,
            args=(view,),
        )
    with right:
        st.selectbox("Metric", list(_METRICS), format_func=_METRICS.__getitem__, key=_METRIC)


def _distinct(one: Evaluation, found: Sequence[Evaluation]) -> str:
    """A system's name, with what tells it from another of that name."""
    same = [other for other in found if system_label(other) == system_label(one)]
    return system_label(one) if len(same) == 1 else f"{system_label(one)}, {one.made[:10]}, {one.id[:4]}"


def _orders(with_second: bool) -> None:
    st.segmented_control(
        "Order of the queries",
        [order for order in _ORDERS if with_second or order in ("worst", "best")],
        format_func=_ORDERS.__getitem__,
        required=True,
        key=_ORDER,
        label_visibility="collapsed",
    )


def _on_systems(view: EvaluationView) -> None:
    system, beside = st.session_state[_FIRST], st.session_state[_SECOND]
    st.session_state.pop(_MORE, None)
    session.show_evaluation(replace(view, system=system, beside="" if beside == system else beside, query=""))


def _show_more() -> None:
    st.session_state[_MORE] = st.session_state.get(_MORE, _PAGE) + 2 * _PAGE


def _scores(one: Evaluation) -> list[QueryScores]:
    return _read_scores(one.id, one.made)


@st.cache_data(max_entries=8, show_spinner="Reading its scores…")
def _read_scores(id: str, made: str) -> list[QueryScores]:  # noqa: ARG001  (doing it again replaces it)
    return kept.scores_of(id)


def _paired(first: Evaluation, second: Evaluation, *, metric: str) -> PairedTest:
    return _tested(first.id, first.made, second.id, second.made, metric)


@st.cache_data(max_entries=64, show_spinner="Testing whether they differ…")
def _tested(first: str, first_made: str, second: str, second_made: str, metric: str) -> PairedTest:
    return paired_test(
        *paired_by_fold(_read_scores(first, first_made), _read_scores(second, second_made), metric=metric)
    )


# ---------------------------------------------------------------- all


def leaderboard_tab(view: EvaluationView, found: Sequence[Evaluation]) -> None:
    """Draw all evaluations that are kept, and what is damaged."""
    for id in kept.damaged():
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(
                f":material/broken_image: The evaluation {escaped(id)} is damaged. Delete it, and evaluate again."
            )
            st.button("Delete it", key=f"delete-{id}", on_click=_delete, args=(id,))
    if not found:
        st.markdown("Nothing is kept yet: everything that is evaluated stands here, with what it was evaluated on.")
        return
    names = sorted({one.set_name for one in found})
    if len(names) > 1:
        chosen = st.selectbox("Set", [_NONE, *names], format_func=lambda name: name or "all sets", key=_FILTER)
        found = [one for one in found if chosen in (_NONE, one.set_name)]
    leaderboard(
        found,
        on_open=lambda one: session.show_evaluation(
            EvaluationView(atlas=view.atlas, set=one.set_name, facet=one.facet, split=one.split, system=one.id)
        ),
        on_delete=lambda one: _delete(one.id),
    )


def _delete(id: str) -> None:
    jobs.attempt(lambda: kept.delete(id))
