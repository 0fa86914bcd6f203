"""New corpora on the Corpora page: from files, from a query or from an archive, built in the background."""

from collections.abc import Callable

import streamlit as st

from components.atlas.corpora import free_name
from components.atlas.encoder_options import usable_encoders
from components.atlas.manifest import MAX_TITLE_CHARS
from components.encoder.catalogue import EMBEDDED
from components.jobs import runner
from components.jobs.model import MAX_QUERY_CHARS, JobRequest, UploadedFile
from components.jobs.store import file_path, new_request_id, save_request, waiting_requests
from components.pages import frame, jobs, resources
from components.pages.uploads import Uploads, choose_files, clear_uploads, draw_previews, readable_files, round_key
from components.panels.jobs import duration
from components.search.markup import plural
from corpus.errors import CociteAtlasError
from corpus.readers.report import Preview
from corpus.sources.lookup import SOURCES
from corpus.text.markdown import escaped

_UPLOAD_MB, _ARCHIVE_MB = 200, 1024  # of one file; the first as in .streamlit/config.toml
_DEFAULT_LIMIT = 1_000  # papers of a query


def new_corpus() -> None:
    """Draw the three ways to make one."""
    for tab, draw in zip(
        st.tabs(["Upload files", "Run a query", "Import an archive"]),
        (_from_files, _from_query, _from_archive),
        strict=True,
    ):
        with tab:
            draw()


@st.fragment
def _from_files() -> None:
    key = "new"
    st.caption(
        "Exports of Zotero, Mendeley, EndNote, PubMed, Scopus or Web of Science: RIS, BibTeX, .nbib, MEDLINE XML, CSV, "
        "TSV, JSON Lines or Parquet. All but Parquet may be gzipped."
    )
    uploads = choose_files(
        "Files of references",
        key=key,
        help="Several files become one corpus, without duplicates. The format is recognised from the content. Up to "
        f"{_UPLOAD_MB} MB per file; for larger ones use `cocite build FILE`.",
    )
    keep = st.toggle(
        "Keep papers without an abstract",
        key=f"{key}-keep",
        help="They are found by their titles only. Otherwise they are left out and counted.",
    )
    vectors: list[str] = []
    draw_previews(
        uploads, key=key, keep_without_abstract=keep, extra=lambda preview: vectors.extend(preview.vector_columns)
    )
    files = readable_files(uploads, key=key)
    column, vector_encoder = _precomputed_vectors(vectors, files, key=key)
    suggested = _file_title(files)
    title = _title(suggested, key=key) or suggested
    encoder = vector_encoder if column else _encoder(key=key)
    if files and not column:
        _estimate(uploads, encoder)
    blocked = ""
    if not files:
        blocked = (
            "None of these files can be read. See the message on each." if uploads.files else "Choose a file first."
        )
    _build_button(
        "Build the corpus",
        lambda: JobRequest(
            id=uploads.request_id,
            kind="files",
            name=_free_name(title),
            title=title,
            encoder=encoder,
            files=files,
            keep_without_abstract=keep,
            vectors=column,
        ),
        key=key,
        blocked=blocked,
        left_out=len(uploads.files) + len(uploads.errors) - len(files) if files else 0,
    )


def _precomputed_vectors(columns: list[str], files: tuple[UploadedFile, ...], *, key: str) -> tuple[str, str]:
    """The chosen column of vectors, and the encoder that made them; both may be empty."""
    if not columns or len(files) != 1:
        return "", ""
    column = st.selectbox(
        "Vectors",
        ["", *columns],
        format_func=lambda name: f"Use the vectors in the column {name}" if name else "Encode the papers here",
        key=f"{key}-vectors",
    )
    if not column:
        return "", ""
    encoder = st.selectbox(
        "Encoder of these vectors",
        ["", *usable_encoders()],
        format_func=lambda name: name or "Unknown, or none of these",
        key=f"{key}-vectors-by",
        help="Without the encoder you cannot search with a text, but the map and “Use as query” work. A sample is "
        "encoded again to check it.",
    )
    return column, encoder


def _estimate(uploads: Uploads, encoder: str) -> None:
    """Say roughly how long it takes, from the sizes of the files and their first records."""
    papers = 0
    texts: list[tuple[str, str]] = []
    for name, preview in uploads.previews.items():
        path = file_path(uploads.request_id, name)
        if path.is_file():
            texts += [(paper.title, paper.abstract) for paper in preview.papers]
            papers += _estimated_papers(path.stat().st_size, preview)
    if not texts:
        return
    try:
        with st.spinner("Measuring the speed of this machine…"):
            seconds = resources.rough_cost(encoder, tuple(texts[:20]), papers)
    except CociteAtlasError as error:
        st.caption(escaped(str(error)))
        return
    rounded = round(papers, -max(0, len(str(papers)) - 2))  # two digits
    st.caption(f":material/schedule: About {rounded:,} papers: {duration(seconds)} on this machine.")


