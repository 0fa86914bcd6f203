"""The tabs of the Evaluate page: results on a split, its queries, the leaderboard, and the neighbour index."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from components.atlas import paths
from components.atlas.paths import DEFAULT_ATLAS
from components.atlas.store import read_manifest
from components.encoder.base import TextCoverage
from components.encoder.catalogue import LEXICAL
from components.evaluation import sets, store
from components.evaluation.error_analysis import (
    Order,
    QueryAnalysis,
    QueryComparison,
    analyse_query,
    paired_by_fold,
    sort_queries,
)
from components.evaluation.format import set_label, system_label
from components.evaluation.index_curve import CurveDamaged, read_curve, stale_note
from components.evaluation.metrics import MAP, NDCG_20_PERCENT, STANDARD_METRICS
from components.evaluation.published import published_rows, published_scores
from components.evaluation.report import Report, report_of
from components.evaluation.results import Evaluation, QueryScores
from components.evaluation.statistics import PairedTest, paired_test
from components.jobs.model import curve_request
from components.pages import frame, jobs, resources, session
from components.panels.charts import Distribution, index_curve, score_distribution
from components.panels.error_analysis import query_analysis
from components.panels.evaluation import (
    evaluation_table,
    leaderboard,
    measurement_details,
    paired_test_text,
    query_list,
    standard_table,
)
from components.search.view import EvaluationView
from corpus.errors import CociteAtlasError
from corpus.judged_sets.model import JudgedSet, SetError
from corpus.text.markdown import escaped

# Keys of widgets in st.session_state.
_FIRST, _SECOND, _METRIC, _ORDER, _SHOWN, _FILTER, _ATLAS = (
    "queries-first", "queries-second", "queries-metric", "queries-order", "queries-shown", "leaderboard-set",
    "index-atlas",
)  # fmt: skip
_METRICS = {MAP: "Average precision", NDCG_20_PERCENT: "NDCG%20", **{name: name for name in STANDARD_METRICS}}
_ORDERS: Mapping[Order, str] = {
    "worst": "Worst first",
    "best": "Best first",
    "lost": "Largest losses",
    "won": "Largest gains",
}
_PAGE_SIZE = 10  # queries that are drawn at first
_MAX_OPEN_SETS = 2  # about 100 MB each at RELISH's size


# Results


def results_tab(evaluations: Sequence[Evaluation]) -> None:
    """Draw the scores on one split of one set; at least one evaluation."""
    ranked = sorted(evaluations, key=lambda one: (-one.means[MAP], one.system.name))
    newest = max(evaluations, key=lambda one: one.made)
    sources = {evaluation.system.source for evaluation in ranked}
    st.subheader(escaped(set_label(newest)), anchor=False)
    st.caption(f"{newest.queries:,} queries. Scores in percent; higher is better.")
    evaluation_table(
        ranked,
        published={one.id: published_scores(one.system, one.set_name, one.facet) for one in ranked},
        others=[row for row in published_rows(newest.set_name, newest.facet) if row.encoder not in sources],
        stale={
            one.id: "the set has changed since: other texts, pools or grades"
            for one in evaluations
            if one.set_fingerprint != newest.set_fingerprint
        },
    )
    _downloads(ranked)
    with st.expander("Standard metrics", icon=":material/table_chart:"):
        standard_table(ranked)
    measurement_details(ranked)


def _downloads(evaluations: Sequence[Evaluation]) -> None:
    """Reports and run files, made when they are downloaded."""
    first = evaluations[0]
    name = "-".join(part for part in (first.set_name, first.facet, first.split) if part)

    def report() -> Report:
        return report_of(evaluations, [_scores(evaluation) for evaluation in evaluations])

    with st.container(horizontal=True, key="evaluation-downloads"):
        for label, ending, media_type, content in (
            ("Markdown", "md", "text/markdown", lambda: report().markdown()),
            ("CSV", "csv", "text/csv", lambda: report().csv()),
            ("JSON", "json", "application/json", lambda: report().json()),
        ):
            st.download_button(
                label,
                content,
                f"{name}.{ending}",
                media_type,
                icon=":material/download:",
                key=f"report-{ending}",
                on_click="ignore",
            )
        with st.popover("Run files", icon=":material/download:"):
            st.caption("The ranking of each system in trec_eval's format, gzipped.")
            for evaluation in evaluations:
                st.download_button(
                    escaped(system_label(evaluation)),
                    partial(_run_file, evaluation.id),
                    f"{name}-{evaluation.id}.run.txt.gz",
                    "application/gzip",
                    key=f"run-{evaluation.id}",
                    on_click="ignore",
                )


def _run_file(id: str) -> bytes:
    return store.run_path(id).read_bytes()


# Queries


def queries_tab(view: EvaluationView, evaluations: Sequence[Evaluation]) -> None:
    """Draw the queries of one system, compared with another one where that is chosen; or one opened query."""
    by_id = {one.id: one for one in sorted(evaluations, key=lambda one: one.made, reverse=True)}
    first = by_id[view.system if view.system in by_id else next(iter(by_id))]
    others = {id: one for id, one in by_id.items() if id != first.id and one.set_fingerprint == first.set_fingerprint}
    second = others.get(view.beside)
    view = replace(view, system=first.id, beside=second.id if second else "")
    metric: str = _kept(_METRIC, MAP, among=_METRICS)
    orders = [order for order in _ORDERS if second or order in ("worst", "best")]
    order: Order = _kept(_ORDER, "worst", among=orders)
    try:
        scores = _scores(first)
        other_scores = _scores(second) if second else None
    except CociteAtlasError as error:
        frame.show_error(error)
        return
    queries = sort_queries(scores, other_scores, metric=metric, order=order)
    if view.query:
        _opened_query(view, first, queries)
        return
    _choose_systems(view, by_id, others)
    first_values = Distribution(first.system.name, [one.metrics[metric] for one in scores], first.means[metric])
    second_values = None
    if second:
        values = [one.metrics[metric] for one in other_scores or ()]
        second_values = Distribution(second.system.name, values, second.means[metric])
    score_distribution(first_values, second_values, metric=metric, key="distribution")
    if second:
        test = _paired_test(first.id, first.made, second.id, second.made, metric)
        st.markdown(
            paired_test_text(test, first=first.system.name, second=second.system.name),
            help="Two-sided paired randomisation test: the systems are swapped at random, query by query, "
            f"{test.samples:,} times; p is how often the difference is as large.",
        )
    elif others:
        st.caption("Choose a second system to test whether the difference is significant.")
    st.segmented_control(
        "Order of the queries",
        orders,
        format_func=_ORDERS.__getitem__,
        required=True,
        key=_ORDER,
        label_visibility="collapsed",
    )
    shown = st.session_state.get(_SHOWN, _PAGE_SIZE)
    query_list(queries[:shown], on_open=lambda query: session.show_evaluation(replace(view, query=query)))
    if queries[shown:]:
        st.button(f"Show more of {len(queries):,}", key="more-queries", on_click=_show_more)


def _kept(key: str, default: str, *, among: Container[str]) -> Any:
    """The value of a widget, set again so that it is kept while the widget is not drawn."""
    value = st.session_state.get(key)
    st.session_state[key] = value if value in among else default
    return st.session_state[key]


def _choose_systems(
    view: EvaluationView, evaluations: Mapping[str, Evaluation], others: Mapping[str, Evaluation]
) -> None:
    labels = [system_label(evaluation) for evaluation in evaluations.values()]
    names = {
        id: label if labels.count(label) == 1 else f"{label}, {evaluation.made[:10]}, {id[:4]}"
        for (id, evaluation), label in zip(evaluations.items(), labels, strict=True)
    }
    st.session_state[_FIRST], st.session_state[_SECOND] = view.system, view.beside
    left, middle, right = st.columns([4, 4, 3], gap="small", vertical_alignment="bottom")
    with left:
        st.selectbox(
            "System", list(names), format_func=names.__getitem__, key=_FIRST, on_change=_on_systems, args=(view,)
        )
    with middle:
        st.selectbox(
            "Compare with",
            ["", *others],
            format_func=lambda id: names.get(id, "nothing"),
            key=_SECOND,
            on_change=_on_systems,
            args=(view,),
        )
    with right:
        st.selectbox("Metric", list(_METRICS), format_func=_METRICS.__getitem__, key=_METRIC)


def _on_systems(view: EvaluationView) -> None:
    system, beside = st.session_state[_FIRST], st.session_state[_SECOND]
    st.session_state.pop(_SHOWN, None)
    session.show_evaluation(replace(view, system=system, beside="" if beside == system else beside, query=""))


def _show_more() -> None:
    st.session_state[_SHOWN] = st.session_state.get(_SHOWN, _PAGE_SIZE) + 2 * _PAGE_SIZE


def _scores(evaluation: Evaluation) -> list[QueryScores]:
    return _read_scores(evaluation.id, evaluation.made)


@st.cache_data(max_entries=8, show_spinner="Reading the scores…")
def _read_scores(id: str, made: str) -> list[QueryScores]:  # noqa: ARG001  (evaluating again keeps the id)
    return store.scores_of(id)


@st.cache_data(max_entries=64, show_spinner="Testing the difference…")
def _paired_test(first: str, first_made: str, second: str, second_made: str, metric: str) -> PairedTest:
    scores, others = _read_scores(first, first_made), _read_scores(second, second_made)
    return paired_test(*paired_by_fold(scores, others, metric=metric))


# One query


def _opened_query(view: EvaluationView, evaluation: Evaluation, queries: Sequence[QueryComparison]) -> None:
    """Draw one query of an evaluation. queries: all, in the order of the buttons."""
    names = [query.scores.query for query in queries]
    place = names.index(view.query) if view.query in names else None

    def button(label: str, query: str, *, key: str, icon: str | None = None, disabled: bool = False) -> None:
        args = (replace(view, query=query),)
        st.button(label, key=key, icon=icon, disabled=disabled, on_click=session.show_evaluation, args=args)

    with st.container(horizontal=True, vertical_alignment="center"):
        button("All queries", "", key="all-queries", icon=":material/arrow_back:")
        if place is not None:
            before, after = ["", *names][place], [*names, ""][place + 1]
            button("Previous", before, key="query-before", disabled=not before)
            button("Next", after, key="query-after", disabled=not after)
            st.caption(f"{place + 1:,} of {len(names):,} in this order")
    if place is None:
        st.warning(escaped(f"This evaluation has no query {view.query!r:.80}."), icon=":material/link_off:")
        return
    try:
        with st.spinner("Opening the set…"):
            analysis = _analysis(evaluation, view.query)
    except CociteAtlasError as error:
        frame.show_error(error)
        return
    query_analysis(
        analysis,
        queries[place].scores,
        system=evaluation.system.name,
        ascending=evaluation.system.kind == "encoder",
        readings=_readings(evaluation, analysis),
    )


def _analysis(evaluation: Evaluation, query: str) -> QueryAnalysis:
    """The errors in a query's ranking. Raises SetError where the set has changed."""
    name, fingerprint = evaluation.set_name, evaluation.set_fingerprint
    judged: JudgedSet = _open_set(name, evaluation.facet, sets.describe(name).bytes, fingerprint)
    if judged.fingerprint != fingerprint:
        raise SetError(
            f"The set {name} has changed since this evaluation: its texts, pools or grades are different. Evaluate it "
            "again."
        )
    pool = next((pool for pool in judged.pools if pool.query == query), None)
    if pool is None:
        raise SetError(f"{name} has no query {query!r:.80}. Choose another one.")
    return analyse_query(judged, pool, store.ranked_pool_of(evaluation.id, judged, query))


