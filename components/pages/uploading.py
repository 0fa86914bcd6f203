"""Files that a person chooses: copied out of the server's memory, looked into, their columns mapped.

What was chosen belongs to the session, by the key of the place that asks for it (a new corpus, papers to add).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import streamlit as st

from components.jobs.model import UploadedFile
from components.jobs.store import add_file, file_path, new_request_id, remove_file
from components.panels.file_preview import chosen_columns, file_preview, set_columns, told_columns
from corpus.errors import CociteAtlasError
from corpus.readers import preview
from corpus.readers.report import Preview
from corpus.text.markdown import escaped

_HEAD = 20  # records that are looked into


@dataclass
class Uploads:
    """What a session has chosen in one place. files, refused: by the id that Streamlit gave an upload.

    names: all that were ever given in this staging. What is remembered of a file goes by its name, so none is given
    again when a file was taken back.
    """

    staging: str = ""
    files: dict[str, UploadedFile] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    previews: dict[str, Preview] = field(default_factory=dict)  # by name, those that could be read
    names: set[str] = field(default_factory=set)


def uploads(key: str) -> Uploads:
    """What this session has chosen in a place."""
    return cast(Uploads, st.session_state.setdefault(f"{key}-uploads", Uploads()))


def forget_uploads(key: str) -> None:
    """Let go of what was chosen: it was asked for, or thrown away. The place is empty when it is drawn next."""
    st.session_state.pop(f"{key}-uploads", None)
    st.session_state[f"{key}-round"] = st.session_state.get(f"{key}-round", 0) + 1


def round_key(key: str, field: str) -> str:
    """The key of a widget that is empty again after `forget_uploads`: an uploader cannot be emptied otherwise."""
    return f"{key}-{field}-{st.session_state.get(f'{key}-round', 0)}"


def file_chooser(label: str, *, key: str, help: str, several: bool = True, most_mb: int | None = None) -> Uploads:
    """Draw where files are chosen, and copy those that are new. What is refused is said below it."""
    found = st.file_uploader(
        label,
        accept_multiple_files=several,
        key=round_key(key, "files"),
        max_upload_size=most_mb,
        help=help,
    )
    here = uploads(key)
    given = found if isinstance(found, list) else [found] if found is not None else []
    _copy(here, given)
    for refusal in here.refused.values():
        st.error(escaped(refusal), icon=":material/error:")
    return here


def _copy(here: Uploads, given: list[Any]) -> None:
    """Stage what was chosen since, and drop what was taken back."""
    kept = {one.file_id for one in given}
    for gone in set(here.files) - kept:
        file = here.files.pop(gone)
        here.previews.pop(file.name, None)
        remove_file(here.staging, file.name)
    here.refused = {id: told for id, told in here.refused.items() if id in kept}
    for one in given:
        known = here.files.get(one.file_id)
        if one.file_id in here.refused or (known and file_path(here.staging, known.name).is_file()):
            continue
        try:
            if not here.staging or not file_path(here.staging, "x").parent.is_dir():
                here.staging, here.files, here.previews = new_request_id(), {}, {}
            one.seek(0)
            file = add_file(here.staging, one.name, one, taken=here.names)
            here.files[one.file_id] = file
            here.names.add(file.name)
        except (CociteAtlasError, OSError) as error:
            here.refused[one.file_id] = str(error)


def draw_previews(here: Uploads, *, key: str, keep_without_abstract: bool, extra: Callable[[Preview], None]) -> None:
    """Draw the files that were chosen, each with its first records. extra: draws more about one that can be read."""
    for file in here.files.values():
        with st.container(border=True, key=f"{key}-preview-{file.name.replace('.', '-').replace(' ', '-')}"):
            st.markdown(f":material/description: **{escaped(file.original_name)}**")
            place = f"{key}-{here.staging}-{file.name}"
            try:
                found = _preview(here, file, place)
            except CociteAtlasError as error:
                here.previews.pop(file.name, None)
                st.error(escaped(str(error)), icon=":material/error:")
                continue
            here.previews[file.name] = found
            file_preview(
                found,
                called=file.original_name,
                key=place,
                columns=chosen_columns(_state(), key=place),
                keep_without_abstract=keep_without_abstract,
            )
            extra(found)


def chosen(here: Uploads, *, key: str) -> tuple[UploadedFile, ...]:
    """The files that can be read, with what was chosen for the columns of each."""
    found = []
    for file in here.files.values():
        if (seen := here.previews.get(file.name)) is None:
            continue
        columns = chosen_columns(_state(), key=f"{key}-{here.staging}-{file.name}") if seen.headers else {}
        if seen.papers or "title" in columns:
            told = told_columns(columns, recognised=_looked_into(here.staging, file.name, ()).columns)
            found.append(file.model_copy(update={"columns": told if seen.headers else {}}))
    return tuple(found)


def _state() -> dict[str, object]:
    return {str(key): value for key, value in st.session_state.items()}


def _preview(here: Uploads, file: UploadedFile, place: str) -> Preview:
    """The first records by the columns as they are chosen now; those that were recognised are chosen at first."""
    recognised = _looked_into(here.staging, file.name, ())
    if not recognised.headers:
        return recognised
    columns = dict(recognised.columns)
    if st.session_state.setdefault(f"{place}-asked", False):
        columns = chosen_columns(_state(), key=place)
    st.session_state[f"{place}-asked"] = True
    st.session_state.update(set_columns(columns, key=place))
    told = told_columns(columns, recognised=recognised.columns)
    return _looked_into(here.staging, file.name, tuple(sorted(told.items())))


@st.cache_data(max_entries=64, show_spinner="Looking into the file…")
def _looked_into(staging: str, name: str, columns: tuple[tuple[str, str], ...]) -> Preview:
    """The head of a staged file, read once. Raises UnreadableFileError."""
    return preview(file_path(staging, name), count=_HEAD, columns=dict(columns) or None)
