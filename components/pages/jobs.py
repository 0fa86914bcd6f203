"""The background job on the pages: its status, its result, and errors of starting it."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import streamlit as st

from components.atlas import store
from components.atlas.manifest import Manifest
from components.evaluation import store as evaluations
from components.jobs import runner
from components.jobs.model import JobRequest, JobStatus
from components.pages import frame
from components.panels.jobs import job_status
from components.search.view import EvaluationView, View
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

# Keys of st.session_state.
_RUNNING, _ERROR, _CHANGED = "job-running", "job-error", "job-changed"
RUNNING_NOTE = "Another job is running. You can start this when it finishes."


def start(request: JobRequest) -> bool:
    """Start a job; whether it was started. An error is drawn by `show_last_error` on the next run."""
    return attempt(lambda: runner.start(request))


def attempt(work: Callable[[], object]) -> bool:
    """Do something; whether it succeeded. An error is drawn by `show_last_error` on the next run."""
    try:
        work()
    except (CociteAtlasError, OSError) as error:  # OSError: a full disk, or no further processes
        st.session_state[_ERROR] = str(error)
        return False
    return True


def show_last_error() -> None:
    """Draw the error of the last `start` or `attempt`, once."""
    if error := st.session_state.pop(_ERROR, ""):
        frame.show_error(error)


def running() -> bool:
    """Whether a job is running; then no other can be started."""
    return (status := runner.latest()) is not None and not status.over


def draw_status() -> None:
    """Draw the background job, every second while it runs; redraw the whole page when it ends."""
    if (status := runner.latest()) is not None:
        st.session_state[_RUNNING] = not status.over
        st.fragment(_status, run_every=None if status.over else 1.0)()


def _status() -> None:
    if st.session_state.pop(_CHANGED, False):
        st.rerun()  # the whole page: other parts of it show the job, too
    status = runner.latest()
    if status is None:
        return
    was_running = st.session_state.get(_RUNNING, False)
    st.session_state[_RUNNING] = not status.over
    if was_running and status.over:
        st.rerun()  # the whole page: there is a new atlas, or a job to resume
    with st.container(border=True, key="build"):
        job_status(
            status,
            on_stop=runner.stop,
            on_again=partial(_change, partial(start, status.request)),
            on_forget=partial(_change, runner.forget),
            ready=partial(_result_link, status),
        )


def _change(work: Callable[[], object]) -> None:
    work()
    st.session_state[_CHANGED] = True


def _result_link(status: JobStatus) -> None:
    """Draw the link to what a job made; nothing where that was deleted."""
    with suppress(CociteAtlasError):
        if status.request.kind not in ("evaluate", "curve"):
            explore_link(store.read_manifest(status.built), label="Explore it")
            return
        view = EvaluationView(atlas=status.request.base, tab="index")
        if status.request.kind == "evaluate":
            found = evaluations.read(status.built)
            view = EvaluationView(set=found.set_name, facet=found.facet, split=found.split, system=found.id)
        params = view.to_params()
        st.page_link(frame.page("Evaluate"), label="Show the result", query_params=params, icon=":material/analytics:")


def explore_link(manifest: Manifest, *, label: str) -> None:
    """Draw the link to the Explore page of an atlas. label: of unknown origin."""
    params = View(atlas=manifest.name).to_params()
    st.page_link(frame.page("Explore"), label=escaped(label), query_params=params, icon=":material/explore:")
