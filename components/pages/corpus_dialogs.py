"""What can be done with a corpus, each in a dialog: rename, add, remove, lay out again, export, delete."""

import html
import io
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from components.api.routes import ARCHIVE, download_path
from components.atlas import store
from components.atlas.corpora import atlases_of, delete_corpus, disk_use, rename_corpus
from components.atlas.manifest import MAX_TITLE_CHARS, Manifest
from components.atlas.map_state import rebuild_due
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from components.atlas.vectors_export import VECTOR_EXPORTS
from components.jobs import runner as background
from components.jobs.model import JobKind, JobRequest, UploadedFile
from components.jobs.store import add_file, new_request_id, save_request
from components.pages import jobs, resources
from components.pages.uploading import chosen, draw_previews, file_chooser, forget_uploads
from components.panels.encoder_card import size
from corpus.dedup import find_rows
from corpus.errors import CociteAtlasError
from corpus.export import EXPORTS
from corpus.readers.report import problems_csv
from corpus.text.markdown import escaped

_SHOWN = 8  # papers that are named before they are removed
_MOST_NAMED = 100_000  # characters of typed ids


def _called(corpus: str) -> str:
    """A corpus's title as Markdown; its name where it was deleted meanwhile."""
    found = atlases_of(corpus)
    return escaped(found[0].display_title if found else corpus)


def _begin(make: Callable[[], JobRequest]) -> None:
    """Ask for what `make` gives, begin it, and draw the whole page, which says what is refused: the dialog closes."""
    jobs.attempt(lambda: background.start(save_request(make())))
    st.rerun()


def _only_one() -> None:
    if jobs.runs():
        st.caption("Something is being built: this can be begun when it is done.")


# ---------------------------------------------------------------- rename, delete


@st.dialog("Rename", icon=":material/edit:")
def _rename(corpus: str) -> None:
    found = atlases_of(corpus)
    with st.form(f"rename-{corpus}", border=False):
        title = st.text_input(
            "Title", value=found[0].display_title if found else corpus, max_chars=MAX_TITLE_CHARS, key=f"title-{corpus}"
        )
        st.caption(f"Links to it stay as they are: they name it {escaped(corpus)}.")
        if st.form_submit_button("Rename", type="primary"):
            try:
                rename_corpus(corpus, title)
            except (CociteAtlasError, OSError) as error:
                st.error(escaped(str(error)), icon=":material/error:")
            else:
                st.rerun()


@st.dialog("Delete", icon=":material/delete:")
def _delete(corpus: str) -> None:
    found = atlases_of(corpus)
    papers = max((one.papers for one in found), default=0)
    by = f" and its atlases by {len(found)} encoders" if len(found) > 1 else ""
    freed = size(sum(disk_use(one.name) for one in found))
    st.markdown(f"Delete **{_called(corpus)}**, {papers:,} papers{by}? It frees {freed} and cannot be undone.")
    st.caption("An archive or an export that you downloaded stays yours.")
    with st.container(horizontal=True):
        if st.button("Delete it", type="primary", key=f"delete-it-{corpus}"):
            jobs.attempt(lambda: delete_corpus(corpus))
            if (st.query_params.get("atlas") or "") in {one.name for one in found}:
                st.query_params["atlas"] = MEDLINE
            st.rerun()
        if st.button("Keep it", key=f"keep-{corpus}"):
            st.rerun()


# ---------------------------------------------------------------- add, remove, lay out again


@st.dialog("Add papers", width="medium", icon=":material/library_add:")
def _add(corpus: str) -> None:
    st.markdown(f"To **{_called(corpus)}**. Papers that it has already are counted, and not added again.")
    key = f"add-{corpus}"
    here = file_chooser(
        "Files of references", key=key, help="RIS, BibTeX, PubMed, CSV, JSON Lines and Parquet files, up to 200 MB each"
    )
    keep = st.toggle("Keep papers without an abstract", key=f"{key}-keep")
    draw_previews(here, key=key, keep_without_abstract=keep, extra=lambda _preview: None)
    files = chosen(here, key=key)
    _only_one()
    if st.button("Add them", type="primary", disabled=not files or jobs.runs(), key=f"{key}-go"):
        staging = here.staging
        forget_uploads(key)
        _begin(lambda: _change(corpus, "add", id=staging, files=files, keep_without_abstract=keep))


@st.dialog("Remove papers", width="medium", icon=":material/playlist_remove:")
def _remove(corpus: str) -> None:
    st.markdown(f"From **{_called(corpus)}**, by their ids, PMIDs or DOIs: one a line, typed or in a text file.")
    key = f"remove-{corpus}"
    typed = st.text_area("Ids, PMIDs or DOIs", key=f"{key}-typed", height=120, max_chars=_MOST_NAMED)
    given = st.file_uploader("Or a text file of them", key=f"{key}-file", type=["txt", "csv"], max_upload_size=5)
    ids = _ids(typed + "\n" + (given.getvalue().decode("utf-8-sig", "replace") if given is not None else ""))
    if ids and atlases_of(corpus):
        try:
            found, unknown = _found(corpus, ids)
        except CociteAtlasError as error:
            st.error(escaped(str(error)), icon=":material/error:")
            return
        st.markdown(f"**{len(found):,} paper{'s' if len(found) != 1 else ''} would be removed**")
        for title in list(found.values())[:_SHOWN]:
            st.text(title)
        if len(found) > _SHOWN:
            st.text(f"… and {len(found) - _SHOWN:,} more")
        if unknown:
            st.caption(f"Not in this corpus: {escaped(', '.join(unknown[:_SHOWN]))}{' …' if unknown[_SHOWN:] else ''}")
        _only_one()
        if st.button("Remove them", type="primary", disabled=not found or jobs.runs(), key=f"{key}-go"):
            _begin(lambda: _removal(corpus, list(found)))