@st.cache_resource(max_entries=_MAX_OPEN_SETS, show_spinner=False)
def _open_set(name: str, facet: str, size: int, fingerprint: str) -> JudgedSet:  # noqa: ARG001  (parts of the key)
    return sets.read_set(name, facet=facet)


def _readings(evaluation: Evaluation, analysis: QueryAnalysis) -> dict[str, TextCoverage] | None:
    """How much of each text the encoder reads; None where it counts words or is not on this machine."""
    system = evaluation.system
    if system.kind != "encoder" or system.source == LEXICAL:
        return None
    try:
        with st.spinner("Loading the encoder…"):
            encoder = resources.encoder(system.fingerprint, system.source)
            papers = [analysis.query, *(candidate.paper for candidate in (*analysis.ahead, *analysis.behind))]
            return {paper.id: encoder.coverage(paper.title, paper.abstract) for paper in papers}
    except CociteAtlasError as error:
        st.caption(f":material/cloud_off: How much of the texts the encoder read is unknown: {escaped(str(error))}")
        return None


# Leaderboard


def leaderboard_tab(view: EvaluationView, evaluations: Sequence[Evaluation]) -> None:
    """Draw all evaluations, and damaged ones."""
    for id in store.damaged():
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(
                f":material/broken_image: The evaluation {escaped(id)} is damaged. Delete it and evaluate again."
            )
            st.button("Delete", key=f"delete-{id}", on_click=_delete, args=(id,))
    if not evaluations:
        st.markdown("There are no evaluations yet. All of them, on any set, are listed here.")
        return
    names = sorted({evaluation.set_name for evaluation in evaluations})
    if len(names) > 1:
        chosen = st.selectbox("Set", ["", *names], format_func=lambda name: name or "all sets", key=_FILTER)
        evaluations = [evaluation for evaluation in evaluations if chosen in ("", evaluation.set_name)]
    leaderboard(
        evaluations,
        on_open=lambda one: session.show_evaluation(
            EvaluationView(atlas=view.atlas, set=one.set_name, facet=one.facet, split=one.split, system=one.id)
        ),
        on_delete=lambda one: _delete(one.id),
    )


