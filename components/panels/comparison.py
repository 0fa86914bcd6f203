"""Panels of the Compare page: the choice of two atlases, two lists of hits side by side, and agreement overall."""

import html
import math
from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from components.encoder.base import TextCoverage
from components.search.compare import Agreement, Comparison
from components.search.markup import bars_html
from components.search.query_text import coverage_words
from components.search.view import PAIR_K_CHOICES
from corpus.text.markdown import escaped

LEFT, RIGHT, PAIR_K = "pair-left", "pair-right", "pair-k"  # keys of widgets in st.session_state
_WIDTH, _HEIGHT = 150, 168  # px, of the drawing of two lists
_MAX_NAMED = 3  # papers that are named; further ones are counted
_MAX_BARS = 10  # of the histogram, beside that for none in common


def pair_bar(
    encoders: Mapping[str, str],
    *,
    on_left: Callable[[], None],
    on_right: Callable[[], None],
    on_swap: Callable[[], None],
    on_k: Callable[[], None],
) -> None:
    """Draw the choice of two atlases and of k. encoders: name of an atlas of the corpus → label."""
    names = list(encoders)
    with st.container(horizontal=True, vertical_alignment="bottom", key="pair-bar"):
        st.selectbox("Left encoder", names, format_func=encoders.__getitem__, key=LEFT, on_change=on_left, width=300)
        st.button("Swap", icon=":material/swap_horiz:", on_click=on_swap, key="pair-swap")
        st.selectbox("Right encoder", names, format_func=encoders.__getitem__, key=RIGHT, on_change=on_right, width=300)
        st.selectbox(
            "Papers in each list",
            PAIR_K_CHOICES,
            key=PAIR_K,
            on_change=on_k,
            format_func=lambda k: f"{k} papers",
            width=150,
        )


def comparison_panel(comparison: Comparison, *, left: str, right: str) -> None:
    """Draw what two lists have in common. left, right: their headings."""
    overlap, tau = comparison.rank_overlap, comparison.rank_correlation
    pairs = comparison.common * (comparison.common - 1) // 2
    with st.container(key="comparison"):
        st.subheader(f"{comparison.common} of {comparison.k} in both lists", anchor=False)
        with st.container(horizontal=True, gap="medium"):
            st.html(_slopes(comparison, left=left, right=right), width="content")
            with st.container(width=190, gap="small"):
                st.metric(
                    "Similarity, top ranks first",
                    "–" if overlap is None else f"{100 * overlap:.0f} %",
                    help="Rank-biased overlap (RBO, persistence 0.9"
                    + ("" if overlap is None else f": {overlap:.2f}")
                    + "): the share of papers in both lists, averaged over all depths; the first ranks count most. "
                    "100 %: the same papers in the same order. 0 %: no paper in common.",
                )
                st.metric(
                    "Pairs in the same order",
                    "–" if tau is None else f"{round(pairs * (1 + tau) / 2):,} of {pairs:,}",
                    help="Fewer than two papers are in both lists, so there is no order to compare."
                    if tau is None
                    else "Pairs of papers, both in both lists, that the lists put in the same order; chance gives half "
                    f"of them. As Kendall's tau, from −1 to +1: {f'{tau:+.2f}'.replace('-', '−')}.",
                )
    st.caption(
        "Compare the ranks, not the distances: each encoder has its own scale.  \n"
        "**▲** higher in the other list, **▼** lower, **=** the same rank, **○** not in it."
    )


def _slopes(comparison: Comparison, *, left: str, right: str) -> str:
    """Two columns of dots, one per rank, and lines between the two ranks of a paper; as HTML, which st.html keeps."""
    step = _HEIGHT / max(comparison.k, 1)
    size = max(3.0, min(9.0, 0.62 * step))
    shapes = []
    for paper in comparison.papers:
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
    description = html.escape(
        f"Ranks by {left} on the left and by {right} on the right, nearest at the top. A line joins the two ranks of "
        f"each of the {comparison.common} papers in both lists."
    )
    return (
        f'<div class="slopes" role="img" aria-label="{description}" title="{description}" '
        f'style="width:{_WIDTH}px;height:{_HEIGHT}px">{"".join(shapes)}</div>'
        f'<div class="slopes-ends" aria-hidden="true" style="width:{_WIDTH}px">'
        "<span>left</span><span>right</span></div>"
    )


def list_head(name: str, *, reading: TextCoverage | None, blocked: str, left_out: Sequence[str]) -> None:
    """Draw the head of one of two lists. name: of its encoder. blocked: why there is no list; else empty.

    left_out: titles of papers that are the query itself.
    """
    st.subheader(escaped(name), anchor=False)
    if blocked:
        st.warning(escaped(blocked), icon=":material/info:")
    elif reading and not reading.complete:
        icon = "spellcheck" if reading.skips else "content_cut"
        st.caption(f":material/{icon}: It {coverage_words(reading)}.")
    for title in left_out[:_MAX_NAMED]:
        st.caption(f":material/content_copy: Left out, because it is the query itself: {escaped(title)}")


def neighbour_agreement(agreement: Agreement, *, least: Callable[[], None], most: Callable[[], None]) -> None:
    """Draw how far two atlases agree. least, most: draw the papers that agree least and most."""
    complete = agreement.sample == agreement.papers
    low, high = agreement.interval
    st.markdown(
        f"Over {'all ' if complete else ''}{agreement.sample:,} papers, the {agreement.k} nearest agree for "
        f"**{percent(agreement.mean)}** on average (by chance {percent(agreement.chance)}).",
        help=f"Each paper's {agreement.k} nearest papers with either encoder, by exact search and without the paper "
        "itself; the share that is the same. By chance: the share of two unrelated encoders.",
    )
    text = "" if complete else f"95 % interval {percent(low)} to {percent(high)}. "
    text += f"{percent(agreement.none)} of the papers share no neighbour."
    if left_out := agreement.only_left + agreement.only_right:
        text += f" Left out: {left_out:,} papers that only one of the two atlases has."
    st.caption(text)
    st.html(
        bars_html(
            f"Neighbours in common, of {agreement.k}, and share of the papers",
            [
                (name, share, percent(share))
                for name, first, last in _bins(agreement.k)
                for share in [sum(agreement.counts[first : last + 1]) / agreement.sample]
            ],
            css_class="mix shares",
        )
    )
    for column, heading, draw in zip(
        st.columns(2, gap="medium"),
        ("**Papers with the least agreement**", "**Papers with the most agreement**"),
        (least, most),
        strict=True,
    ):
        with column:
            st.markdown(heading)
            draw()


def percent(share: float) -> str:
    """A share in percent, with two digits where it is small.

    >>> percent(0.253), percent(0.0347), percent(0.00055), percent(0.0), percent(1.0), percent(1e-7)
    ('25 %', '3.5 %', '0.055 %', '0 %', '100 %', 'under 0.001 %')
    """
    if 0 < share < 1e-5:
        return "under 0.001 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.2g} %"


def _bins(k: int) -> Sequence[tuple[str, int, int]]:
    """Numbers of common neighbours in at most _MAX_BARS + 1 groups: name, first, last."""
    step = -(-k // _MAX_BARS)
    bins = [("none", 0, 0)]
    for first in range(1, k + 1, step):
        last = min(first + step - 1, k)
        bins.append((f"{first}" if first == last else f"{first}–{last}", first, last))
    return bins
