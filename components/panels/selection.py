"""The selection panel: the papers framed on the map, as a table, to export or to search from."""

from collections.abc import Callable, Sequence

import streamlit as st

from components.atlas.store import Atlas

_SHOWN = 1000  # rows of the table; the exports hold all


def selection_panel(atlas: Atlas, rows: Sequence[int], *, left_out: int, exports: Callable[[], None]) -> bool:
    """Draw the selected papers; whether the person asked to search from them. exports: draws their export menu."""
    with st.container(border=True):
        words = f"{len(rows):,} papers selected" if len(rows) != 1 else "1 paper selected"
        st.subheader(words, anchor=False)
        if left_out:
            st.caption(f"{left_out:,} more lie in the area but do not pass the filters.")
        if not rows:
            st.caption("Draw around some points, or clear the selection above the map.")
            return False
        with st.container(horizontal=True, vertical_alignment="center"):
            wanted = st.button("Search from these", icon=":material/search:", help="By the mean of their vectors.")
            exports()
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
