"""The Evaluate page: judged sets, what systems reach on them, single queries, and the neighbour index."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import get_args

import streamlit as st

from components.atlas import encoder_options as choices
from components.atlas import paths
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.encoder.base import Precision
from components.encoder.bi_encoder import has_fast_bfloat16
from components.encoder.catalogue import EMBEDDED
from components.evaluation import sets
from components.evaluation import store as kept
from components.evaluation.encoding import clear_vectors, kept_vectors
from components.evaluation.format import issue_descriptions
from components.evaluation.results import Evaluation
from components.evaluation.sets import SetCard
from components.jobs import runner as background
from components.jobs.model import BASELINES, evaluate_request
from components.pages import frame, jobs, resources, session
from components.pages.evaluated import leaderboard_tab, queries_tab, results_tab
from components.pages.index_tab import index_tab
from components.pages.judged_sets import add_set, delete_dialog, first_step
from components.panels.job_status import duration
from components.panels.preparation import prepare_medline
from components.search.view import EvaluationView, Tab
from corpus.errors import CociteAtlasError
from corpus.io.files import format_bytes
from corpus.judged_sets.released import FACETS_TOGETHER
from corpus.text.markdown import escaped

_SET, _FACET, _SPLIT, _SYSTEM, _ROUNDED, _TABS = (
    "judged-set", "judged-facet", "judged-split", "judged-system", "judged-rounded", "evaluate-tabs",
)  # fmt: skip
TABS: Mapping[Tab, str] = {
    "results": "Results",
    "queries": "By query",
    "all": "Leaderboard",
    "index": "Neighbour index",
}
# A paper of the length that most abstracts have: how long a set takes is told before its texts are read.
_TYPICAL = (("Title of a paper that is neither long nor short", "word of an abstract " * 55),)


def evaluate() -> None:
    """Draw the page."""
    view = session.evaluation_view()
    frame.masthead(atlas=view.atlas or MEDLINE)
    if MEDLINE not in paths.atlas_names() and not prepare_medline(again=False):
        return
    jobs.say_refusal()
    names = sets.set_names()
    found = kept.evaluations()
    view = _there(view, names, found)
    left, right = st.columns([4, 9], gap="large")
    with left:
        jobs.under_way()
        card = _card(view.set) if view.set in names else None
        if card is not None:
            view = _chosen(view, card)
            _choose(view, card, names)
        elif names:
            _choose_another(view, names)
        with st.expander("Add a judged set", icon=":material/library_add:"):
            add_set()
        _kept_vectors()
    with right:
        _tabs(view, card, found)


def _there(view: EvaluationView, names: list[str], found: list[Evaluation]) -> EvaluationView:
    """The view, of a set that is kept, or of which evaluations are; what is not there is said."""
    if view.set in names:
        return view
    its = [one for one in found if one.set_name == view.set]
    if same := [one for one in its if (one.facet, one.split) == (view.facet, view.split)] or its:
        told = f"The judged set {view.set} is not here, only what was evaluated on it. To open its queries, add it."
        st.info(escaped(told), icon=":material/link_off:")
        return replace(view, facet=same[0].facet, split=same[0].split)
    if view.set:
        told = f"There is no judged set {view.set!r:.80} here. Choose another one, or add it."
        st.warning(escaped(told), icon=":material/link_off:")
    return replace(view, set=next(iter(names), ""))


def _card(name: str) -> SetCard | None:
    """What a set is; None where it cannot be read, which is said."""
    try:
        with st.spinner("Looking into the set…"):
            return sets.describe(name)
    except CociteAtlasError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return None


def _chosen(view: EvaluationView, card: SetCard) -> EvaluationView:
    """The view, its facet and split such as the set has."""
    facets = _facets(card)
    facet = view.facet if view.facet in facets else next(iter(facets), "")
    split = view.split if view.split in card.splits else usual_split(card)
    return replace(view, facet=facet, split=split)


def _facets(card: SetCard) -> list[str]:
    """The facets that can be asked for, all together first."""
    return [FACETS_TOGETHER, *(one for one in card.facets if one != FACETS_TOGETHER)] if card.facets else []


def usual_split(card: SetCard) -> str:
    """The split that figures are published for, where there is one; else the only one, or the first."""
    return "test" if "test" in card.splits else next(iter(card.splits), "")


# ---------------------------------------------------------------- the left side: what is evaluated


def _choose_another(view: EvaluationView, names: list[str]) -> None:
    """The choice of a set beside one that cannot be read, or is not there."""
    st.session_state[_SET] = view.set
    options = names if view.set in names else [view.set, *names]
    st.selectbox("Judged set", options, key=_SET, on_change=_on_set, args=(view,))
    if view.set in names:
        _delete_button(view.set)


def _choose(view: EvaluationView, card: SetCard, names: list[str]) -> None:
    st.subheader("Evaluate", anchor=False)
    st.session_state[_SET] = view.set
    st.selectbox("Judged set", names, key=_SET, on_change=_on_set, args=(view,))
    _facts(card, view)
    if facets := _facets(card):
        st.session_state[_FACET] = view.facet
        st.selectbox("Facet", facets, key=_FACET, on_change=_on_change, args=(view, "facet", _FACET))
    if len(card.splits) > 1:
        st.session_state[_SPLIT] = view.split
        st.selectbox(
            "Split",
            list(card.splits),
            key=_SPLIT,
            format_func=lambda split: split if card.facets else f"{split} ({_queries(card.splits[split])})",
            on_change=_on_change,
            args=(view, "split", _SPLIT),
            help="Published figures are on the split test.",
        )
    system = st.selectbox(
        "Encoder, or words alone",
        [*BASELINES, *choices.usable_encoders()],
        format_func=_called,
        key=_SYSTEM,
        help="Encoders that are on this machine. Others are fetched on the Encoders page.",
    )
    precision: Precision = "float32"
    if system not in BASELINES and has_fast_bfloat16():
        rounded = st.toggle(
            "Faster, slightly rounded (bfloat16)",
            key=_ROUNDED,
            help="Published figures are of vectors in float32: rounded ones are not marked as comparable.",
        )
        precision = "bfloat16" if rounded else "float32"
    _estimate(system, card)
    st.button(
        "Run",
        type="primary",
        icon=":material/play_arrow:",
        key="run-evaluation",
        disabled=jobs.runs() or not view.split,
        on_click=_run,
        args=(view, system, precision),
    )
    if jobs.runs():
        st.caption("Something is under way, as this page says above: this can be begun when it is done.")


def _facts(card: SetCard, view: EvaluationView) -> None:
    made = {
        "released": "As its authors released it.",
        "constructed": "Made here, by written rules.",
        "own": "Your own.",
    }.get(card.origin, "")
    counts = f"{_queries(card.pools)}, {card.papers:,} papers, {format_bytes(card.bytes)}"
    st.caption(escaped(f"{counts}. {made}".strip()))
    with st.container(horizontal=True, gap="medium"):
        if card.rules:
            with st.popover("How it was made", type="tertiary"):
                st.markdown(escaped(card.rules))
        if card.handled:
            with st.popover("What was met in it", type="tertiary"):
                st.markdown("\n".join(f"- {escaped(words)}" for words in issue_descriptions(card.handled)))
        _delete_button(view.set)


def _queries(count: int) -> str:
    return f"{count:,} quer{'ies' if count != 1 else 'y'}"


def _called(system: str) -> str:
    named = {
        "tfidf": "TF-IDF (words alone)",
        "bm25": "BM25 (words alone)",
        EMBEDDED: f"{EMBEDDED} (comes with the app)",
    }
    return named.get(system, system)


def _estimate(system: str, card: SetCard) -> None:
    """About how long it takes; nothing is said of what takes seconds."""
    if system in BASELINES:
        st.caption(":material/schedule: Nothing is encoded: seconds, for a set of some thousand papers.")
        return
    try:
        with st.spinner("Measuring how fast this machine is…"):
            seconds = resources.rough_cost(system, _TYPICAL, card.papers)
    except CociteAtlasError as error:
        st.caption(escaped(str(error)))
        return
    st.caption(
        f":material/schedule: Up to {card.papers:,} papers, each encoded once: {duration(seconds)} on this machine, "
        "roughly. What was encoded before is not encoded again."
    )


def _run(view: EvaluationView, system: str, precision: Precision) -> None:
    job = evaluate_request(
        view.set,
        encoder=system,
        facet=view.facet,
        split=view.split,
        precision=precision,
        encoder_title=_called(system).split(" (")[0],
    )
    if jobs.begin(job):
        session.show_evaluation(replace(view, tab="results", system="", beside="", query=""))


def _on_set(view: EvaluationView) -> None:
    session.show_evaluation(EvaluationView(atlas=view.atlas, set=st.session_state[_SET], tab=view.tab))


def _on_change(view: EvaluationView, name: str, key: str) -> None:
    chosen = {name: st.session_state[key]}
    session.show_evaluation(replace(view, system="", beside="", query="", **chosen))


def _delete_button(name: str) -> None:
    if st.button("Delete the set", type="tertiary", icon=":material/delete:", key="delete-set", disabled=jobs.runs()):
        delete_dialog(name)


def _kept_vectors() -> None:
    if not (size := kept_vectors()):
        return
    with st.expander(f"Vectors kept between runs: {format_bytes(size)}", icon=":material/save:"):
        st.markdown("So that another split, or the same papers in another set, need not be encoded again.")
        st.button("Clear them", on_click=_clear_vectors, disabled=jobs.runs(), key="clear-vectors")


def _clear_vectors() -> None:
    jobs.attempt(clear_vectors)


# ---------------------------------------------------------------- the right side


def _tabs(view: EvaluationView, card: SetCard | None, found: list[Evaluation]) -> None:
    st.session_state[_TABS] = TABS[view.tab]
    drawn = st.tabs(list(TABS.values()), key=_TABS, on_change=_on_tab, args=(view,))
    here = [one for one in found if (one.set_name, one.facet, one.split) == (view.set, view.facet, view.split)]
    empty = _nothing_yet(view, card, here)
    work: dict[Tab, Callable[[], None]] = {
        "results": lambda: empty() if empty else results_tab(here),
        "queries": lambda: empty() if empty else queries_tab(view, here),
        "all": lambda: leaderboard_tab(view, found),
        "index": lambda: index_tab(view),
    }
    for tab, place in zip(get_args(Tab), drawn, strict=True):
        if place.open:
            with place:
                work[tab]()


def _on_tab(view: EvaluationView) -> None:
    opened = next(tab for tab, label in TABS.items() if label == st.session_state[_TABS])
    session.show_evaluation(replace(view, tab=opened, query="" if opened != "queries" else view.query))


def _nothing_yet(view: EvaluationView, card: SetCard | None, here: list[Evaluation]) -> Callable[[], None] | None:
    """What stands in the place of results where there are none: what this is for, and the next step."""
    if here:
        return None
    if not view.set:
        return first_step
    if card is None:
        return lambda: None
    return lambda: _first_run(view)


def _first_run(view: EvaluationView) -> None:
    with st.container(key="first-step"):
        st.subheader(f"Nothing was evaluated on {escaped(view.set)} yet", anchor=False)
        st.markdown(
            "Choose an encoder at the left and press Run. To see at once what comes of it, begin with TF-IDF: it ranks "
            "by the words that two papers share, needs no model, and is what every encoder has to beat."
        )
        now = background.latest()
        running = now is not None and not now.over
        st.button(
            "Evaluate TF-IDF",
            type="primary",
            icon=":material/play_arrow:",
            key="first-run",
            disabled=running or not view.split,
            on_click=_run,
            args=(view, "tfidf", "float32"),
        )
        if running:
            st.caption("Something is under way; the result comes here when it is done.")
