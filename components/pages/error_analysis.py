"""One query on the Evaluate page: its ranking looked at, and the way to the next."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from components.encoder.base import TextCoverage
from components.encoder.catalogue import LEXICAL
from components.evaluation import sets
from components.evaluation import store as kept
from components.evaluation.error_analysis import QueryAnalysis, QueryComparison, analyse_query
from components.evaluation.results import Evaluation
from components.pages import resources, session
from components.panels.error_analysis import query_look
from components.search.view import EvaluationView
from corpus.errors import CociteAtlasError
from corpus.judged_sets.model import JudgedSet, SetError
from corpus.text.markdown import escaped

_OPEN_SETS = 2  # some 100 MB each at RELISH's size


def look_at(view: EvaluationView, one: Evaluation, placed: Sequence[QueryComparison]) -> None:
    """Draw one query of an evaluation. placed: its queries in the order in which they are gone through."""
    place = next((place for place, other in enumerate(placed) if other.scores.query == view.query), None)
    _ways(view, place, placed)
    if place is None:
        st.warning(escaped(f"This evaluation has no query {view.query!r:.80}."), icon=":material/link_off:")
        return
    try:
        with st.spinner("Opening the set…"):
            judged: JudgedSet = _open(one.set_name, one.facet, sets.describe(one.set_name).bytes, one.set_fingerprint)
        if judged.fingerprint != one.set_fingerprint:
            raise SetError(
                f"The set {judged.name} is not the one that was evaluated: its texts, pools or grades have changed. "
                "Evaluate it again."
            )
        looked = _looked(judged, one, view.query)
    except CociteAtlasError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    query_look(
        looked,
        placed[place].scores,
        system=one.system.name,
        ascending=one.system.kind == "encoder",
        readings=_readings(one, looked),
    )


def _ways(view: EvaluationView, place: int | None, placed: Sequence[QueryComparison]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        _way("All queries", replace(view, query=""), key="all-queries", icon=":material/arrow_back:")
        if place is None:
            return
        before = placed[place - 1].scores.query if place else ""
        after = placed[place + 1].scores.query if place + 1 < len(placed) else ""
        _way("Previous", replace(view, query=before), key="query-before", disabled=not before)
        _way("Next", replace(view, query=after), key="query-after", disabled=not after)
        st.caption(f"{place + 1:,} of {len(placed):,} in this order")


def _way(label: str, view: EvaluationView, *, key: str, icon: str | None = None, disabled: bool = False) -> None:
    st.button(label, key=key, icon=icon, disabled=disabled, on_click=session.show_evaluation, args=(view,))


@st.cache_resource(max_entries=_OPEN_SETS, show_spinner=False)
def _open(name: str, facet: str, size: int, fingerprint: str) -> JudgedSet:  # noqa: ARG001  (what else tells it apart)
    return sets.read_set(name, facet=facet)


def _looked(judged: JudgedSet, one: Evaluation, query: str) -> QueryAnalysis:
    pool = next((pool for pool in judged.pools if pool.query == query), None)
    if pool is None:
        raise SetError(f"{judged.name} has no query {query!r:.80}. Choose another one.")
    return analyse_query(judged, pool, kept.ranked_pool_of(one.id, judged, query))


def _readings(one: Evaluation, looked: QueryAnalysis) -> dict[str, TextCoverage] | None:
    """How much of each text the encoder reads; None where it counts words, or is not on this machine."""
    if one.system.kind != "encoder" or one.system.source == LEXICAL:
        return None
    try:
        with st.spinner("Asking the encoder how much it reads…"):
            encoder = resources.encoder(one.system.fingerprint, one.system.source)
            papers = [looked.query, *(found.paper for found in (*looked.ahead, *looked.behind))]
            return {paper.id: encoder.reading(paper.title, paper.abstract) for paper in papers}
    except CociteAtlasError as error:
        st.caption(f":material/cloud_off: How much of the texts it read cannot be told: {escaped(str(error))}")
        return None
