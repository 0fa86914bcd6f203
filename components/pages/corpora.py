"""The Corpora page: all corpora, what can be done with each, stopped work, and making new corpora."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from components.atlas import paths, store
from components.atlas.corpora import (
    Unfinished,
    atlases_of,
    corpora,
    discard_additions,
    discard_unfinished,
    disk_use,
    unfinished,
)
from components.atlas.manifest import Manifest
from components.atlas.map_state import rebuild_due
from components.atlas.paths import DEFAULT_ATLAS
from components.atlas.thumbnail import thumbnail
from components.encoder.base import Precision
from components.jobs import runner
from components.jobs.model import JobRequest, encode_request
from components.jobs.store import clear_old, discard, waiting_requests
from components.mapping.palette import DARK, LIGHT
from components.pages import frame, jobs
from components.pages.corpus_dialogs import DEFAULT_CORPUS_DIALOGS, DIALOGS, REBUILD
from components.pages.new_corpus import new_corpus
from components.panels.atlases import corpus_card
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped


def corpora_page() -> None:
    """Draw the page."""
    frame.masthead(atlas=(st.query_params.get("atlas") or DEFAULT_ATLAS)[:64])
    if not frame.default_atlas_ready():
        return
    _clear_once()
    jobs.show_last_error()
    left, right = st.columns([6, 6], gap="large")
    with left:
        jobs.draw_status()
        _stopped()
        _list()
    with right:
        st.subheader("New corpus", anchor=False)
        new_corpus()


@st.cache_resource(show_spinner=False)
def _clear_once() -> bool:
    """Clear old requests, once per process."""
    clear_old()
    return True


# Stopped work


def _stopped() -> None:
    """Draw the jobs and builds that were stopped or killed, now or in an earlier run of the app."""
    status, requests = runner.latest(), waiting_requests()
    current = status.request if status is not None else None
    for request in requests:
        if current is None or current.id != request.id:
            words = request.words[:1].upper() + request.words[1:]
            _stopped_item(
                f"{escaped(words)} was stopped.",
                key=request.id,
                resume=partial(jobs.start, request),
                discard=partial(_discard, request),
            )
    for build in unfinished():
        if current is not None and (current.kind, current.base, current.encoder) == (
            "encode",
            build.base,
            build.encoder,
        ):
            continue
        if build.kind != "build" or build.name in {request.name for request in requests}:
            continue
        done = f"{build.rows_done:,} of {build.papers:,} papers encoded" if build.papers else "nothing done yet"
        message = f"A build of {escaped(build.name)} with {escaped(build.encoder)} was stopped: {done}."
        _stopped_item(
            message if build.base else f"{message} To resume it, repeat the command that started it.",
            key=build.name,
            resume=partial(jobs.start, _resume_request(build)) if build.base else None,
            discard=partial(jobs.attempt, partial(discard_unfinished, build.name)),
        )


def _resume_request(build: Unfinished) -> JobRequest:
    precision: Precision = "bfloat16" if build.precision == "bfloat16" else "float32"
    return encode_request(build.base, encoder=build.encoder, precision=precision)


def _stopped_item(message: str, *, key: str, resume: Callable[[], Any] | None, discard: Callable[[], Any]) -> None:
    with st.container(border=True, key=f"stopped-{key}"):
        st.markdown(message)
        with st.container(horizontal=True):
            if resume is not None:
                st.button("Resume", key=f"resume-{key}", on_click=resume, type="primary", disabled=jobs.running())
            st.button("Discard", key=f"discard-{key}", on_click=discard)


def _discard(request: JobRequest) -> None:
    def work() -> None:
        discard(request.id)
        if request.kind in ("files", "query") and paths.atlas_folder(request.name).is_dir():
            discard_unfinished(request.name)
        for manifest in atlases_of(request.name) if request.kind == "add" else ():
            with paths.build_lock(manifest.name):
                discard_additions(manifest.name)

    jobs.attempt(work)


# The list


def _list() -> None:
    st.subheader("Your corpora", anchor=False)
    names = sorted(corpora(), key=lambda name: (name == DEFAULT_ATLAS, name))  # the shipped one last
    for name in names:
        if atlases := atlases_of(name):  # none after another session deleted the corpus
            _corpus(atlases)
    for name in paths.atlas_names():
        try:
            store.read_manifest(name)
        except CociteAtlasError as error:
            with st.container(border=True):
                frame.show_error(f"{name}: {error}", icon="broken_image")
    if names == [DEFAULT_ATLAS]:
        st.caption("This corpus comes with the app. To add your own papers, upload files, run a query or import one.")


def _corpus(atlases: Sequence[Manifest]) -> None:
    first = atlases[0]
    due = next((reason for atlas in atlases if (reason := rebuild_due(atlas))), "")

    def actions() -> None:
        jobs.explore_link(first, label="Explore")
        dialogs = DEFAULT_CORPUS_DIALOGS if first.corpus == DEFAULT_ATLAS else DIALOGS
        offered = [name for name in dialogs if name != REBUILD or due]
        if chosen := st.menu_button("More", offered, key=f"more-{first.corpus}"):
            dialogs[chosen](first.corpus)

    corpus_card(
        atlases,
        thumbnail=_thumbnail(first.name, first.folder, st.context.theme.type == "dark", first),
        bytes=sum(disk_use(atlas.name) for atlas in atlases),
        due=due,
        actions=actions,
    )


@st.cache_data(max_entries=256, show_spinner=False)
def _thumbnail(name: str, build: str, dark: bool, _manifest: Manifest) -> str:  # noqa: ARG001
    return thumbnail(_manifest, palette=DARK if dark else LIGHT)
