"""Panels of papers: a list of cards (drawn by assets/papers.js), the papers selected on the map, and exports."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from components.atlas.store import Atlas
from components.search.markup import plural
from corpus.export import to_bibtex, to_csv, to_jsonl, to_ris
from corpus.paper import Paper

_MAX_TABLE_ROWS = 1000  # the exports hold all
_ASSETS = Path(__file__).parent / "assets"
_LIST = st.components.v2.component(
    "cocite_paper_list",
    html="<ol></ol>\n",
    css=(_ASSETS / "papers.css").read_text(encoding="utf-8"),
    js=(_ASSETS / "papers.js").read_text(encoding="utf-8"),
)


def paper_list(
    cards: Sequence[dict[str, Any]],
    *,
    label: str,
    key: str,
    on_like: Callable[[], None],
    on_close: Callable[[], None] | None = None,
    like: str = "Use as query",
    build: str = "",
    to_top: bool = False,
) -> None:
    """Draw papers as `paper_card` or `compared_card` (components.search.cards) describes them.

    The button `like` is reported as the trigger `like` {row} of `st.session_state[key]`; with `on_close`, a button to
    close the list as the trigger `close`. label: for screen readers. build: the build of the rows' atlas; then papers
    that are pointed at elsewhere on the page are highlighted here. to_top: scroll the page to its top after `like`.
    """
    _LIST(
        key=key,
        data={
            "cards": list(cards),
            "label": label,
            "closable": on_close is not None,
            "like": like,
            "build": build,
            "toTop": to_top,
        },
        on_like_change=on_like,
        on_close_change=on_close or (lambda: None),
    )


def selection_panel(atlas: Atlas, rows: Sequence[int], *, left_out: int, exports: Callable[[], None]) -> bool:
    """Draw the papers selected on the map; whether to search from them. exports: draws their export menu.

    left_out: the number of papers in the area that the filters exclude.
    """
    with st.container(border=True):
        st.subheader(f"{plural(len(rows), 'paper')} selected", anchor=False)
        if left_out:
            st.caption(f"{left_out:,} more are in the area but do not match the filters.")
        if not rows:
            st.caption("Select an area with papers, or clear the selection above the map.")
            return False
        with st.container(horizontal=True, vertical_alignment="center"):
            search_from = st.button(
                "Search from these", icon=":material/search:", help="Finds the papers nearest to their mean vector."
            )
            exports()
        if len(rows) > _MAX_TABLE_ROWS:
            st.caption(f"The table has the first {_MAX_TABLE_ROWS:,}; the exports have all.")
        st.dataframe(
            atlas.papers.select(["title", "year", "venue", "pmid"]).take(list(rows[:_MAX_TABLE_ROWS])),
            hide_index=True,
            height=min(320, 38 + 35 * min(len(rows), 8)),
            column_config={
                "title": st.column_config.TextColumn("Title", width="large"),
                "year": st.column_config.NumberColumn("Year", format="%d", width="small"),
                "venue": st.column_config.TextColumn("Venue", width="medium"),
                "pmid": st.column_config.TextColumn("PMID", width="small"),
            },
        )
    return search_from


def export_menu(papers: Callable[[], list[Paper]], *, name: str, distances: Sequence[float] | None = None) -> None:
    """Draw a menu of files that are made when they are downloaded. name: of the files. distances: for the CSV."""
    with st.popover("Export", icon=":material/download:"):
        for label, ending, media_type, content in (
            ("CSV (spreadsheets)", "csv", "text/csv", lambda: to_csv(papers(), distances=distances)),
            ("RIS (Zotero, EndNote)", "ris", "application/x-research-info-systems", lambda: to_ris(papers())),
            ("BibTeX", "bib", "application/x-bibtex", lambda: to_bibtex(papers())),
            ("JSON Lines (programs)", "jsonl", "application/x-ndjson", lambda: to_jsonl(papers())),
        ):
            st.download_button(
                label, content, f"{name}.{ending}", media_type, key=f"{name}-{ending}", on_click="ignore"
            )
