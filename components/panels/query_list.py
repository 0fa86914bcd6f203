"""The query list panel: queries in an order, each with its figure and a way to look at it; and a test in words."""

import html
from collections.abc import Callable, Sequence

import streamlit as st

from components.evaluation.error_analysis import QueryComparison
from components.evaluation.statistics import PairedTest
from components.mapping.palette import css_colours
from corpus.text.markdown import escaped

_LONGEST = 160  # characters of a title
_SURE = 0.05


def query_list(placed: Sequence[QueryComparison], *, on_open: Callable[[str], None]) -> None:
    """Draw some queries. on_open: called with the name of the one to look at."""
    colours = css_colours(dark=st.context.theme.type == "dark")
    for number, one in enumerate(placed):
        scores = one.scores
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"query-row-{number}"):
            st.html(_figure(one, colours), width=128)
            with st.container(gap=None):
                title = scores.title or scores.query
                st.button(
                    escaped(title[:_LONGEST] + ("…" if len(title) > _LONGEST else "")),
                    key=f"look-{scores.fold}-{scores.query}",
                    type="tertiary",
                    on_click=on_open,
                    args=(scores.query,),
                )
                group = f" · {scores.group}" if scores.group else ""
                st.caption(escaped(f"{scores.relevant:,} of {scores.candidates:,} relevant · {scores.query}{group}"))


def _figure(one: QueryComparison, colours: str) -> str:
    """The query's figure, a bar of it, and beside it the other's."""
    value = 100 * one.value
    other, mark = "", ""
    if one.other is not None:
        other = f"<small>{100 * one.other:.1f} beside</small>"
        mark = f'<i class="mark" style="left:{100 * one.other:.2f}%"></i>'
    told = html.escape(f"{value:.1f} percent" + (f", beside {100 * one.other:.1f}" if one.other is not None else ""))
    return (
        f'<div class="query-figure" style="{colours}"><b>{value:.1f}</b>{other}'
        f'<span class="scale" role="img" aria-label="{told}">'
        f'<i class="line" style="left:0;width:{value:.2f}%"></i>{mark}</span></div>'
    )


def paired_words(test: PairedTest, *, first: str, second: str) -> str:
    """A paired test in a sentence or two, as Markdown. first, second: the systems, of unknown origin.

    >>> test = PairedTest(difference=0.0, p_value=1.0, wins=0, losses=0, ties=3, samples=100_000)
    >>> paired_words(test, first="a", second="b")
    '**No difference**: a and b reach the same at each of the 3 queries.'
    """
    if not test.wins and not test.losses:
        same = f"{escaped(first)} and {escaped(second)} reach the same at each of the {test.ties:,} queries"
        return f"**No difference**: {same}."
    better, worse = (first, second) if test.difference >= 0 else (second, first)
    p = f"p = {test.p_value:.4f}" if test.p_value >= 0.0001 else "p < 0.0001"
    head = (
        f"**{escaped(better)} is better** than {escaped(worse)} by {100 * abs(test.difference):.2f} percent points"
        if test.p_value < _SURE
        else f"**No certain difference**: {escaped(better)} is {100 * abs(test.difference):.2f} percent points above "
        f"{escaped(worse)}, and chance alone gives as much that often"
    )
    return (
        f"{head} ({p}). {escaped(first)} is better at {test.wins:,} queries, worse at {test.losses:,}, and the same at "
        f"{test.ties:,}."
    )
