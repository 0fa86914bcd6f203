"""The Evaluate page: judged sets, the scores of systems on them, single queries, and the neighbour index."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import get_args

import streamlit as st

from components.atlas.encoder_options import usable_encoders
from components.atlas.paths import DEFAULT_ATLAS
from components.encoder.base import Precision
from components.encoder.bi_encoder import has_fast_bfloat16
from components.encoder.catalogue import EMBEDDED
from components.evaluation import sets, store
from components.evaluation.encoding import clear_vectors, kept_vectors
from components.evaluation.format import issue_descriptions
from components.evaluation.results import Evaluation
from components.evaluation.sets import SetCard
from components.jobs.model import BASELINES, evaluate_request
from components.pages import frame, jobs, resources, session
from components.pages.evaluation_tabs import index_tab, leaderboard_tab, queries_tab, results_tab
from components.pages.judged_sets import add_set, delete_dialog, first_step
from components.panels.jobs import duration
from components.search.markup import plural
from components.search.view import EvaluationView, Tab
from corpus.errors import CociteAtlasError
from corpus.io.files import format_bytes
from corpus.judged_sets.released import FACETS_TOGETHER
from corpus.text.markdown import escaped

# Keys of widgets in st.session_state.
_SET, _FACET, _SPLIT, _SYSTEM, _ROUNDED, _TABS = (
    "judged-set", "judged-facet", "judged-split", "judged-system", "judged-rounded", "evaluate-tabs",
)  # fmt: skip
TABS: Mapping[Tab, str] = {
    "results": "Results",
    "queries": "By query",
    "all": "Leaderboard",
    "index": "Neighbour index",
}
_ORIGINS = {"released": "As its authors released it.", "constructed": "Made here, by fixed rules.", "own": "Your own."}
_SYSTEMS = {
    "tfidf": "TF-IDF (keywords only)",
    "bm25": "BM25 (keywords only)",
    EMBEDDED: f"{EMBEDDED} (comes with the app)",
}
# A paper of typical length, to estimate the time of a set before its texts are read.
_TYPICAL_TEXTS = (("Title of a paper that is neither long nor short", "word of an abstract " * 55),)


def evaluate() -> None:
    """Draw the page."""
    view = session.evaluation_view()
    frame.masthead(atlas=view.atlas or DEFAULT_ATLAS)
    if not frame.default_atlas_ready():
        return
    jobs.show_last_error()
    names, evaluations = sets.set_names(), store.evaluations()
    view = _known_view(view, names, evaluations)
    left, right = st.columns([4, 9], gap="large")
    with left:
        jobs.draw_status()
        card = _card(view.set) if view.set in names else None
        if card is not None:
            view = _with_facet_and_split(view, card)
        if names:
            _left_side(view, card, names)
        with st.expander("Add a judged set", icon=":material/library_add:"):
            add_set()
        _cached_vectors()
    with right:
        _tabs(view, card, evaluations)


def _known_view(view: EvaluationView, names: list[str], evaluations: list[Evaluation]) -> EvaluationView:
    """The view with a set that is stored, or that has evaluations; the page says where the asked set is missing."""
    if view.set in names:
        return view
    of_set = [evaluation for evaluation in evaluations if evaluation.set_name == view.set]
    same = [found for found in of_set if (found.facet, found.split) == (view.facet, view.split)] or of_set
    if same:
        message = f"The judged set {view.set} is not stored here, only evaluations on it. Add it to open its queries."
        st.info(escaped(message), icon=":material/link_off:")
        return replace(view, facet=same[0].facet, split=same[0].split)
    if view.set:
        message = f"There is no judged set {view.set!r:.80} here. Choose another one, or add it."
        st.warning(escaped(message), icon=":material/link_off:")
    return replace(view, set=next(iter(names), ""))


def _card(name: str) -> SetCard | None:
    """The description of a set; None where it cannot be read, which the page says."""
    try:
        with st.spinner("Reading the set…"):
            return sets.describe(name)
    except CociteAtlasError as error:
        frame.show_error(error)
        return None


def _facets(card: SetCard) -> list[str]:
    """The facets of a set, all together first."""
    return list(dict.fromkeys([FACETS_TOGETHER, *card.facets])) if card.facets else []


def _with_facet_and_split(view: EvaluationView, card: SetCard) -> EvaluationView:
    """The view with a facet and split of the set; by default the test split, for which scores are published."""
    facets, splits = _facets(card), card.splits
    default = "test" if "test" in splits else next(iter(splits), "")
    return replace(
        view,
        facet=view.facet if view.facet in facets else next(iter(facets), ""),
        split=view.split if view.split in splits else default,
    )


# The left side: what to evaluate


def _left_side(view: EvaluationView, card: SetCard | None, names: list[str]) -> None:
    """Draw the choice of a set and of a system. card: None where the set cannot be read or is missing."""
    if card is not None:
        st.subheader("Evaluate", anchor=False)
    st.session_state[_SET] = view.set
    options = names if view.set in names else [view.set, *names]
    st.selectbox("Judged set", options, key=_SET, on_change=_on_set, args=(view,))
    if card is None:
        if view.set in names:
            _delete_button(view.set)
        return
    _set_facts(card, view)
    if facets := _facets(card):
        st.session_state[_FACET] = view.facet
        st.selectbox("Facet", facets, key=_FACET, on_change=_on_facet, args=(view,))
    if len(card.splits) > 1:
        st.session_state[_SPLIT] = view.split
        st.selectbox(
            "Split",
            list(card.splits),
            key=_SPLIT,
            format_func=lambda split: split if card.facets else f"{split} ({_queries(card.splits[split])})",
            on_change=_on_split,
            args=(view,),
            help="Published scores are on the test split.",
        )
    system = st.selectbox(
        "Encoder or keyword baseline",
        [*BASELINES, *usable_encoders()],
        format_func=lambda name: _SYSTEMS.get(name, name),
        key=_SYSTEM,
        help="Encoders on this machine. You can download others on the Encoders page.",
    )
    precision: Precision = "float32"
    if system not in BASELINES and has_fast_bfloat16():
        rounded = st.toggle(
            "Faster, slightly rounded (bfloat16)",
            key=_ROUNDED,
            help="Published scores use float32: scores from rounded vectors are not marked as comparable.",
        )
        precision = "bfloat16" if rounded else "float32"
    _estimate(system, card)
    st.button(
        "Evaluate",
        type="primary",
        icon=":material/play_arrow:",
        key="run-evaluation",
        disabled=jobs.running() or not view.split,
        on_click=_run,
        args=(view, system, precision),
    )
    if jobs.running():
        st.caption(jobs.RUNNING_NOTE)


def _set_facts(card: SetCard, view: EvaluationView) -> None:
    size = format_bytes(card.bytes)
    st.caption(
        escaped(f"{_queries(card.pools)}, {card.papers:,} papers, {size}. {_ORIGINS.get(card.origin, '')}".strip())
    )
    with st.container(horizontal=True, gap="medium"):
        if card.rules:
            with st.popover("How it was made", type="tertiary"):
                st.markdown(escaped(card.rules))
        if card.handled:
            with st.popover("Issues in the data", type="tertiary"):
                st.markdown("\n".join(f"- {escaped(issue)}" for issue in issue_descriptions(card.handled)))
        _delete_button(view.set)


def _queries(count: int) -> str:
    return plural(count, "query", "queries")


def _estimate(system: str, card: SetCard) -> None:
    """Say roughly how long it takes."""
    if system in BASELINES:
        st.caption(":material/schedule: Nothing is encoded: a few seconds for some thousand papers.")
        return
    try:
        with st.spinner("Measuring the speed of this machine…"):
            seconds = resources.rough_cost(system, _TYPICAL_TEXTS, card.papers)
    except CociteAtlasError as error:
        st.caption(escaped(str(error)))
        return
    st.caption(
        f":material/schedule: Up to {plural(card.papers, 'paper')} to encode: {duration(seconds)} on this machine. "
        "Papers that were encoded before are not encoded again."
    )


def _run(view: EvaluationView, system: str, precision: Precision) -> None:
    request = evaluate_request(
        view.set,
        encoder=system,
        facet=view.facet,
        split=view.split,
        precision=precision,
        encoder_title=_SYSTEMS.get(system, system).split(" (")[0],
    )
    if jobs.start(request):
        session.show_evaluation(replace(view, tab="results", system="", beside="", query=""))


def _on_set(view: EvaluationView) -> None:
    session.show_evaluation(EvaluationView(atlas=view.atlas, set=st.session_state[_SET], tab=view.tab))


def _on_facet(view: EvaluationView) -> None:
    session.show_evaluation(replace(view, facet=st.session_state[_FACET], system="", beside="", query=""))


def _on_split(view: EvaluationView) -> None:
    session.show_evaluation(replace(view, split=st.session_state[_SPLIT], system="", beside="", query=""))


def _delete_button(name: str) -> None:
    if st.button("Delete set", type="tertiary", icon=":material/delete:", key="delete-set", disabled=jobs.running()):
        delete_dialog(name)


def _cached_vectors() -> None:
    if not (size := kept_vectors()):
        return
    with st.expander(f"Cached vectors: {format_bytes(size)}", icon=":material/save:"):
        st.markdown("With these, another split or set with the same papers need not be encoded again.")
        st.button("Clear cache", on_click=_clear_vectors, disabled=jobs.running(), key="clear-vectors")


def _clear_vectors() -> None:
    jobs.attempt(clear_vectors)


# The right side: tabs


def _tabs(view: EvaluationView, card: SetCard | None, evaluations: list[Evaluation]) -> None:
    st.session_state[_TABS] = TABS[view.tab]
    tabs = st.tabs(list(TABS.values()), key=_TABS, on_change=_on_tab, args=(view,))
    of_split = [
        evaluation
        for evaluation in evaluations
        if (evaluation.set_name, evaluation.facet, evaluation.split) == (view.set, view.facet, view.split)
    ]

    def no_results() -> None:
        if not view.set:
            first_step()
        elif card is not None:
            _first_run(view)

    draw: dict[Tab, Callable[[], None]] = {
        "results": lambda: results_tab(of_split) if of_split else no_results(),
        "queries": lambda: queries_tab(view, of_split) if of_split else no_results(),
        "all": lambda: leaderboard_tab(view, evaluations),
        "index": lambda: index_tab(view),
    }
    for name, tab in zip(get_args(Tab), tabs, strict=True):
        if tab.open:
            with tab:
                draw[name]()


def _on_tab(view: EvaluationView) -> None:
    opened = next(tab for tab, label in TABS.items() if label == st.session_state[_TABS])
    session.show_evaluation(replace(view, tab=opened, query=view.query if opened == "queries" else ""))


def _first_run(view: EvaluationView) -> None:
    with st.container(key="first-step"):
        st.subheader(f"No results on {escaped(view.set)} yet", anchor=False)
        st.markdown(
            "Choose an encoder and press Evaluate. For a quick first result, start with TF-IDF: it ranks papers by the "
            "words they share, needs no model, and is the baseline that every encoder should beat."
        )
        st.button(
            "Evaluate TF-IDF",
            type="primary",
            icon=":material/play_arrow:",
            key="first-run",
            disabled=jobs.running() or not view.split,
            on_click=_run,
            args=(view, "tfidf", "float32"),
        )
        if jobs.running():
            st.caption(jobs.RUNNING_NOTE)
