"""The Corpora page: what corpora there are, what can be done with each, and making new ones."""

from collections.abc import Callable, Sequence
from functools import partial

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
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.thumbnail import thumbnail
from components.encoder.base import Precision
from components.jobs import runner as background
from components.jobs.model import JobRequest, encode_request
from components.jobs.store import clear_old, discard, waiting_requests
from components.mapping.palette import DARK, LIGHT
from components.pages import frame, jobs
from components.pages.corpus_dialogs import DIALOGS, DIALOGS_OF_THE_DEFAULT, REBUILD
from components.pages.creating import new_corpus
from components.panels.corpus_card import corpus_card
from components.panels.preparation import prepare_medline
from corpus.errors import CociteAtlasError
from corpus.text.markdown import escaped


def corpora_page() -> None:
    """Draw the page."""
    frame.masthead(atlas=(st.query_params.get("atlas") or MEDLINE)[:64])
    if MEDLINE not in paths.atlas_names() and not prepare_medline(again=False):
        return
    _clear_once()
    jobs.say_refusal()
    left, right = st.columns([6, 6], gap="large")
    with left:
        jobs.under_way()
        _stopped()
        _list()
    with right:
        st.subheader("New corpus", anchor=False)
        new_corpus()


@st.cache_resource(show_spinner=False)
def _clear_once() -> bool:
    """What nobody went on with for a month is cleared when the page is first drawn in this process."""
    clear_old()
    return True


# ---------------------------------------------------------------- what was stopped


def _stopped() -> None:
    """What was stopped or killed, here or by an app that ended."""
    now = background.latest()
    staged = waiting_requests()
    for one in staged:
        if now is None or now.request.id != one.id:
            _stopped_one(
                f"{_words(one)} was stopped.", key=one.id, go_on=partial(_go_on, one), throw_away=partial(_discard, one)
            )
    for build in unfinished():
        job = now.request if now is not None else None
        if job is not None and job.kind == "encode" and (job.base, job.encoder) == (build.base, build.encoder):
            continue
        if build.name in {one.name for one in staged} or build.kind != "build":
            continue
        done = f"{build.rows_done:,} of {build.papers:,} papers encoded" if build.papers else "nothing yet done"
        told = f"A build of {escaped(build.name)} by {escaped(build.encoder)} was stopped: {done}."
        _stopped_one(
            told if build.base else f"{told} The command that began it goes on with it.",
            key=build.name,
            go_on=partial(_encode_on, build) if build.base else None,
            throw_away=partial(_discard_build, build),
        )


def _stopped_one(told: str, *, key: str, go_on: Callable[[], None] | None, throw_away: Callable[[], None]) -> None:
    with st.container(border=True, key=f"stopped-{key}"):
        st.markdown(told)
        with st.container(horizontal=True):
            if go_on is not None:
                st.button("Go on", key=f"go-on-{key}", on_click=go_on, type="primary", disabled=jobs.runs())
            st.button("Discard", key=f"discard-{key}", on_click=throw_away)


def _words(one: JobRequest) -> str:
    words = one.words
    return escaped(words[:1].upper() + words[1:])


def _go_on(one: JobRequest) -> None:
    jobs.begin(one)


def _encode_on(build: Unfinished) -> None:
    precision: Precision = "bfloat16" if build.precision == "bfloat16" else "float32"
    jobs.begin(encode_request(build.base, encoder=build.encoder, precision=precision))


def _discard(one: JobRequest) -> None:
    def throw_away() -> None:
        discard(one.id)
        if one.kind in ("files", "query") and paths.atlas_folder(one.name).is_dir():
            discard_unfinished(one.name)
        for manifest in atlases_of(one.name) if one.kind == "add" else ():
            with paths.build_lock(manifest.name):
                discard_additions(manifest.name)

    jobs.attempt(throw_away)


def _discard_build(build: Unfinished) -> None:
    jobs.attempt(lambda: discard_unfinished(build.name))


# ---------------------------------------------------------------- the list


def _list() -> None:
    st.subheader("Your corpora", anchor=False)
    names = sorted(corpora(), key=lambda name: (name == MEDLINE, name))  # their own before the one that is shipped
    damaged = _damaged()
    for name in names:
        if atlases := atlases_of(name):  # another session may have deleted it
            _one(atlases)
    for name, told in damaged:
        with st.container(border=True):
            st.error(f"{escaped(name)}: {escaped(told)}", icon=":material/broken_image:")
    if names == [MEDLINE]:
        st.caption("This one is shipped with the app. Bring your own papers: upload files, fetch a query, or import.")


def _one(atlases: Sequence[Manifest]) -> None:
    first = atlases[0]
    due = next((told for one in atlases if (told := rebuild_due(one))), "")

    def actions() -> None:
        jobs.way_to(first, label="Explore")
        dialogs = DIALOGS_OF_THE_DEFAULT if first.corpus == MEDLINE else DIALOGS
        chosen = st.menu_button(
            "More", [name for name in dialogs if name != REBUILD or due], key=f"more-{first.corpus}"
        )
        if chosen:
            dialogs[chosen](first.corpus)

    dark = st.context.theme.type == "dark"
    corpus_card(
        atlases,
        thumbnail=_thumbnail(first.name, first.folder, dark, first),
        bytes=sum(disk_use(one.name) for one in atlases),
        due=due,
        actions=actions,
    )


@st.cache_data(max_entries=256, show_spinner=False)
def _thumbnail(name: str, build: str, dark: bool, _manifest: Manifest) -> str:  # noqa: ARG001
    return thumbnail(_manifest, palette=DARK if dark else LIGHT)


def _damaged() -> list[tuple[str, str]]:
    """Atlases whose manifest cannot be read, with what is wrong."""
    found = []
    for name in paths.atlas_names():
        try:
            store.read_manifest(name)
        except CociteAtlasError as error:
            found.append((name, str(error)))
    return found
