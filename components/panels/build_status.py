"""The build status panel: the build in the background, how far it is, and a way to stop it."""

from collections.abc import Callable

import streamlit as st

from components.background import Progress
from components.build import FETCHING, PROJECTING, READING
from components.markdown import escaped

_MINUTE, _HOUR = 60, 3600


def build_status(
    now: Progress,
    *,
    on_stop: Callable[[], None],
    on_again: Callable[[], None],
    on_forget: Callable[[], None],
    ready: Callable[[], None],
) -> None:
    """Draw where a build is. ready: draws what can be done with the atlas once it is there."""
    name = escaped(now.encoder)
    if now.state in ("running", "stopping"):
        st.markdown(f"**Building an atlas by {name}**")
        if now.total > 1:
            st.progress(min(max(now.done / now.total, 0.0), 1.0), text=_told(now))
        else:
            st.markdown(_told(now))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Cancel", on_click=on_stop, disabled=now.state == "stopping", icon=":material/stop_circle:")
            st.caption("It goes on while you search. What is done is kept if you cancel or close the app.")
        return
    if now.state == "done":
        st.success(f"The atlas by {name} is ready.", icon=":material/check_circle:")
        with st.container(horizontal=True):
            ready()
            st.button("Close", on_click=on_forget, type="tertiary")
        return
    if now.state == "stopped":
        st.info(f"The build by {name} was stopped. What it had done is kept.", icon=":material/pause_circle:")
    else:
        st.error(f"The build by {name} failed. {escaped(now.told)}", icon=":material/error:")
    with st.container(horizontal=True):
        st.button("Go on" if now.state == "stopped" else "Try again", on_click=on_again, type="primary")
        st.button("Close", on_click=on_forget, type="tertiary", key="close-build")


def _told(now: Progress) -> str:
    if now.state == "stopping":
        return f"{now.stage}: stopping…"
    if now.total <= 1:
        return f"{now.stage}… {now.seconds:.0f} seconds so far"
    if now.stage == FETCHING:
        amount = f"{now.done / 1e6:,.0f} of {now.total / 1e6:,.0f} MB"
    elif now.stage in (READING, PROJECTING):  # in thousandths of the files, and in epochs
        amount = f"{now.done / now.total:.0%}"
    else:
        amount = f"{now.done:,} of {now.total:,} papers"
    left = f" · {duration(now.seconds_left)} left" if now.seconds_left is not None else ""
    return f"{now.stage}: {amount}{left}"


def duration(seconds: float) -> str:
    """A length of time as one would say it: about 12 minutes."""
    if seconds < _MINUTE:
        return "less than a minute"
    if seconds < 1.5 * _HOUR:
        minutes = round(seconds / _MINUTE)
        return f"about {minutes} minute{'s' if minutes > 1 else ''}"
    return f"about {seconds / _HOUR:.1f} hours"
