"""The encoder list panel: every encoder by name, with what it is for and whether it is here."""

import re
from collections.abc import Callable, Sequence

import streamlit as st

from components.atlas.encoder_options import EncoderOption
from corpus.text.markdown import escaped


def encoder_list(choices: Sequence[EncoderOption], *, key: str, on_change: Callable[[], None]) -> None:
    """Draw the list. The chosen name is in `st.session_state[key]`."""
    called = {choice.name: choice.display_name for choice in choices}
    st.radio(
        "Encoder",
        [choice.name for choice in choices],
        captions=[_caption(choice) for choice in choices],
        format_func=lambda name: escaped(called[name]),
        key=key,
        on_change=on_change,
        label_visibility="collapsed",
    )


def _caption(choice: EncoderOption) -> str:
    told = []
    if choice.atlases:
        told.append(":green[:material/check_circle: atlas ready]")
    elif choice.here:
        told.append("on this machine")
    elif choice.partial:
        told.append("download stopped half way")
    if not choice.encodes:
        return " · ".join(["came with the papers", *told])
    if choice.entry is None:
        return " · ".join(["your own", *told])
    what = [re.split("[,:]", choice.entry.domain)[0]]
    if choice.entry.form.pooling == "scalar_mix":
        what.append("all layers, mixed")
    return " · ".join([*(escaped(word) for word in what), *told])