def _delete(id: str) -> None:
    jobs.attempt(lambda: store.delete(id))


# Neighbour index


def index_tab(view: EvaluationView) -> None:
    """Draw the benchmark of an atlas's neighbour index, or the button that runs it."""
    names = sorted(paths.atlas_names(), key=lambda name: (name != DEFAULT_ATLAS, name))
    name = view.atlas if view.atlas in names else DEFAULT_ATLAS
    st.markdown(
        "A search does not compare every paper: it walks a graph of near papers (hnswlib) and may miss some of the "
        "nearest. This benchmark measures how many it finds and how fast, for several sizes of graph and corpus."
    )
    st.session_state[_ATLAS] = name
    st.selectbox("Atlas", names, format_func=_atlas_label, key=_ATLAS, on_change=_on_atlas, args=(view,))
    curve = None
    try:
        manifest = read_manifest(name)
        curve = read_curve(name)
    except CurveDamaged as error:
        frame.show_error(error)
    except CociteAtlasError as error:
        frame.show_error(error)
        return
    stale = stale_note(curve, manifest) if curve is not None else ""
    if curve is not None:
        index_curve(curve, stale=stale)
    if curve is None or stale or not curve.complete:
        st.button(
            "Resume measuring" if curve is not None and not stale else "Measure",
            type="primary",
            icon=":material/speed:",
            key="measure-index",
            disabled=jobs.running(),
            on_click=_measure,
            args=(view, name),
        )
        st.caption(
            "Runs in the background: some minutes for 20,000 papers. Times are of this machine, and only right while "
            "nothing else runs on it."
        )


def _atlas_label(name: str) -> str:
    try:
        manifest = read_manifest(name)
    except CociteAtlasError:
        return name
    return f"{manifest.display_title}, {manifest.papers:,} papers, {manifest.encoder.label}"


def _on_atlas(view: EvaluationView) -> None:
    session.show_evaluation(replace(view, atlas=st.session_state[_ATLAS], tab="index"))


def _measure(view: EvaluationView, name: str) -> None:
    if jobs.start(curve_request(name, title=read_manifest(name).display_title)):
        session.show_evaluation(replace(view, atlas=name, tab="index"))
