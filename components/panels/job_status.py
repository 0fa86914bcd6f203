"""The job status panel: the job in the background, how far it is, and a way to stop it."""

from collections.abc import Callable

import streamlit as st

from components.atlas.build import ENCODING, PROJECTING, READING
from components.encoder.base import FETCHING
from components.jobs.model import JobRequest, JobStatus
from corpus.text.markdown import escaped

_MINUTE, _HOUR = 60, 3600
_DONE = {
    "encode": "The atlas by {encoder} is ready.",
    "files": "{title} is ready.",
    "query": "{title} is ready.",
    "add": "{title} has grown.",
    "remove": "The papers were removed from {title}.",
    "rebuild": "The map of {title} was laid out again.",
    "import": "{title} was imported.",
    "evaluate": "{encoder} was evaluated on {title}.",
    "curve": "The index of {title} was measured.",
}


def job_status(
    now: JobStatus,
    *,
    on_stop: Callable[[], None],
    on_again: Callable[[], None],
    on_forget: Callable[[], None],
    ready: Callable[[], None],
) -> None:
    """Draw where a job is. ready: draws what can be done with the atlas once it is there."""
    if now.state in ("running", "stopping"):
        st.markdown(f"**{escaped(_capital(now.request.words))}**")
        if now.total > 1:
            st.progress(min(max(now.done / now.total, 0.0), 1.0), text=_told(now))
        else:
            st.markdown(_told(now))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Cancel", on_click=on_stop, disabled=now.state == "stopping", icon=":material/stop_circle:")
            st.caption("It goes on while you search. What is done is kept if you cancel or close the app.")
        return
    if now.state == "done":
        said = f" {now.result}" if now.result else ""
        st.success(escaped(_done(now.request) + said), icon=":material/check_circle:")
        with st.container(horizontal=True):
            ready()
            st.button("Close", on_click=on_forget, type="tertiary")
        return
    what = escaped(_capital(now.request.words))
    if now.state == "stopped":
        st.info(f"{what}: stopped. What it had done is kept.", icon=":material/pause_circle:")
    else:
        st.error(f"{what}: failed. {escaped(now.message)}", icon=":material/error:")
    with st.container(horizontal=True):
        st.button("Go on" if now.state == "stopped" else "Try again", on_click=on_again, type="primary")
        st.button("Close", on_click=on_forget, type="tertiary", key="close-build")


def _done(job: JobRequest) -> str:
    return _DONE[job.kind].format(title=job.title, encoder=job.encoder)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _told(now: JobStatus) -> str:
    if now.state == "stopping":
        return f"{now.stage}: stopping…"
    if now.total <= 1:
        return f"{now.stage}… {now.seconds:.0f} second{'s' if round(now.seconds) != 1 else ''} so far"
    rate = ""
    if now.stage == FETCHING:
        amount = f"{now.done / 1e6:,.0f} of {now.total / 1e6:,.0f} MB"
    elif now.stage in (READING, PROJECTING) or (now.request.kind in ("evaluate", "curve") and now.stage != ENCODING):
        # In thousandths of the files, in epochs, and for an evaluation in queries or settings.
        amount = f"{now.done / now.total:.0%}"
    else:
        amount = f"{now.done:,} of {now.total:,} papers"
        rate = f" · {_rate(now.rate)}" if now.rate else ""
    left = f" · {duration(now.seconds_left)} left" if now.seconds_left is not None else ""
    return f"{now.stage}: {amount}{rate}{left}"


def _rate(papers: float) -> str:
    """Papers a second, or a minute where they are few: 31 papers a second."""
    if papers >= 1.5:
        return f"{papers:,.0f} papers a second"
    each_minute = max(1, round(papers * _MINUTE))
    return f"{each_minute} paper{'s' if each_minute > 1 else ''} a minute"


def duration(seconds: float) -> str:
    """A length of time as one would say it: about 12 minutes."""
    if seconds < _MINUTE:
        return "less than a minute"
    if seconds < 1.5 * _HOUR:
        minutes = round(seconds / _MINUTE)
        return f"about {minutes} minute{'s' if minutes > 1 else ''}"
    return f"about {seconds / _HOUR:.1f} hours"
