"""The leaderboard panel: every evaluation that is kept, by set and split, the best first."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby

import streamlit as st

from components.evaluation.format import percent, system_label
from components.evaluation.metrics import MAP, NDCG_20_PERCENT
from components.evaluation.results import Evaluation
from corpus.text.markdown import escaped


def leaderboard(
    evaluations: Sequence[Evaluation], *, on_open: Callable[[Evaluation], None], on_delete: Callable[[Evaluation], None]
) -> None:
    """Draw evaluations. on_open, on_delete: called with the one that is to be shown, or to be deleted."""
    by_place = sorted(evaluations, key=lambda one: (*_place(one), -one.means[MAP], one.system.name, one.id))
    groups = [(place, list(group)) for place, group in groupby(by_place, key=_place)]
    shared = Counter(place[:3] for place, _ in groups)
    for place, found in groups:
        name, facet, split, fingerprint = place
        # Sets of one name may be others, as those are that training holds out; their figures do not compare.
        which = f", set {fingerprint[:8]}" if shared[place[:3]] > 1 else ""
        with st.container(border=True, key=f"board-{found[0].id}"):
            st.markdown(f"**{escaped(f'{name} ({facet})' if facet else name)}**, split {escaped(split + which)}")
            for rank, one in enumerate(found, start=1):
                _row(one, rank=rank, on_open=on_open, on_delete=on_delete)


def _place(one: Evaluation) -> tuple[str, str, str, str]:
    return one.set_name, one.facet, one.split, one.set_fingerprint


def _row(
    one: Evaluation,
    *,
    rank: int,
    on_open: Callable[[Evaluation], None],
    on_delete: Callable[[Evaluation], None],
) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"board-row-{one.id}"):
        with st.container(gap=None):
            figures = " · ".join(f"{metric} **{percent(one.means[metric])}**" for metric in (MAP, NDCG_20_PERCENT))
            st.markdown(f"{rank}\\. **{escaped(system_label(one))}** · {figures}")
            comparable = "comparable" if one.comparable else "not comparable"
            st.caption(escaped(f"{one.queries:,} queries · {one.made[:10]} · {comparable} with published figures"))
        st.button("Open", key=f"open-{one.id}", type="tertiary", on_click=on_open, args=(one,), width="content")
        with st.popover(
            "", icon=":material/delete:", type="tertiary", help="Delete this evaluation", key=f"delete-menu-{one.id}"
        ):
            st.markdown("Delete this evaluation, with its run file? Evaluating again brings it back.")
            st.button("Delete it", type="primary", key=f"delete-{one.id}", on_click=on_delete, args=(one,))
