"""What a session knows: the view (in the link too) and the pasted text (never in the link)."""

from dataclasses import replace
from typing import Any, cast

import streamlit as st

from components.search.query_text import QueryText
from components.search.view import EvaluationView, Pair, View

_VIEW, _ASKED, _LINK, _PAIR, _EVALUATED = "view", "asked", "link", "pair", "evaluated"


def view() -> View:
    """The view of this session, from its link at first and whenever the link was changed from outside."""
    link = {name: st.query_params.get_all(name) for name in st.query_params}
    if _VIEW not in st.session_state or (link != st.session_state[_LINK]):
        st.session_state[_VIEW] = View.from_params(link)
        st.session_state[_LINK] = link
    return cast(View, st.session_state[_VIEW])


def change(**changes: Any) -> None:
    """Change the view, and the link with it."""
    replace_view(replace(st.session_state[_VIEW], **changes))


def replace_view(new: View) -> None:
    """Put another view in place of this one, in the link too: what a link cannot hold, the view does not."""
    link = _link(new)
    new = View.from_params(link)
    st.session_state[_VIEW] = new
    st.session_state[_LINK] = _link(new)
    st.query_params.from_dict(new.to_params())


def _link(view: View) -> dict[str, list[str]]:
    return {name: [value] if isinstance(value, str) else list(value) for name, value in view.to_params().items()}


def asked() -> QueryText | None:
    """The pasted text as it was understood; None before the first search."""
    return cast("QueryText | None", st.session_state.get(_ASKED))


def ask(text: QueryText | None) -> None:
    """Remember what was asked."""
    st.session_state[_ASKED] = text


def trigger(key: str, name: str) -> Any:
    """The value of a component's trigger in the run that it set off; None otherwise."""
    state = st.session_state.get(key) or {}
    return state.get(name)


def last_link(atlas: str) -> dict[str, str | list[str]]:
    """The parameters of the view that this session had last of an atlas; of a fresh one where it had another."""
    last = cast("View | None", st.session_state.get(_VIEW))
    return (last if last and last.atlas == atlas else View(atlas=atlas)).to_params()


def remember_pair(pair: Pair) -> None:
    """Keep what the Compare page shows, and what it searches from for the view of its left atlas too."""
    st.session_state[_PAIR] = pair
    last = cast("View | None", st.session_state.get(_VIEW))
    if last is None or last.atlas != pair.left:
        last = View(atlas=pair.left)
    if last.like != pair.like:
        last = replace(last, like=pair.like, around=False)
    st.session_state[_VIEW], st.session_state[_LINK] = last, _link(last)


def pair_link(atlas: str) -> dict[str, str | list[str]]:
    """The parameters of the comparison that this session had last with an atlas, or of a fresh one; in either case
    with the papers that the atlas's view searches from.
    """
    last = cast("Pair | None", st.session_state.get(_PAIR))
    view = cast("View | None", st.session_state.get(_VIEW))
    pair = last if last and atlas in (last.left, last.right) else Pair(left=atlas)
    return replace(pair, like=view.like if view and view.atlas == atlas else ()).to_params()


def evaluation_view() -> EvaluationView:
    """What the Evaluate page is to show, by its link."""
    view = EvaluationView.from_params({name: st.query_params.get_all(name) for name in st.query_params})
    st.session_state[_EVALUATED] = view
    return view


def show_evaluation(view: EvaluationView) -> None:
    """Show something else on the Evaluate page, and say so in its link."""
    st.session_state[_EVALUATED] = view
    st.query_params.from_dict(view.to_params())


def evaluation_link(atlas: str) -> dict[str, str | list[str]]:
    """The parameters of what this session had last on the Evaluate page. atlas: the one to go back to from there."""
    last = cast("EvaluationView | None", st.session_state.get(_EVALUATED))
    return replace(last or EvaluationView(), atlas=atlas).to_params()
