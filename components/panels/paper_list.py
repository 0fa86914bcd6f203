"""The paper list panel: cards with their abstract on demand, drawn in the browser by assets/papers.js."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

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
    """Draw papers as `components.search.cards.paper_card` or `compared_card` describes them.

    "Use as query", or what `like` says in its place, comes back as the trigger `like` {row} of
    `st.session_state[key]`; with `on_close`, a button to close the list as the trigger `close`. label: what the list
    is, for screen readers. build: of the atlas that the rows are of, where papers that are pointed at elsewhere on the
    page are to be marked here. to_top: whether the page is shown from its top when a paper was made the query.
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
        on_close_change=on_close or _nothing,
    )


def _nothing() -> None:
    """A list that cannot be closed."""
