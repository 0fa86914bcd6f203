"""The neighbour agreement panel: how far two atlases agree overall, and the papers on which they do least and most."""

from collections.abc import Callable, Sequence

import streamlit as st

from components.search.compare import Agreement

_ROWS = 10  # of the table, beside that for none in common


def neighbour_agreement(found: Agreement, *, least: Callable[[], None], most: Callable[[], None]) -> None:
    """Draw the agreement. least, most: draw the papers that agree least and most."""
    _summary(found)
    st.html(_histogram(found))
    first, second = st.columns(2, gap="medium")
    with first:
        st.markdown("**They agree least on these papers**")
        least()
    with second:
        st.markdown("**They agree most on these papers**")
        most()


def _summary(found: Agreement) -> None:
    looked_at = f"all {found.papers:,}" if found.sample == found.papers else f"{found.sample:,}"
    low, high = found.interval
    st.markdown(
        f"Over {looked_at} papers, the {found.k} nearest agree for **{percent(found.mean)}** on average "
        f"(by chance {percent(found.chance)}).",
        help=f"For each paper, its {found.k} nearest papers by the one encoder and by the other, found exactly and "
        "without the paper itself; how many of them are the same. By chance: what two encoders that know nothing of "
        "each other would come to.",
    )
    sure = "" if found.sample == found.papers else f"95 % interval {percent(low)} to {percent(high)}. "
    told = f"{sure}{percent(found.none)} of the papers share no neighbour."
    if left_out := found.only_left + found.only_right:
        told += f" Left out: {left_out:,} papers that are in one of the two atlases alone."
    st.caption(told)


def percent(share: float) -> str:
    """A share in percent, with two digits where it is small.

    >>> percent(0.253), percent(0.0347), percent(0.00055), percent(0.0), percent(1.0), percent(1e-7)
    ('25 %', '3.5 %', '0.055 %', '0 %', '100 %', 'under 0.001 %')
    """
    if 0 < share < 1e-5:
        return "under 0.001 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.2g} %"


def _histogram(found: Agreement) -> str:
    shares = [(name, sum(found.counts[first : last + 1]) / found.sample) for name, first, last in _bins(found.k)]
    longest = max(share for _, share in shares)
    rows = "".join(
        f'<tr><td>{name}</td><td><span class="bar" style="width:{100 * share / longest:.1f}%"></span></td>'
        f"<td>{percent(share)}</td></tr>"
        for name, share in shares
    )
    return (
        f'<table class="mix shares"><caption>How many of a paper\'s {found.k} nearest are the same, and for what share '
        f"of the papers</caption><tbody>{rows}</tbody></table>"
    )


def _bins(k: int) -> Sequence[tuple[str, int, int]]:
    """Numbers of common neighbours, put together so that there are few rows: name, first, last."""
    step = -(-k // _ROWS)
    bins = [("none", 0, 0)]
    for first in range(1, k + 1, step):
        last = min(first + step - 1, k)
        bins.append((f"{first}" if first == last else f"{first}–{last}", first, last))
    return bins
