"""The job in the background, on the pages that begin one: its status, its end, and what was refused."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import streamlit as st

from components.atlas import store
from components.atlas.manifest import Manifest
from components.evaluation import store as evaluations
from components.jobs import runner as background
from components.jobs.model import JobRequest, JobStatus
from components.pages import frame
from components.panels.job_status import job_status
from components.search.view import EvaluationView, View
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped

_RUNS, _SAID, _CHANGED = "job-runs", "said", "job-changed"


def begin(job: JobRequest) -> bool:
    """Begin a job; whether it was begun. What is said against it stands on the page that is drawn next."""
    return attempt(lambda: background.start(job))


def attempt(work: Callable[[], object]) -> bool:
    """Do something that may be refused; whether it was done. What is said against it stands on the next page."""
    try:
        work()
    except (CociteAtlasError, OSError) as error:  # OSError: a disk that is full, or no more processes here
        st.session_state[_SAID] = str(error)
        return False
    return True


def say_refusal() -> None:
    """Say, once, what was refused."""
    if said := st.session_state.pop(_SAID, ""):
        st.error(escaped(said), icon=":material/error:")


def runs() -> bool:
    """Whether a job is under way: no other can be begun."""
    return (now := background.latest()) is not None and not now.over


def under_way() -> None:
    """Draw the job in the background, again every second while it runs; the whole page when it ends."""
    if (now := background.latest()) is not None:
        st.session_state[_RUNS] = not now.over
        st.fragment(_status, run_every=None if now.over else 1.0)()


def _status() -> None:
    if st.session_state.pop(_CHANGED, False):
        st.rerun()  # the whole page: what was closed or begun again here is told of elsewhere, too
    now = background.latest()
    if now is None:
        return
    was_running = st.session_state.get(_RUNS, False)
    st.session_state[_RUNS] = not now.over
    if was_running and now.over:
        st.rerun()  # the whole page: there is another atlas to choose, or one that can be taken up again
    with st.container(border=True, key="build"):
        job_status(
            now,
            on_stop=background.stop,
            on_again=partial(_again, now.request),
            on_forget=_forget,
            ready=partial(_ready, now),
        )


def _again(job: JobRequest) -> None:
    begin(job)
    st.session_state[_CHANGED] = True


def _forget() -> None:
    background.forget()
    st.session_state[_CHANGED] = True


def _ready(now: JobStatus) -> None:
    if now.request.kind in ("evaluate", "curve"):
        _way_to_evaluation(now)
        return
    with suppress(CociteAtlasError):  # it was deleted meanwhile
        way_to(store.read_manifest(now.built), label="Explore it")


def _way_to_evaluation(now: JobStatus) -> None:
    """The link to what was evaluated or measured."""
    view = EvaluationView(atlas=now.request.base, tab="index")
    if now.request.kind == "evaluate":
        try:
            found = evaluations.read(now.built)
        except CociteAtlasError:  # it was deleted meanwhile
            return
        view = EvaluationView(set=found.set_name, facet=found.facet, split=found.split, system=found.id)
    st.page_link(frame.page("Evaluate"), label="See it", query_params=view.to_params(), icon=":material/analytics:")


def way_to(manifest: Manifest, *, label: str) -> None:
    """Draw the link to the Explore page of an atlas. label: of unknown origin."""
    params = View(atlas=manifest.name).to_params()
    st.page_link(frame.page("Explore"), label=escaped(label), query_params=params, icon=":material/explore:")
