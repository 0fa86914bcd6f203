"""The pair bar panel: which two atlases of a corpus stand beside each other, and how many papers of each."""

from collections.abc import Callable, Mapping

import streamlit as st

from components.search.view import PAIR_K_CHOICES

LEFT, RIGHT, PAIR_K = "pair-left", "pair-right", "pair-k"  # of what is chosen, in st.session_state


def pair_bar(
    encoders: Mapping[str, str],
    *,
    on_left: Callable[[], None],
    on_right: Callable[[], None],
    on_swap: Callable[[], None],
    on_k: Callable[[], None],
) -> None:
    """Draw the bar. encoders: the atlases of the corpus, by name, with what each is called."""

    def label(name: str) -> str:
        return encoders[name]

    with st.container(horizontal=True, vertical_alignment="bottom", key="pair-bar"):
        st.selectbox("Left encoder", list(encoders), format_func=label, key=LEFT, on_change=on_left, width=300)
        st.button("Swap", icon=":material/swap_horiz:", on_click=on_swap, key="pair-swap")
        st.selectbox("Right encoder", list(encoders), format_func=label, key=RIGHT, on_change=on_right, width=300)
        st.selectbox(
            "Papers in each list",
            PAIR_K_CHOICES,
            key=PAIR_K,
            on_change=on_k,
            format_func=lambda k: f"{k} papers",
            width=150,
        )