def _removal(corpus: str, ids: list[str]) -> JobRequest:
    staging = new_request_id()
    file = add_file(staging, "ids.txt", io.BytesIO("\n".join(ids).encode("utf-8", "replace")))
    return _change(corpus, "remove", id=staging, files=(file,))


def _ids(text: str) -> list[str]:
    """What stands on the lines, each once."""
    return list(dict.fromkeys(line.strip()[:1_000] for line in text.splitlines() if line.strip()))


def _found(corpus: str, ids: list[str]) -> tuple[dict[str, str], list[str]]:
    """The papers of a corpus's first atlas that are named by id, PMID or DOI, id → title; and what names none."""
    papers = resources.atlas(atlases_of(corpus)[0].name).papers
    rows, unknown = find_rows(papers, ids)
    named = papers.select(["id", "title"]).take(pa.array(rows, type=pa.int64()))
    return dict(zip(named["id"].to_pylist(), named["title"].to_pylist(), strict=True)), unknown


@st.dialog("Lay out the map again", icon=":material/map:")
def _rebuild(corpus: str) -> None:
    for told in dict.fromkeys(rebuild_due(one) for one in atlases_of(corpus)):
        if told:
            st.markdown(escaped(told))
    st.markdown("Every point may move, and regions get new names. Nothing is encoded again: searches stay the same.")
    _only_one()
    if st.button("Lay it out again", type="primary", disabled=jobs.runs(), key=f"rebuild-{corpus}"):
        _begin(lambda: _change(corpus, "rebuild", id=new_request_id()))


def _change(
    corpus: str,
    kind: JobKind,
    *,
    id: str,
    files: tuple[UploadedFile, ...] = (),
    keep_without_abstract: bool = False,
) -> JobRequest:
    title = next((one.title for one in atlases_of(corpus)), "")
    return JobRequest(
        id=id, kind=kind, name=corpus, title=title, files=files, keep_without_abstract=keep_without_abstract
    )


# ---------------------------------------------------------------- export


@st.dialog("Export", width="medium", icon=":material/download:")
def _export(corpus: str) -> None:
    found = atlases_of(corpus)
    if not found:
        st.caption("It was deleted meanwhile.")
        return
    chosen = found[0]
    if len(found) > 1:
        name = st.selectbox(
            "By which encoder",
            [one.name for one in found],
            format_func=lambda name: next(one.encoder.label for one in found if one.name == name),
            key=f"export-{corpus}",
            help="The papers are the same; vectors, map and archive are this encoder's.",
        )
        chosen = next(one for one in found if one.name == name)
    try:
        with st.spinner("Checking its files…"):
            atlas = resources.atlas(chosen.name)
    except CociteAtlasError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    papers = {one.label: download_path(atlas, f"papers.{one.ending}") for one in EXPORTS.values()}
    _links(f"All {chosen.papers:,} papers" if chosen.papers > 1 else "Its one paper", papers)
    _links("Vectors and map", {one.label: download_path(atlas, one.ending) for one in VECTOR_EXPORTS.values()})
    _links("All of it as one file, to import elsewhere", {"Archive (zip)": download_path(atlas, ARCHIVE)})
    _report(chosen)


def _links(heading: str, links: Mapping[str, str]) -> None:
    """Downloads that the server streams: a file of a gigabyte never lies in its memory."""
    base = st.get_option("server.baseUrlPath").strip("/")
    root = f"/{base}" if base else ""
    anchors = "".join(
        f'<a href="{html.escape(root + address)}" download>{html.escape(label)}</a>' for label, address in links.items()
    )
    st.html(f'<div class="downloads"><span>{html.escape(heading)}</span>{anchors}</div>')


def _report(manifest: Manifest) -> None:
    """The records that were left out when it was read."""
    try:
        problems = store.read_problems(manifest)
    except CociteAtlasError as error:
        st.caption(escaped(str(error)))
        return
    if problems is None:
        return
    if not problems.num_rows:
        st.caption("Reading its files left no record out.")
        return
    kinds = pc.value_counts(problems["kind"]).to_pylist()
    told = ", ".join(f"{one['counts']:,} {_KINDS.get(one['values'], one['values'])}" for one in kinds)
    st.download_button(
        f"Report of the reading: {problems.num_rows:,} records",
        lambda: problems_csv(problems),
        f"{manifest.corpus}-reading.csv",
        "text/csv",
        icon=":material/fact_check:",
        on_click="ignore",
        key=f"report-{manifest.name}",
    )
    st.caption(escaped(told))


_KINDS = {
    "empty": "without a title or an abstract",
    "non_english": "not in English",
    "duplicate": "given twice, and merged",
    "damaged": "damaged",
}

REBUILD = "Lay out the map again"
DIALOGS: Mapping[str, Callable[[str], None]] = {
    "Rename": _rename,
    "Add papers": _add,
    "Remove papers": _remove,
    REBUILD: _rebuild,
    "Export": _export,
    "Delete": _delete,
}
DIALOGS_OF_THE_DEFAULT: Mapping[str, Callable[[str], None]] = {"Export": _export}
