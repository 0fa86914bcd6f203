"""The filter panel: years, venues and topics that a hit must have, and how many hits to show."""

from collections.abc import Callable, Sequence

import streamlit as st

from components.atlas.facets import Filters
from components.search.view import K_CHOICES

K, YEARS, VENUES, TOPICS = "filter-k", "filter-years", "filter-venues", "filter-topics"  # in st.session_state
OFFERED = 400  # venues and topics offered, the commonest first; rarer ones can be typed


def filter_bar(
    *,
    year_span: tuple[int, int] | None,
    venues: Sequence[str],
    topics: Sequence[str],
    filters: Filters,
    unknown: Sequence[str],
    on_change: Callable[[], None],
    on_clear: Callable[[], None],
) -> None:
    """Draw the filters; their values are in `st.session_state` under K, YEARS, VENUES and TOPICS.

    unknown: venues or topics asked for that no paper has. on_clear: drop all filters.
    """
    count = bool(filters.years) + len(filters.venues) + len(filters.topics)
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover(f"Filters · {count}" if count else "Filters", icon=":material/filter_list:"):
            if year_span and year_span[0] < year_span[1]:
                st.slider("Years", *year_span, key=YEARS, on_change=on_change)
            st.multiselect(
                "Venues",
                _offered(venues, filters.venues),
                key=VENUES,
                on_change=on_change,
                accept_new_options=True,
                placeholder="Any venue",
                help="Any of them. The commonest are listed; type the full name of a rarer one.",
            )
            st.multiselect(
                "Topics",
                _offered(topics, filters.topics),
                key=TOPICS,
                on_change=on_change,
                accept_new_options=True,
                placeholder="Any topic",
                help="MeSH headings and keywords; any of them. The commonest are listed; type a rarer one.",
            )
            if count:
                st.button("Clear all filters", on_click=on_clear, type="tertiary")
        st.selectbox(
            "Papers to show",
            K_CHOICES,
            key=K,
            on_change=on_change,
            format_func=lambda k: f"{k} papers",
            label_visibility="collapsed",
            width=130,
        )
    for name in unknown:
        st.caption(":material/info: No paper of this corpus has the venue or topic you typed:")
        st.text(name)


def _offered(names: Sequence[str], chosen: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*chosen, *names[:OFFERED]]))
