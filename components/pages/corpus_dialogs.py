"""The dialogs of a corpus: rename, add papers, remove papers, lay out the map again, export, delete."""

import html
import io
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from components.atlas import store
from components.atlas.corpora import atlases_of, delete_corpus, disk_use, rename_corpus
from components.atlas.manifest import MAX_TITLE_CHARS, Manifest
from components.atlas.map_state import rebuild_due
from components.atlas.paths import DEFAULT_ATLAS
from components.atlas.vectors_export import VECTOR_EXPORTS
from components.jobs import runner
from components.jobs.model import JobKind, JobRequest, UploadedFile
from components.jobs.store import add_file, new_request_id, save_request
from components.pages import frame, jobs, resources
from components.pages.uploads import choose_files, clear_uploads, draw_previews, readable_files
from components.search.map_data import ARCHIVE, atlas_path
from components.search.markup import plural
from corpus.dedup import find_rows
from corpus.errors import CociteAtlasError
from corpus.export import EXPORTS
from corpus.io.files import format_bytes
from corpus.readers.report import problems_csv
from corpus.text.markdown import escaped

_MAX_NAMED = 8  # papers that are named before they are removed
_MAX_IDS_CHARS = 100_000
_PROBLEMS = {
    "empty": "without a title or abstract",
    "non_english": "not in English",
    "duplicate": "duplicates, merged",
    "damaged": "damaged",
}


def _title(corpus: str) -> str:
    """A corpus's title as Markdown; its name where it was deleted."""
    atlases = atlases_of(corpus)
    return escaped(atlases[0].display_title if atlases else corpus)


def _start(
    corpus: str,
    kind: JobKind,
    *,
    id: str = "",
    files: Callable[[str], tuple[UploadedFile, ...]] = lambda _: (),
    keep_without_abstract: bool = False,
) -> None:
    """Start a change of a corpus and close the dialog; errors are drawn on the page. files: of a request's id."""

    def work() -> None:
        request_id = id or new_request_id()
        title = next((atlas.title for atlas in atlases_of(corpus)), "")
        request = JobRequest(
            id=request_id,
            kind=kind,
            name=corpus,
            title=title,
            files=files(request_id),
            keep_without_abstract=keep_without_abstract,
        )
        runner.start(save_request(request))

    jobs.attempt(work)
    st.rerun()


def _note_if_running() -> None:
    if jobs.running():
        st.caption(jobs.RUNNING_NOTE)


@st.dialog("Rename", icon=":material/edit:")
def _rename(corpus: str) -> None:
    atlases = atlases_of(corpus)
    with st.form(f"rename-{corpus}", border=False):
        title = st.text_input(
            "Title",
            value=atlases[0].display_title if atlases else corpus,
            max_chars=MAX_TITLE_CHARS,
            key=f"title-{corpus}",
        )
        st.caption(f"Links use its name, {escaped(corpus)}, which does not change.")
        if st.form_submit_button("Rename", type="primary"):
            try:
                rename_corpus(corpus, title)
            except (CociteAtlasError, OSError) as error:
                frame.show_error(error)
            else:
                st.rerun()


@st.dialog("Delete", icon=":material/delete:")
def _delete(corpus: str) -> None:
    atlases = atlases_of(corpus)
    papers = max((atlas.papers for atlas in atlases), default=0)
    encoders = f" and its atlases with {len(atlases)} encoders" if len(atlases) > 1 else ""
    size = format_bytes(sum(disk_use(atlas.name) for atlas in atlases))
    st.markdown(
        f"Delete **{_title(corpus)}** ({plural(papers, 'paper')}){encoders}? This frees {size} and cannot be undone."
    )
    st.caption("Archives and exports that you downloaded are not deleted.")
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", key=f"delete-{corpus}"):
            jobs.attempt(lambda: delete_corpus(corpus))
            if (st.query_params.get("atlas") or "") in {atlas.name for atlas in atlases}:
                st.query_params["atlas"] = DEFAULT_ATLAS
            st.rerun()
        if st.button("Cancel", key=f"keep-{corpus}"):
            st.rerun()


@st.dialog("Add papers", width="medium", icon=":material/library_add:")
def _add(corpus: str) -> None:
    st.markdown(f"To **{_title(corpus)}**. Papers that it already has are counted, not added again.")
    key = f"add-{corpus}"
    uploads = choose_files(
        "Files of references", key=key, help="RIS, BibTeX, PubMed, CSV, JSON Lines and Parquet files, up to 200 MB each"
    )
    keep = st.toggle("Keep papers without an abstract", key=f"{key}-keep")
    draw_previews(uploads, key=key, keep_without_abstract=keep)
    files = readable_files(uploads, key=key)
    _note_if_running()
    if st.button("Add papers", type="primary", disabled=not files or jobs.running(), key=f"{key}-go"):
        clear_uploads(key)
        _start(corpus, "add", id=uploads.request_id, files=lambda _: files, keep_without_abstract=keep)


