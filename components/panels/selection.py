"""The selection panel: the papers framed on the map, as a table, to export or to search from."""

from collections.abc import Sequence

import streamlit as st

from components.atlas import Atlas
from components.view import MOST_SEEDS
from corpus.export import to_bibtex, to_csv, to_ris
from corpus.paper import Paper

_SHOWN = 1000  # rows of the table; the exports hold all


def selection_panel(atlas: Atlas, rows: Sequence[int], *, left_out: int) -> bool:
    """Draw the selected papers; whether the person asked to search from them."""
    with st.container(border=True):
        words = f"{len(rows):,} papers selected" if len(rows) != 1 else "1 paper selected"
        st.subheader(words, anchor=False)
        if left_out:
            st.caption(f"{left_out:,} more lie in the area but do not pass the filters.")
        if not rows:
            st.caption("Draw around some points, or clear the selection above the map.")
            return False
        with st.container(horizontal=True, vertical_alignment="center"):
            too_many = len(rows) > MOST_SEEDS
            wanted = st.button(
                "Search from these",
                icon=":material/search:",
                disabled=too_many,
                help=f"Up to {MOST_SEEDS} papers can be searched from: select fewer."
                if too_many
                else "By the mean of their vectors.",
            )
            with st.popover("Export", icon=":material/download:"):
                st.download_button(
                    "CSV",
                    lambda: to_csv(_papers(atlas, rows)),
                    "selection.csv",
                    "text/csv",
                    on_click="ignore",
                    key="selection-csv",
                )
                st.download_button(
                    "RIS",
                    lambda: to_ris(_papers(atlas, rows)),
                    "selection.ris",
                    "application/x-research-info-systems",
                    on_click="ignore",
                    key="selection-ris",
                )
                st.download_button(
                    "BibTeX",
                    lambda: to_bibtex(_papers(atlas, rows)),
                    "selection.bib",
                    "application/x-bibtex",
                    on_click="ignore",
                    key="selection-bib",
                )
        table = atlas.papers.select(["title", "year", "venue", "pmid"]).take(list(rows[:_SHOWN]))
        if len(rows) > _SHOWN:
            st.caption(f"The first {_SHOWN:,} are listed; the exports hold all.")
        st.dataframe(
            table,
            hide_index=True,
            height=min(320, 38 + 35 * min(len(rows), 8)),
            column_config={
                "title": st.column_config.TextColumn("Title", width="large"),
                "year": st.column_config.NumberColumn("Year", format="%d", width="small"),
                "venue": st.column_config.TextColumn("Venue", width="medium"),
                "pmid": st.column_config.TextColumn("PMID", width="small"),
            },
        )
    return wanted


def _papers(atlas: Atlas, rows: Sequence[int]) -> list[Paper]:
    return [atlas.paper(row) for row in rows]
