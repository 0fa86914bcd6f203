"""Stored requests: uploads, queries and changes of a corpus that wait. Only this module uses <home>/.staged/.

<home>/.staged/<id>/request.json  the request; missing while files are being chosen
<home>/.staged/<id>/files/…       the files, under safe names
<home>/.staged/<id>/work/…        what the job keeps to resume
"""

import re
import secrets
import shutil
import stat
import time
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import filelock
from pydantic import ValidationError

from components.atlas.manifest import MAX_TITLE_CHARS
from components.atlas.paths import FOLDER, NoSuchAtlas, home
from components.jobs.model import MAX_FILES, SAFE_NAME, JobRequest, UploadedFile
from corpus.errors import CociteAtlasError
from corpus.io.files import beside, write_text

MAX_FILE_BYTES = 2**30  # what a reader accepts; a browser's upload may be smaller (.streamlit/config.toml)
MAX_TOTAL_BYTES = 2 * 2**30
KEPT_DAYS = 30  # a request that nobody resumes
_CHOSEN_DAYS = 2  # files without a request: somebody looked at a preview, and left
_REQUEST, _FILES, _LOCK = "request.json", "files", ".lock"
_MAX_REQUEST_BYTES = 512 * 1024  # a hundred files with their columns have a tenth
_CHUNK = 2**20
# Names of devices on Windows, whatever follows the first dot.
_DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")


class NoSuchRequest(CociteAtlasError):
    """No request is stored under that id, or it cannot be trusted."""


class UploadTooLarge(CociteAtlasError):
    """Too many bytes or files."""


class RequestBusy(CociteAtlasError):
    """Another process is working on the request."""


