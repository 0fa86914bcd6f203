"""The comparison panel: what two lists of hits have in common, in words and as lines from one to the other."""

import html
import math
from collections.abc import Callable, Sequence

import streamlit as st

from components.encoder.base import TextCoverage
from components.search.compare import Comparison
from corpus.text.markdown import escaped

_WIDTH, _HEIGHT = 150, 168  # px, of the drawing
_NAMED = 3  # papers searched from that are named; the others are counted


def comparison_panel(found: Comparison, *, left: str, right: str) -> None:
    """Draw what two lists have in common. left, right: what they are headed by."""
    with st.container(key="comparison"):
        st.subheader(f"{found.common} of {found.k} in both lists", anchor=False)
        with st.container(horizontal=True, gap="medium"):
            st.html(_slopes(found, left=left, right=right), width="content")
            with st.container(width=190, gap="small"):
                _measures(found)
    st.caption(
        "Read the ranks beside each other, not the distances: each encoder measures on a scale of its own.  \n"
        "**▲** higher in the other list, **▼** lower, **=** the same rank, **○** not in it."
    )


def _measures(found: Comparison) -> None:
    overlap, tau = found.rank_overlap, found.rank_correlation
    st.metric(
        "Alike, top ranks first",
        "–" if overlap is None else f"{overlap:.0%}".replace("%", " %"),
        help="Rank-biased overlap (RBO, persistence 0.9"
        + ("" if overlap is None else f": {overlap:.2f}")
        + "). At every depth, the share of papers that both lists hold so far; the mean of these shares, the first "
        "ranks weighing most. 100 %: the same papers in the same order. 0 %: no paper in common.",
    )
    pairs = found.common * (found.common - 1) // 2
    st.metric(
        "Pairs in the same order",
        "–" if tau is None else f"{round(pairs * (1 + tau) / 2):,} of {pairs:,}",
        help="There are fewer than two papers in both lists, so there is no order to compare."
        if tau is None
        else "Of all pairs of papers that are in both lists, those that both put in the same order; half of them is "
        f"what chance gives. As Kendall's rank correlation (tau), from −1 to +1: {f'{tau:+.2f}'.replace('-', '−')}.",
    )


def _slopes(found: Comparison, *, left: str, right: str) -> str:
    """Two columns of dots, a rank each, and a line between the two places of a paper. In HTML, which st.html keeps."""
    step = _HEIGHT / max(found.k, 1)
    size = max(3.0, min(9.0, 0.62 * step))
    shapes = []
    for paper in found.papers:
        ends = [
            (x, (rank - 0.5) * step)
            for x, rank in ((size, paper.left_rank), (_WIDTH - size, paper.right_rank))
            if rank is not None
        ]
        if len(ends) == 2:
            (x0, y0), (x1, y1) = ends
            length, angle = math.hypot(x1 - x0, y1 - y0), math.atan2(y1 - y0, x1 - x0)
            shapes.append(
                f'<i class="line" style="left:{x0:.1f}px;top:{y0:.1f}px;width:{length:.1f}px;'
                f'transform:rotate({angle:.4f}rad)"></i>'
            )
        kind = "both" if len(ends) == 2 else "alone"
        shapes += [
            f'<i class="{kind}" style="left:{x:.1f}px;top:{y:.1f}px;width:{size:.1f}px;height:{size:.1f}px"></i>'
            for x, y in ends
        ]
    told = html.escape(
        f"Ranks by {left} at the left and by {right} at the right, the nearest at the top; a line joins the places of "
        f"each of the {found.common} papers that are in both lists."
    )
    return (
        f'<div class="slopes" role="img" aria-label="{told}" title="{told}" '
        f'style="width:{_WIDTH}px;height:{_HEIGHT}px">{"".join(shapes)}</div>'
        f'<div class="slopes-ends" aria-hidden="true" style="width:{_WIDTH}px">'
        "<span>left</span><span>right</span></div>"
    )


def searched_from(titles: Sequence[str], *, on_drop: Callable[[], None]) -> None:
    """Draw which papers are the query, and a way back to the text."""
    with st.container(horizontal=True, vertical_alignment="center"):
        many = f"Compared from these {len(titles):,} papers, by the mean of their vectors"
        st.caption("Compared from this paper" if len(titles) == 1 else many)
        st.button("Drop", icon=":material/close:", type="tertiary", on_click=on_drop, help="Back to the text")
    for title in titles[:_NAMED]:
        st.text(title)
    if len(titles) > _NAMED:
        st.text(f"… and {len(titles) - _NAMED:,} more")


def list_head(name: str, *, reading: TextCoverage | None, blocked: str, left_out: Sequence[str]) -> None:
    """Draw what stands above one of two lists. name: of its encoder. blocked: why there is no list; else empty.

    left_out: titles of papers that are the query itself.
    """
    st.subheader(escaped(name), anchor=False)
    if blocked:
        st.warning(escaped(blocked), icon=":material/info:")
    elif reading and not reading.complete:
        st.caption(
            f":material/spellcheck: It knows {reading.words_read:,} of {reading.words:,} words: the others occur in "
            "hardly any paper of this corpus."
            if reading.skips
            else f":material/content_cut: It read the first {reading.words_read:,} of {reading.words:,} words: "
            f"it takes {reading.max_tokens} word pieces."
        )
    for title in left_out[:_NAMED]:
        st.caption(f":material/content_copy: Left out, because it is the query itself: {escaped(title)}")
