"""What a session knows: what each page shows (in its link too) and the pasted text (never in a link)."""

from dataclasses import replace
from typing import Any, cast

import streamlit as st

from components.search.query_text import QueryText
from components.search.view import EvaluationView, Pair, Params, View

_VIEW, _LINK, _QUERY_TEXT, _PAIR, _EVALUATION = "view", "link", "query-text", "pair", "evaluation"


def query_params() -> dict[str, list[str]]:
    """The page's query parameters, each with all its values."""
    return {name: st.query_params.get_all(name) for name in st.query_params}


# Explore


def view() -> View:
    """What the Explore page shows: by its link at first, and whenever the link was changed from outside."""
    link = query_params()
    if _VIEW not in st.session_state or link != st.session_state[_LINK]:
        st.session_state[_VIEW], st.session_state[_LINK] = View.from_params(link), link
    return cast(View, st.session_state[_VIEW])


def change(**changes: Any) -> None:
    """Change the view and its link."""
    replace_view(replace(st.session_state[_VIEW], **changes))


def replace_view(new: View) -> None:
    """Show another view, without what a link cannot hold."""
    new = View.from_params(_link(new))
    st.session_state[_VIEW], st.session_state[_LINK] = new, _link(new)
    st.query_params.from_dict(new.to_params())


def _link(view: View) -> dict[str, list[str]]:
    return {name: [value] if isinstance(value, str) else list(value) for name, value in view.to_params().items()}


def explore_params(atlas: str) -> Params:
    """Parameters of the last view of an atlas; of a fresh one where the last was of another atlas."""
    last = cast("View | None", st.session_state.get(_VIEW))
    return (last if last and last.atlas == atlas else View(atlas=atlas)).to_params()


def query_text() -> QueryText | None:
    """The pasted text as parsed; None before the first search."""
    return cast("QueryText | None", st.session_state.get(_QUERY_TEXT))


def set_query_text(text: QueryText | None) -> None:
    """Keep the pasted text."""
    st.session_state[_QUERY_TEXT] = text


def trigger(key: str, name: str) -> Any:
    """The value of a component's trigger in the run that it caused; None otherwise."""
    return (st.session_state.get(key) or {}).get(name)


# Compare


def remember_pair(pair: Pair) -> None:
    """Keep what the Compare page shows, and its seeds for the view of its left atlas."""
    st.session_state[_PAIR] = pair
    last = cast("View | None", st.session_state.get(_VIEW))
    if last is None or last.atlas != pair.left:
        last = View(atlas=pair.left)
    if last.like != pair.like:
        last = replace(last, like=pair.like, around=False)
    st.session_state[_VIEW], st.session_state[_LINK] = last, _link(last)


def compare_params(atlas: str) -> Params:
    """Parameters of the last comparison with an atlas, or of a fresh one, with the seeds of the atlas's view."""
    last = cast("Pair | None", st.session_state.get(_PAIR))
    view = cast("View | None", st.session_state.get(_VIEW))
    pair = last if last and atlas in (last.left, last.right) else Pair(left=atlas)
    return replace(pair, like=view.like if view and view.atlas == atlas else ()).to_params()


# Evaluate


def evaluation_view() -> EvaluationView:
    """What the Evaluate page shows, by its link."""
    view = EvaluationView.from_params(query_params())
    st.session_state[_EVALUATION] = view
    return view


def show_evaluation(view: EvaluationView) -> None:
    """Show something else on the Evaluate page, and in its link."""
    st.session_state[_EVALUATION] = view
    st.query_params.from_dict(view.to_params())


def evaluate_params(atlas: str) -> Params:
    """Parameters of what the Evaluate page showed last. atlas: the one to go back to from there."""
    last = cast("EvaluationView | None", st.session_state.get(_EVALUATION))
    return replace(last or EvaluationView(), atlas=atlas).to_params()
