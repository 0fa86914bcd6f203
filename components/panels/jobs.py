"""The job status panel: how far the background job is, with a way to stop it."""

from collections.abc import Callable

import streamlit as st

from components.atlas.build import READING
from components.encoder.base import ENCODING, FETCHING
from components.jobs.model import JobStatus
from components.mapping.projection import PROJECTING
from corpus.io.files import format_bytes
from corpus.text.markdown import escaped

_DONE = {
    "encode": "The atlas with {encoder} is ready.",
    "files": "{title} is ready.",
    "query": "{title} is ready.",
    "add": "Papers were added to {title}.",
    "remove": "Papers were removed from {title}.",
    "rebuild": "The map of {title} was laid out again.",
    "import": "{title} was imported.",
    "evaluate": "{encoder} was evaluated on {title}.",
    "curve": "The index of {title} was measured.",
}


def job_status(
    status: JobStatus,
    *,
    on_stop: Callable[[], None],
    on_again: Callable[[], None],
    on_forget: Callable[[], None],
    ready: Callable[[], None],
) -> None:
    """Draw a job. ready: draws a link to what the job made."""
    request = status.request
    words = escaped(request.words[:1].upper() + request.words[1:])
    if not status.over:
        st.markdown(f"**{words}**")
        if status.total > 1:
            st.progress(min(max(status.done / status.total, 0.0), 1.0), text=_progress_text(status))
        else:
            st.markdown(_progress_text(status))
        with st.container(horizontal=True, vertical_alignment="center"):
            stopping = status.state == "stopping"
            st.button("Cancel", on_click=on_stop, disabled=stopping, icon=":material/stop_circle:")
            st.caption("Runs in the background; you can keep searching. If you cancel, what is done is kept.")
        return
    if status.state == "done":
        done = _DONE[request.kind].format(
            title=request.title or request.name, encoder=request.encoder_title or request.encoder
        )
        st.success(escaped(f"{done} {status.result}".strip()), icon=":material/check_circle:")
    elif status.state == "stopped":
        st.info(f"{words}: stopped. What was done is kept.", icon=":material/pause_circle:")
    else:
        st.error(f"{words}: failed. {escaped(status.message)}", icon=":material/error:")
    with st.container(horizontal=True):
        if status.state == "done":
            ready()
        else:
            st.button("Resume" if status.state == "stopped" else "Try again", on_click=on_again, type="primary")
        st.button("Close", on_click=on_forget, type="tertiary", key="close-job")


def _progress_text(status: JobStatus) -> str:
    if status.state == "stopping":
        return f"{status.stage}: stopping…"
    if status.total <= 1:
        return f"{status.stage}… {status.seconds:.0f} s so far"
    rate = ""
    if status.stage == FETCHING:
        amount = f"{format_bytes(status.done)} of {format_bytes(status.total)}"
    elif status.stage in (READING, PROJECTING) or (
        status.request.kind in ("evaluate", "curve") and status.stage != ENCODING
    ):
        amount = f"{status.done / status.total:.0%}"  # the units are thousandths of files, epochs, queries, settings
    else:
        amount = f"{status.done:,} of {status.total:,} papers"
        if status.rate:
            few = status.rate < 1.5
            rate = (
                f" · {max(1, status.rate * 60 if few else status.rate):,.0f} papers per {'minute' if few else 'second'}"
            )
    left = f" · {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
    return f"{status.stage}: {amount}{rate}{left}"


def duration(seconds: float) -> str:
    """A length of time in words.

    >>> duration(20), duration(700), duration(5_500), duration(400_000)
    ('less than a minute', 'about 12 minutes', 'about 1 hour and 32 minutes', 'about 4 days')
    """
    import humanize  # slow to import

    if seconds < 60:
        return "less than a minute"
    if seconds > 24 * 3600:
        return f"about {humanize.naturaldelta(seconds)}"
    return f"about {humanize.precisedelta(60 * round(seconds / 60), minimum_unit='minutes', format='%d')}"