@st.dialog("Remove papers", width="medium", icon=":material/playlist_remove:")
def _remove(corpus: str) -> None:
    st.markdown(f"From **{_title(corpus)}**. Give ids, PMIDs or DOIs, one per line.")
    key = f"remove-{corpus}"
    typed = st.text_area("Ids, PMIDs or DOIs", key=f"{key}-typed", height=120, max_chars=_MAX_IDS_CHARS)
    file = st.file_uploader("Or a text file", key=f"{key}-file", type=["txt", "csv"], max_upload_size=5)
    text = typed + "\n" + (file.getvalue().decode("utf-8-sig", "replace") if file is not None else "")
    ids = list(dict.fromkeys(line.strip()[:1_000] for line in text.splitlines() if line.strip()))
    if not ids or not atlases_of(corpus):
        return
    try:
        papers = resources.atlas(atlases_of(corpus)[0].name).papers
    except CociteAtlasError as error:
        frame.show_error(error)
        return
    rows, unknown = find_rows(papers, ids)
    found = papers.select(["id", "title"]).take(pa.array(rows, type=pa.int64()))
    st.markdown(f"**{plural(len(rows), 'paper')} will be removed**")
    for title in found["title"].to_pylist()[:_MAX_NAMED]:
        st.text(title)
    if len(rows) > _MAX_NAMED:
        st.text(f"… and {len(rows) - _MAX_NAMED:,} more")
    if unknown:
        st.caption(
            f"Not in this corpus: {escaped(', '.join(unknown[:_MAX_NAMED]))}{' …' if unknown[_MAX_NAMED:] else ''}"
        )
    _note_if_running()
    if st.button("Remove papers", type="primary", disabled=not rows or jobs.running(), key=f"{key}-go"):
        content = "\n".join(found["id"].to_pylist()).encode("utf-8", "replace")
        _start(corpus, "remove", files=lambda id: (add_file(id, "ids.txt", io.BytesIO(content)),))


@st.dialog("Lay out the map again", icon=":material/map:")
def _rebuild(corpus: str) -> None:
    for reason in dict.fromkeys(filter(None, map(rebuild_due, atlases_of(corpus)))):
        st.markdown(escaped(reason))
    st.markdown(
        "All points may move, and regions get new names. Nothing is encoded again: search results do not change."
    )
    _note_if_running()
    if st.button("Lay out the map", type="primary", disabled=jobs.running(), key=f"rebuild-{corpus}"):
        _start(corpus, "rebuild")


@st.dialog("Export", width="medium", icon=":material/download:")
def _export(corpus: str) -> None:
    labels = {manifest.name: manifest.encoder.label for manifest in atlases_of(corpus)}
    if not labels:
        st.caption("This corpus was deleted.")
        return
    name = next(iter(labels))
    if len(labels) > 1:
        name = st.selectbox(
            "Encoder",
            list(labels),
            format_func=labels.__getitem__,
            key=f"export-{corpus}",
            help="The papers are the same; vectors, map and archive are those of this encoder.",
        )
    try:
        with st.spinner("Checking its files…"):
            atlas = resources.atlas(name)
    except CociteAtlasError as error:
        frame.show_error(error)
        return
    base = st.get_option("server.baseUrlPath").strip("/")
    root = f"/{base}" if base else ""
    # Links that the server streams: a file of a gigabyte is never in its memory as a whole.
    for heading, files in (
        (plural(len(atlas), "paper"), {export.label: f"papers.{export.ending}" for export in EXPORTS.values()}),
        ("Vectors and map", {export.label: export.ending for export in VECTOR_EXPORTS.values()}),
        ("Everything in one file, to import elsewhere", {"Archive (zip)": ARCHIVE}),
    ):
        links = "".join(
            f'<a href="{html.escape(root + atlas_path(atlas, file))}" download>{html.escape(label)}</a>'
            for label, file in files.items()
        )
        st.html(f'<div class="downloads"><span>{html.escape(heading)}</span>{links}</div>')
    _reading_report(atlas.manifest)


def _reading_report(manifest: Manifest) -> None:
    """The records that were left out when the files were read."""
    try:
        problems = store.read_problems(manifest)
    except CociteAtlasError as error:
        st.caption(escaped(str(error)))
        return
    if problems is None:
        return
    if not problems.num_rows:
        st.caption("All records of its files were read.")
        return
    st.download_button(
        f"Records left out: {problems.num_rows:,}",
        lambda: problems_csv(problems),
        f"{manifest.corpus}-reading.csv",
        "text/csv",
        icon=":material/fact_check:",
        on_click="ignore",
        key=f"report-{manifest.name}",
    )
    counts = {count["values"]: count["counts"] for count in pc.value_counts(problems["kind"]).to_pylist()}
    st.caption(escaped(", ".join(f"{count:,} {_PROBLEMS.get(kind, kind)}" for kind, count in counts.items())))


REBUILD = "Lay out the map again"
DIALOGS: Mapping[str, Callable[[str], None]] = {
    "Rename": _rename,
    "Add papers": _add,
    "Remove papers": _remove,
    REBUILD: _rebuild,
    "Export": _export,
    "Delete": _delete,
}
DEFAULT_CORPUS_DIALOGS: Mapping[str, Callable[[str], None]] = {"Export": _export}
