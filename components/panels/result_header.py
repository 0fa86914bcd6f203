"""The result header panel: what was searched, how many came back, what was left out, and exports of the list."""

from collections.abc import Callable, Sequence

import streamlit as st

from components.atlas import Atlas
from components.cards import meaning
from components.search import MAP_SHARE, SearchResult
from corpus.export import to_bibtex, to_csv, to_ris
from corpus.paper import Paper


def result_header(
    atlas: Atlas,
    result: SearchResult,
    *,
    asked_for: int,
    filtered: bool,
    seeds: Sequence[Paper],
    on_drop_seeds: Callable[[], None],
) -> None:
    """Draw what must be said about a result before its papers."""
    if seeds:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                "Papers like" if len(seeds) == 1 else f"Papers like these {len(seeds)}, by the mean of their vectors"
            )
            st.button("Drop", icon=":material/close:", type="tertiary", on_click=on_drop_seeds, help="Back to the text")
        for paper in seeds[:3]:
            st.text(paper.title)
        if len(seeds) > 3:
            st.text(f"… and {len(seeds) - 3} more")
    if not result.hits:
        words = "No paper passes these filters. Widen or clear them." if filtered else "This corpus has no other paper."
        st.info(words, icon=":material/filter_list_off:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(
            f"{len(result.hits)} nearest papers" if len(result.hits) > 1 else "The nearest paper", anchor=False
        )
        st.space("stretch")
        _exports(atlas, result)
    of = f"of {result.candidates:,} that pass the filters" if filtered else f"of {result.candidates:,}"
    if filtered and len(result.hits) < asked_for:
        of += ", all that there are"
    st.caption(
        f"{of} · the first is {meaning(result.hits[0].share_farther)}  \n"
        f":material/map: {result.near_on_map} of these {len(result.hits)} are also near on the map",
        help=f"Near on the map: among the {MAP_SHARE:.0%} of all points nearest to the star. The map squeezes "
        f"{atlas.manifest.dimensions} dimensions into two; where this number is low, trust the list and not the map.",
    )
    if own := [row for row in result.own if atlas.paper(row).id not in {paper.id for paper in seeds}]:
        st.caption(":material/content_copy: Left out, because it is the text that you pasted:")
        for row in own[:3]:
            st.text(atlas.paper(row).title)


def _exports(atlas: Atlas, result: SearchResult) -> None:
    papers = [atlas.paper(hit.row) for hit in result.hits]
    with st.popover("Export", icon=":material/download:"):
        distances = [hit.l2_distance for hit in result.hits]
        st.download_button(
            "CSV, for a spreadsheet",
            lambda: to_csv(papers, distances=distances),
            "nearest.csv",
            "text/csv",
            on_click="ignore",
        )
        st.download_button(
            "RIS, for Zotero or EndNote",
            lambda: to_ris(papers),
            "nearest.ris",
            "application/x-research-info-systems",
            on_click="ignore",
        )
        st.download_button(
            "BibTeX", lambda: to_bibtex(papers), "nearest.bib", "application/x-bibtex", on_click="ignore"
        )
