"""Uploaded files: copied to disk, previewed, their columns mapped. They belong to a session and a place on a page."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import streamlit as st

from components.jobs.model import UploadedFile
from components.jobs.store import add_file, file_path, new_request_id, remove_file
from components.pages import frame
from components.panels.files import changed_columns, chosen_columns, column_state, file_preview
from corpus.errors import CociteAtlasError
from corpus.readers import preview
from corpus.readers.report import Preview
from corpus.text.markdown import escaped

_PREVIEWED_RECORDS = 20


@dataclass
class Uploads:
    """The files that a session has chosen in one place, copied into the folder of a request.

    files, errors: by Streamlit's id of an upload. previews: by name, of readable files. names: all that were ever
    used: widgets and caches go by a file's name, so a name is not used again.
    """

    request_id: str = ""
    files: dict[str, UploadedFile] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    previews: dict[str, Preview] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


def clear_uploads(key: str) -> None:
    """Empty a place: its files were used. They stay on disk with their request."""
    st.session_state.pop(f"{key}-uploads", None)
    st.session_state[f"{key}-round"] = st.session_state.get(f"{key}-round", 0) + 1


def round_key(key: str, field: str) -> str:
    """The key of a widget that `clear_uploads` empties, by giving it another key."""
    return f"{key}-{field}-{st.session_state.get(f'{key}-round', 0)}"


def choose_files(label: str, *, key: str, help: str, several: bool = True, max_mb: int | None = None) -> Uploads:
    """Draw a file chooser and copy new files. Errors are drawn below it."""
    chosen = st.file_uploader(
        label, accept_multiple_files=several, key=round_key(key, "files"), max_upload_size=max_mb, help=help
    )
    uploads = cast(Uploads, st.session_state.setdefault(f"{key}-uploads", Uploads()))
    copy_files(uploads, chosen if isinstance(chosen, list) else [chosen] if chosen is not None else [])
    for error in uploads.errors.values():
        frame.show_error(error)
    return uploads


def copy_files(uploads: Uploads, chosen: list[Any]) -> None:
    """Copy files that were chosen since, and delete those that were taken back."""
    ids = {file.file_id for file in chosen}
    for gone in set(uploads.files) - ids:
        file = uploads.files.pop(gone)
        uploads.previews.pop(file.name, None)
        remove_file(uploads.request_id, file.name)
    uploads.errors = {id: error for id, error in uploads.errors.items() if id in ids}
    for upload in chosen:
        known = uploads.files.get(upload.file_id)
        if upload.file_id in uploads.errors or (known and file_path(uploads.request_id, known.name).is_file()):
            continue
        try:
            if not uploads.request_id or not file_path(uploads.request_id, "x").parent.is_dir():
                uploads.request_id, uploads.files, uploads.previews = new_request_id(), {}, {}
            upload.seek(0)
            file = add_file(uploads.request_id, upload.name, upload, taken=uploads.names)
            uploads.files[upload.file_id] = file
            uploads.names.add(file.name)
        except (CociteAtlasError, OSError) as error:
            uploads.errors[upload.file_id] = str(error)


def draw_previews(
    uploads: Uploads,
    *,
    key: str,
    keep_without_abstract: bool,
    extra: Callable[[Preview], None] = lambda _: None,
) -> None:
    """Draw the first records of each file. extra: draws more on a readable file."""
    for file in uploads.files.values():
        with st.container(border=True, key=f"{key}-preview-{file.name.replace('.', '-').replace(' ', '-')}"):
            st.markdown(f":material/description: **{escaped(file.original_name)}**")
            widgets = _widgets_key(uploads, file, key)
            try:
                found = _preview(uploads, file, widgets)
            except CociteAtlasError as error:
                uploads.previews.pop(file.name, None)
                frame.show_error(error)
                continue
            uploads.previews[file.name] = found
            file_preview(
                found,
                name=file.original_name,
                key=widgets,
                columns=_chosen_columns(widgets),
                keep_without_abstract=keep_without_abstract,
            )
            extra(found)


def readable_files(uploads: Uploads, *, key: str) -> tuple[UploadedFile, ...]:
    """The files that can be read, each with its chosen columns."""
    readable = []
    for file in uploads.files.values():
        if (seen := uploads.previews.get(file.name)) is None:
            continue
        columns = _chosen_columns(_widgets_key(uploads, file, key)) if seen.headers else {}
        if seen.papers or "title" in columns:
            recognised = _read_preview(uploads.request_id, file.name, ()).columns
            changed = changed_columns(columns, recognised=recognised) if seen.headers else {}
            readable.append(file.model_copy(update={"columns": changed}))
    return tuple(readable)


def _widgets_key(uploads: Uploads, file: UploadedFile, key: str) -> str:
    return f"{key}-{uploads.request_id}-{file.name}"


def _chosen_columns(key: str) -> dict[str, str]:
    return chosen_columns({str(name): value for name, value in st.session_state.items()}, key=key)


def _preview(uploads: Uploads, file: UploadedFile, key: str) -> Preview:
    """The first records with the chosen columns; at first, the recognised columns are chosen."""
    recognised = _read_preview(uploads.request_id, file.name, ())
    if not recognised.headers:
        return recognised
    columns = _chosen_columns(key) if st.session_state.get(f"{key}-asked") else dict(recognised.columns)
    st.session_state[f"{key}-asked"] = True
    st.session_state.update(column_state(columns, key=key))
    changed = changed_columns(columns, recognised=recognised.columns)
    return _read_preview(uploads.request_id, file.name, tuple(sorted(changed.items())))


@st.cache_data(max_entries=64, show_spinner="Reading the file…")
def _read_preview(request_id: str, name: str, columns: tuple[tuple[str, str], ...]) -> Preview:
    """The first records of a file, cached. Raises UnreadableFileError."""
    return preview(file_path(request_id, name), count=_PREVIEWED_RECORDS, columns=dict(columns) or None)
