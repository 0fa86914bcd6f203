"""The folder of downloaded encoders: where it is, the user's own checkpoints in it, records and locks of downloads."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
from pydantic import BaseModel, ValidationError

from components.encoder import transfer
from components.encoder.base import FETCHING, EncoderUnavailable
from corpus.io.disk import disk_errors
from corpus.io.files import write_text
from corpus.progress import Progress

CACHE_VARIABLE = "COCITE_ATLAS_ENCODERS"
OWN = "own"
ADVICE = f"Choose another folder with {CACHE_VARIABLE}."
_HOME = Path(__file__).resolve().parents[2] / "corpus" / "built"  # as in components/atlas/paths.py
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")


def cache_folder() -> Path:
    """The folder of downloads: $COCITE_ATLAS_ENCODERS, by default `.encoders` beside the atlases."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    return Path(os.environ.get("COCITE_ATLAS_HOME") or _HOME).expanduser() / ".encoders"


def own_checkpoints() -> dict[str, Path]:
    """The folders and zips in <cache>/own/, by name (own/…), sorted."""
    try:
        paths = sorted((cache_folder() / OWN).iterdir())
    except OSError:
        return {}
    return {f"{OWN}/{path.name}": path for path in paths if _OWN_NAME.fullmatch(path.name) and _is_checkpoint(path)}


def _is_checkpoint(path: Path) -> bool:
    # os.path, as Path raises for some links: to a disk that is not there, or in a circle.
    zipped = path.suffix.lower() == ".zip" and os.path.isfile(path)  # noqa: PTH113
    return zipped or os.path.isdir(path)  # noqa: PTH112


def own_path(name: str) -> Path:
    """The path of the encoder that is chosen as own/<name>. Raises EncoderUnavailable for an invalid name."""
    if not _OWN_NAME.fullmatch(name):
        raise EncoderUnavailable(
            f"{name!r:.200} is not a valid name for an encoder. Use up to 100 letters, digits, spaces, '.', '_' and "
            "'-', beginning with a letter or a digit."
        )
    return cache_folder() / OWN / name


class Record(BaseModel):
    """What the first download found. commit, files: of a hub repository. url, sha256, bytes: of a zip."""

    commit: str = ""
    files: list[str] | None = None
    url: str = ""
    sha256: str = ""
    bytes: int | None = None


def record_path(key: str) -> Path:
    """The file of the record of the download `key`."""
    return cache_folder() / f"{key}.record.json"


def read_record(key: str) -> Record:
    """The record of the download `key`; an empty one where there is none, or it is damaged."""
    try:
        return Record.model_validate_json(record_path(key).read_bytes())
    except (OSError, ValidationError):
        return Record()


def write_record(key: str, record: Record) -> None:
    """Write the record of the download `key`. Raises NoSpaceLeft and CannotWrite."""
    with disk_errors(cache_folder(), advice=ADVICE):
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_text(record_path(key), record.model_dump_json(exclude_unset=True, indent=1) + "\n")


@contextmanager
def locked(key: str, *, progress: Progress) -> Iterator[None]:
    """Hold the lock of a download. While another process or thread holds it, wait; `progress` may stop the wait."""
    folder = cache_folder()
    lock = filelock.FileLock(folder / f"{key}.lock")
    while True:
        with disk_errors(folder, advice=ADVICE):
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(filelock.Timeout):  # an OSError itself
                lock.acquire(timeout=0.5)
                break
        progress(FETCHING, transfer.partial_bytes(folder / key), 0)
    try:
        yield
    finally:
        lock.release()
