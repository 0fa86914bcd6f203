"""The result header panel: what was searched from, how many papers came back, and what was left out."""

from collections.abc import Callable, Sequence

import streamlit as st

from components.atlas.store import Atlas
from components.search.cards import has_pair_shares, meaning
from components.search.search import MAP_SHARE, SearchResult

_FEW = 2  # times the hits: a corpus of fewer papers than that has most of them in the list
_NAMED = 3  # seeds, or papers left out, that are named; the others are counted


def result_header(
    atlas: Atlas,
    result: SearchResult,
    *,
    asked_for: int,
    filtered: bool,
    seeds: Sequence[int],
    on_drop_seeds: Callable[[], None],
    exports: Callable[[], None],
) -> None:
    """Draw what must be said about a result before its papers. seeds: rows searched from; exports: draws a menu."""
    if seeds:
        _seeds(atlas, seeds, on_drop_seeds)
    if result.hits:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(
                f"{len(result.hits)} nearest papers" if len(result.hits) > 1 else "The nearest paper", anchor=False
            )
            st.space("stretch")
            exports()
        _what_it_means(atlas, result, asked_for=asked_for, filtered=filtered)
    else:
        words = (
            "No other paper passes these filters. Widen or clear them."
            if filtered
            else "This corpus has no other paper."
        )
        st.info(words, icon=":material/filter_list_off:")
    if own := sorted(set(result.own) - set(seeds)):
        because = "it is the same paper again" if seeds else "it is the text that you pasted"
        st.caption(f":material/content_copy: Left out, because {because}:")
        _named(atlas, own)


def _seeds(atlas: Atlas, seeds: Sequence[int], on_drop_seeds: Callable[[], None]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        many = f"Papers like these {len(seeds):,}, by the mean of their vectors"
        st.caption("Papers like" if len(seeds) == 1 else many)
        st.button("Drop", icon=":material/close:", type="tertiary", on_click=on_drop_seeds, help="Back to the text")
    _named(atlas, seeds)


def _what_it_means(atlas: Atlas, result: SearchResult, *, asked_for: int, filtered: bool) -> None:
    of = f"of {result.candidates:,} that pass the filters" if filtered else f"of {result.candidates:,}"
    if filtered and len(result.hits) < asked_for:
        of += ", all that there are"
    if has_pair_shares(atlas):
        of += f" · the first is {meaning(result.hits[0].share_farther)}"
    # Among few papers all are near on the map, and saying so would praise it for nothing.
    if len(result.hits) * _FEW > len(atlas):
        st.caption(of)
        return
    st.caption(
        f"{of}  \n:material/map: {result.near_on_map} of these {len(result.hits)} are also near on the map",
        help=f"Near on the map: among the {MAP_SHARE:.0%} of all points nearest to the star. The map squeezes "
        f"{atlas.manifest.dimensions} dimensions into two; where this number is low, trust the list and not the map.",
    )


def _named(atlas: Atlas, rows: Sequence[int]) -> None:
    for title in atlas.titles(list(rows[:_NAMED])):
        st.text(title)
    if len(rows) > _NAMED:
        st.text(f"… and {len(rows) - _NAMED:,} more")