def _estimated_papers(size: int, preview: Preview) -> int:
    """How many papers a file of `size` bytes has, if all are as long as the first ones."""
    if not preview.papers:
        return 0
    chars = sum(len(p.title) + len(p.abstract) + sum(map(len, p.authors)) + 400 for p in preview.papers)
    return max(len(preview.papers), round(size * len(preview.papers) / chars))


@st.fragment
def _from_query() -> None:
    key = "query"
    st.caption(":material/public: Your query is sent to the service that you choose. Nothing else is sent.")
    name = st.selectbox("Source", list(SOURCES), format_func=lambda name: SOURCES[name].title, key=f"{key}-source")
    source = SOURCES[name]
    with st.form(f"{key}-form", border=False):
        query = st.text_input("Query", key=f"{key}-text", max_chars=MAX_QUERY_CHARS, placeholder="As on their website")
        st.caption(escaped(source.help))
        if st.form_submit_button("Count papers", icon=":material/tag:"):
            st.session_state[f"{key}-counted"] = None
            try:
                with st.spinner(f"Asking {escaped(source.title)}…"):
                    st.session_state[f"{key}-counted"] = (name, query, source.count(query, client=resources.client()))
            except CociteAtlasError as error:
                frame.show_error(error, icon="cloud_off")
    counted = st.session_state.get(f"{key}-counted")
    if not counted or counted[:2] != (name, query):
        return
    count = counted[2]
    if not count:
        st.info(f"{escaped(source.title)} has no papers for this query. Try other words.", icon=":material/search_off:")
        return
    st.markdown(f"**{escaped(source.title)} has {plural(count, 'paper')} for this query.**")
    limit = st.number_input(
        "Maximum number of papers",
        min_value=1,
        max_value=max(1, count),
        value=min(count, _DEFAULT_LIMIT),
        key=f"{key}-most",
    )
    title = _title(query, key=key) or query
    encoder = _encoder(key=key)
    _build_button(
        "Fetch and build",
        lambda: JobRequest(
            id=new_request_id(),
            kind="query",
            name=_free_name(title),
            title=title[:MAX_TITLE_CHARS],
            encoder=encoder,
            source=name,
            query=query,
            limit=int(limit),
        ),
        key=key,
    )


@st.fragment
def _from_archive() -> None:
    key = "archive"
    st.caption(
        "An archive that Cocite Atlas exported, here or elsewhere. Every file in it is checked first, and nothing that "
        "you have is replaced."
    )
    uploads = choose_files(
        "Archive",
        key=key,
        help=f"A .zip from “More”, “Export”. Up to {_ARCHIVE_MB} MB; for larger ones use `cocite import FILE`.",
        several=False,
        max_mb=_ARCHIVE_MB,
    )
    files = tuple(uploads.files.values())
    title = _file_title(files)
    _build_button(
        "Import",
        lambda: JobRequest(id=uploads.request_id, kind="import", name=_free_name(title), title=title, files=files),
        key=key,
        blocked="" if files else "Choose an archive first.",
    )


# Shared by the three


def _file_title(files: tuple[UploadedFile, ...]) -> str:
    return files[0].original_name.split(".")[0][:MAX_TITLE_CHARS] if files else ""


def _title(suggested: str, *, key: str) -> str:
    return st.text_input(
        "Name",
        key=round_key(key, "title"),
        max_chars=MAX_TITLE_CHARS,
        placeholder=suggested or "Name of the new corpus",
    ).strip()


def _encoder(*, key: str) -> str:
    return st.selectbox(
        "Encoder",
        usable_encoders(),
        format_func=lambda name: f"{name} (comes with the app)" if name == EMBEDDED else name,
        key=f"{key}-encoder",
        help="Encoders on this machine. To download another one, open the Encoders page of an existing corpus.",
    )


def _free_name(title: str) -> str:
    return free_name(title, taken=[request.name for request in waiting_requests()])


def _build_button(
    label: str, request: Callable[[], JobRequest], *, key: str, blocked: str = "", left_out: int = 0
) -> None:
    """Draw the button that starts a request. blocked: why it cannot be used. left_out: number of unreadable files."""
    if jobs.running():
        blocked = jobs.RUNNING_NOTE
    if st.button(label, type="primary", icon=":material/construction:", disabled=bool(blocked), key=f"{key}-build"):
        if jobs.attempt(lambda: runner.start(save_request(request()))):
            clear_uploads(key)
            st.session_state.pop(f"{key}-counted", None)
            # The status may be a screen above the button.
            st.toast("Started. See the status at the top of the page.", icon=":material/construction:")
        st.rerun()
    if left_out:
        st.caption(f":material/info: Without {plural(left_out, 'file')} that cannot be read.")
    st.caption(blocked or "Runs in the background; you can keep searching or close this page.")
