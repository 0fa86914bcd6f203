"""A new corpus: from files, from a query or from an archive, looked at before it is built in the background."""

from pathlib import Path

import streamlit as st

from components.atlas.corpora import free_name
from components.atlas.encoder_options import usable_encoders
from components.atlas.manifest import MAX_TITLE_CHARS
from components.encoder.catalogue import EMBEDDED
from components.jobs import runner as background
from components.jobs import store as staging
from components.jobs.model import MAX_QUERY_CHARS, JobRequest, UploadedFile
from components.jobs.store import new_request_id, save_request, waiting_requests
from components.pages import jobs, resources
from components.pages.uploading import Uploads, chosen, draw_previews, file_chooser, forget_uploads, round_key
from components.panels.job_status import duration
from corpus.errors import CociteAtlasError
from corpus.readers.report import Preview
from corpus.sources.lookup import SOURCES
from corpus.text.markdown import escaped

_UPLOAD_MB, _ARCHIVE_MB = 200, 1024  # of one file; the first is .streamlit/config.toml's, too
_MOST = 1_000  # papers of a query, unless they save_request for more
_FORMATS = (
    "What Zotero, Mendeley, EndNote, PubMed, Scopus and Web of Science export: RIS, BibTeX, .nbib, MEDLINE XML, CSV, "
    "TSV, JSON Lines or Parquet. All but Parquet may be gzip."
)


def new_corpus() -> None:
    """Draw the ways to make one. All three keep what was typed while another is looked at."""
    files, query, archive = st.tabs(["Upload files", "From a query", "Import an archive"])
    with files:
        _from_files()
    with query:
        _from_query()
    with archive:
        _from_archive()


# ---------------------------------------------------------------- files


@st.fragment
def _from_files() -> None:
    key = "new"
    st.caption(_FORMATS)
    here = file_chooser(
        "Files of references",
        key=key,
        help="Several are merged into one corpus, papers that they share once. The format is told by the content. "
        f"Up to {_UPLOAD_MB} MB a file; for larger ones: `cocite build FILE`.",
    )
    keep = st.toggle(
        "Keep papers without an abstract",
        key=f"{key}-keep",
        help="They are found by their titles alone. Otherwise they are left out, and counted.",
    )
    vectors: list[str] = []
    draw_previews(
        here, key=key, keep_without_abstract=keep, extra=lambda preview: vectors.extend(preview.vector_columns)
    )
    files = chosen(here, key=key)
    column, own_encoder = _own_vectors(vectors, files, key=key)
    title = _title(_suggested(files), key=key)
    encoder = own_encoder if column else _encoder(key=key)
    if files and not column:
        _estimate(here, encoder)
    _ready(
        JobRequest(
            id=here.staging,
            kind="files",
            name=_free(title or _suggested(files)),
            title=title or _suggested(files),
            encoder=encoder,
            files=files,
            keep_without_abstract=keep,
            vectors=column,
        ),
        blocked=""
        if files
        else "Nothing can be built of these files yet: each says why."
        if here.files
        else "Choose a file first.",
        left_out=len(here.files) + len(here.refused) - len(files) if files else 0,
        key=key,
        label="Build the corpus",
    )


def _suggested(files: tuple[UploadedFile, ...]) -> str:
    return files[0].original_name.split(".")[0][:MAX_TITLE_CHARS] if files else ""


def _own_vectors(columns: list[str], files: tuple[UploadedFile, ...], *, key: str) -> tuple[str, str]:
    """The column of vectors to take as they are, and the encoder that made them; both may be empty."""
    if not columns or len(files) != 1:
        return "", ""
    column = st.selectbox(
        "Vectors",
        ["", *columns],
        format_func=lambda name: f"Take those of the column {name}" if name else "Encode the papers here",
        key=f"{key}-vectors",
    )
    if not column:
        return "", ""
    encoder = st.selectbox(
        "What made these vectors",
        ["", *usable_encoders()],
        format_func=lambda name: name or "I do not know, or none of these",
        key=f"{key}-vectors-by",
        help="Without it, no text can be searched with: the map and “Use as query” work. A sample is encoded again to "
        "see that it is the right one.",
    )
    return column, encoder


def _estimate(here: Uploads, encoder: str) -> None:
    """How long it takes, roughly: by the size of the files and of their first records."""
    papers = 0
    texts: list[tuple[str, str]] = []
    for path, preview in _seen(here):
        texts += [(paper.title, paper.abstract) for paper in preview.papers]
        papers += _guessed(path.stat().st_size, preview)
    if not texts:
        return
    try:
        with st.spinner("Measuring how fast this machine is…"):
            seconds = resources.rough_cost(encoder, tuple(texts[:20]), papers)
    except CociteAtlasError as error:
        st.caption(escaped(str(error)))
        return
    st.caption(f":material/schedule: Some {_rounded(papers)} papers: {duration(seconds)} on this machine, roughly.")


def _seen(here: Uploads) -> list[tuple[Path, Preview]]:
    return [
        (staging.file_path(here.staging, name), preview)
        for name, preview in here.previews.items()
        if staging.file_path(here.staging, name).is_file()
    ]