class Readable(Protocol):
    """A file that is copied part by part."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


def new_request_id() -> str:
    """The id of a new, empty request. Raises OSError."""
    id = secrets.token_hex(8)
    (_folder(id) / _FILES).mkdir(parents=True)
    return id


def add_file(id: str, original_name: str, content: Readable, *, taken: Collection[str] = ()) -> UploadedFile:
    """Copy a file into a request. original_name: of unknown origin. taken: names that must not be used.

    Raises UploadTooLarge, leaving nothing of the file; NoSuchRequest; OSError where the disk is full.
    """
    folder = _folder(id) / _FILES
    if not folder.is_dir():
        raise NoSuchRequest("The chosen files are gone. Choose them again.")
    present = [path for path in folder.iterdir() if path.is_file()]
    if len(present) >= MAX_FILES:
        raise UploadTooLarge(f"{original_name}: at most {MAX_FILES} files can be chosen. Merge some of them.")
    room = MAX_TOTAL_BYTES - sum(path.stat().st_size for path in present)
    name = _free_name(safe_name(original_name), {other.lower() for other in (*taken, *(path.name for path in present))})
    copied = 0
    with beside(folder / name) as partial, partial.open("wb") as file:
        while part := content.read(_CHUNK):
            copied += len(part)
            if copied > MAX_FILE_BYTES:
                raise UploadTooLarge(f"{original_name} has more than {MAX_FILE_BYTES // 2**30} GiB. Split it.")
            if copied > room:
                raise UploadTooLarge(
                    f"{original_name}: the files together have more than {MAX_TOTAL_BYTES // 2**30} GiB. Build from "
                    "some of them, and add the others afterwards."
                )
            file.write(part)
    return UploadedFile(name=name, original_name=_one_line(original_name))


def remove_file(id: str, name: str) -> None:
    """Remove a file from a request; nothing where it is gone."""
    if re.fullmatch(SAFE_NAME, name):
        with suppress(OSError):
            (_folder(id) / _FILES / name).unlink(missing_ok=True)


def file_path(id: str, name: str) -> Path:
    """The path of a file of a request, existing or not. Raises NoSuchRequest for an unsafe name."""
    if not re.fullmatch(SAFE_NAME, name):
        raise NoSuchRequest(f"{name!r:.80} cannot be the name of a file of a request.")
    return _folder(id) / _FILES / name


def safe_name(name: str) -> str:
    """A file name that is valid on every system and never a path: ASCII letters, digits, '.', '_', '-' and spaces.

    >>> safe_name("../../Müller & Söhne.ris"), safe_name("C:\\\\docs\\\\nul.csv"), safe_name("文献.bib"), safe_name("…")
    ('Muller - Sohne.ris', 'file-nul.csv', 'file.bib', 'file')
    """
    last = re.split(r"[/\\]", name)[-1]
    decomposed = unicodedata.normalize("NFKD", last)
    ascii_name = "".join(character for character in decomposed if not unicodedata.combining(character))
    ascii_name = re.sub(r"[^A-Za-z0-9._ -]+", "-", ascii_name).strip(" .-_")
    stem, dot, ending = ascii_name.rpartition(".")
    if not dot:
        stem, ending = ascii_name, ""
    stem = stem[:80].rstrip(" .-_")
    if "." in last and ascii_name and not dot:  # nothing is left of the stem
        stem, ending = "", ascii_name
    stem, ending = stem or "file", ending[:10].rstrip(" .-_")
    safe = f"{stem}.{ending}" if ending else stem
    return f"file-{safe}" if _DEVICES.match(safe) else safe


def save_request(request: JobRequest) -> JobRequest:
    """Store a request: from now on it waits to be done. Raises NoSuchRequest where a file is missing; OSError."""
    folder = _folder(request.id)
    folder.mkdir(parents=True, exist_ok=True)
    request = request.model_copy(update={"title": _one_line(request.title)[:MAX_TITLE_CHARS]})
    write_text(folder / _REQUEST, request.model_dump_json(indent=1))
    stored = _read(folder)
    if stored is None:
        (folder / _REQUEST).unlink(missing_ok=True)
        raise NoSuchRequest(f"{request.title or request.name}: a file of the request is missing. Choose it again.")
    return stored


def read_request(id: str) -> JobRequest:
    """The request with an id. Raises NoSuchRequest."""
    request = _read(_folder(id))
    if request is None:
        raise NoSuchRequest(f"There is no request {id}. Start again on the Corpora page.")
    return request


def waiting_requests() -> list[JobRequest]:
    """All requests that wait to be done or resumed, the newest first; not those being worked on."""
    requests = [request for folder in _folders() if (request := _read(folder)) is not None and not _is_locked(folder)]
    return sorted(requests, key=lambda request: request.created, reverse=True)


def discard(id: str) -> None:
    """Delete a request and its files; nothing where it is gone. Raises RequestBusy."""
    folder = _folder(id)
    if folder.is_dir():
        with lock_request(id):
            (folder / _REQUEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def clear_old() -> None:
    """Delete requests that nobody has resumed for KEPT_DAYS."""
    for folder in _folders():
        days = KEPT_DAYS if (folder / _REQUEST).is_file() else _CHOSEN_DAYS
        with suppress(OSError, CociteAtlasError):
            newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
            if time.time() - newest > days * 86_400:
                discard(folder.name)


@contextmanager
def lock_request(id: str) -> Iterator[None]:
    """Hold the right to work on a request. Raises RequestBusy where another process holds it, NoSuchRequest."""
    folder = _folder(id)
    if not folder.is_dir():
        raise NoSuchRequest(f"There is no request {id}.")
    lock = filelock.FileLock(folder / _LOCK, timeout=0.3)  # waiting_requests() holds it for a moment
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RequestBusy("Another process is working on this. Wait for it, or stop it.") from error
    try:
        yield
    finally:
        lock.release()


def _is_locked(folder: Path) -> bool:
    try:
        with filelock.FileLock(folder / _LOCK, blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False


def _folder(id: str) -> Path:
    """The folder of an id. Raises NoSuchRequest for anything else: ids come from pages."""
    if not FOLDER.fullmatch(id):
        raise NoSuchRequest(f"{id!r:.80} is not the id of a request.")
    return home() / ".staged" / id


def _folders() -> list[Path]:
    with suppress(OSError):
        return sorted(
            path
            for path in (home() / ".staged").iterdir()
            if FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
        )
    return []


def _read(folder: Path) -> JobRequest | None:
    """The request in a folder; None where it is missing or cannot be trusted."""
    path = folder / _REQUEST
    try:
        if path.stat().st_size > _MAX_REQUEST_BYTES:
            return None
        request = JobRequest.model_validate_json(path.read_bytes())
        if request.id != folder.name or not all(stat.S_ISREG(file.lstat().st_mode) for file in request.paths):
            return None
    except (OSError, ValidationError, NoSuchAtlas):
        return None
    return request


def _one_line(name: str) -> str:
    """A name as one line of text, at most as long as file systems allow."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:255]


def _free_name(name: str, taken: set[str]) -> str:
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    number, free = 1, name
    while free.lower() in taken or f"{free.lower()}.partial" in taken:
        number += 1
        free = f"{stem}-{number}{dot}{ending}"
    return free