def _guessed(size: int, preview: Preview) -> int:
    """How many papers a file of so many bytes holds, if all are as long as the first ones."""
    if not preview.papers:
        return 0
    each = sum(len(p.title) + len(p.abstract) + sum(map(len, p.authors)) + 400 for p in preview.papers)
    return max(len(preview.papers), round(size / (each / len(preview.papers))))


def _rounded(count: int) -> str:
    """A guess with no more digits than it deserves."""
    digits = max(0, len(str(count)) - 2)
    return f"{round(count, -digits):,}"


# ---------------------------------------------------------------- a query


@st.fragment
def _from_query() -> None:
    key = "query"
    st.caption(
        ":material/public: Your query leaves this machine, for the service that you choose, and nothing else does: "
        "no paper, no pasted text."
    )
    name = st.selectbox("Source", list(SOURCES), format_func=lambda name: SOURCES[name].title, key=f"{key}-source")
    source = SOURCES[name]
    with st.form(f"{key}-form", border=False):
        query = st.text_input(
            "Query", key=f"{key}-text", max_chars=MAX_QUERY_CHARS, placeholder="As you would type it there"
        )
        st.caption(escaped(source.help))
        if st.form_submit_button("Count the papers", icon=":material/tag:"):
            st.session_state[f"{key}-counted"] = None
            try:
                with st.spinner(f"Asking {escaped(source.title)}…"):
                    st.session_state[f"{key}-counted"] = (name, query, source.count(query, client=resources.client()))
            except CociteAtlasError as error:
                st.error(escaped(str(error)), icon=":material/cloud_off:")
    counted = st.session_state.get(f"{key}-counted")
    if not counted or counted[:2] != (name, query):
        return
    count = counted[2]
    if not count:
        st.info(f"{escaped(source.title)} has no paper for this. Try other words.", icon=":material/search_off:")
        return
    st.markdown(f"**{escaped(source.title)} has {count:,} paper{'s' if count != 1 else ''} for this.**")
    most = st.number_input(
        "How many at most", min_value=1, max_value=max(1, count), value=min(count, _MOST), key=f"{key}-most"
    )
    title = _title(query, key=key)
    encoder = _encoder(key=key)
    _ready(
        JobRequest(
            id="",
            kind="query",
            name=_free(title or query),
            title=(title or query)[:MAX_TITLE_CHARS],
            encoder=encoder,
            source=name,
            query=query,
            limit=int(most),
        ),
        blocked="",
        key=key,
        label="Fetch and build",
    )


# ---------------------------------------------------------------- an archive


@st.fragment
def _from_archive() -> None:
    key = "archive"
    st.caption(
        "An archive that Cocite Atlas wrote, here or elsewhere. Every file in it is checked before it is used, and "
        "nothing that is here is replaced."
    )
    here = file_chooser(
        "Archive",
        key=key,
        help=f"A .zip from “More”, “Export”. Up to {_ARCHIVE_MB} MB; for larger ones: `cocite import FILE`.",
        several=False,
        most_mb=_ARCHIVE_MB,
    )
    files = tuple(here.files.values())
    suggested = _suggested(files)
    _ready(
        JobRequest(id=here.staging, kind="import", name=_free(suggested), title=suggested, files=files),
        blocked="" if files else "Choose an archive first.",
        key=key,
        label="Import it",
    )


# ---------------------------------------------------------------- what all three need


def _title(suggested: str, *, key: str) -> str:
    return st.text_input(
        "Name",
        key=round_key(key, "title"),
        max_chars=MAX_TITLE_CHARS,
        placeholder=suggested or "What this corpus is called",
    ).strip()


def _encoder(*, key: str) -> str:
    return st.selectbox(
        "Encoder",
        usable_encoders(),
        format_func=lambda name: f"{name} (comes with the app)" if name == EMBEDDED else name,
        key=f"{key}-encoder",
        help="Those that are on this machine. Others are fetched on the Encoders page, for a corpus that is there.",
    )


def _free(title: str) -> str:
    return free_name(title, taken=[one.name for one in waiting_requests()])


def _ready(staged: JobRequest, *, blocked: str, key: str, label: str, left_out: int = 0) -> None:
    """The button that begins it, and why it cannot be pressed. left_out: files that cannot be read."""
    if jobs.runs():
        blocked = "Something is under way, as the top of this page says: this can be begun when it is done."
    if st.button(label, type="primary", icon=":material/construction:", disabled=bool(blocked), key=f"{key}-build"):
        _begin(staged, key=key)
    if left_out:
        files = "1 of the files" if left_out == 1 else f"{left_out} of the files"
        st.caption(f":material/info: Without {files} above, which cannot be read yet.")
    st.caption(blocked or "In the background: you can close this page, and search meanwhile.")


def _begin(staged: JobRequest, *, key: str) -> None:
    def begin() -> None:
        ready = staged if staged.id else staged.model_copy(update={"id": new_request_id()})
        background.start(save_request(ready))

    if jobs.attempt(begin):
        forget_uploads(key)
        st.session_state.pop(f"{key}-counted", None)
        # The button may be a screen below the place where the job tells of itself.
        st.toast("It has begun. The top of this page says how far it is.", icon=":material/construction:")
    st.rerun()
