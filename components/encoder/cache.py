"""The cache of encoders: its folder, the record of the first download of each, and a lock for each download.

<cache>/<name>.zip          a -full release, as published
<cache>/<name>.partial      a running or stopped download; <name>.partial.json: of which file
<cache>/<name>.record.json  the commit or SHA-256 of the first fetch, which every later one must match
<cache>/own/…               the user's own folders and zips
Files of the Hugging Face hub are in its own cache, so that what is there already is used.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from components.encoder.base import FETCHING
from components.encoder.errors import EncoderUnavailable
from corpus.io.files import write_text
from corpus.progress import Progress

CACHE_VARIABLE = "COCITE_ATLAS_ENCODERS"
OWN = "own"
PARTIAL = ".partial"
_HOME = Path(__file__).resolve().parents[2] / "corpus" / "built"  # as components/atlas.py has it
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")


def cache_folder() -> Path:
    """Where downloads lie: $COCITE_ATLAS_ENCODERS, by default `.encoders` beside the atlases, where none can be."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    return Path(os.environ.get("COCITE_ATLAS_HOME") or _HOME).expanduser() / ".encoders"


def own_checkpoints() -> dict[str, Path]:
    """The folders and zips that lie in <cache>/own/, by the names that they are chosen by (own/…), sorted."""
    folder = cache_folder() / OWN
    try:
        found = sorted(folder.iterdir())
    except OSError:
        return {}
    return {f"{OWN}/{path.name}": path for path in found if _OWN_NAME.fullmatch(path.name) and _is_checkpoint(path)}


def own_place(name: str) -> Path:
    """Where the encoder lies, or may be put, that is chosen as own/<name>.

    Raises EncoderUnavailable for a name that none can have.
    """
    if not _OWN_NAME.fullmatch(name):
        raise EncoderUnavailable(
            f"{name!r:.200} is no name for an encoder of your own. Use up to 100 letters, digits, spaces, '.', '_' and "
            "'-', a letter or a digit first."
        )
    return cache_folder() / OWN / name


def _is_checkpoint(path: Path) -> bool:
    """Whether it is a folder or a zip that is there: a link may lead to a disk that is not, or round in a circle."""
    zipped = path.suffix.lower() == ".zip" and os.path.isfile(path)  # noqa: PTH113  (Path raises for some of them)
    return zipped or os.path.isdir(path)  # noqa: PTH112


def read_record(key: str) -> dict[str, Any]:
    """What was written down of a download; empty where nothing was."""
    try:
        record = json.loads(_record_path(key).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(key: str, record: dict[str, Any]) -> None:
    """Write down what a download must be from now on. Raises EncoderUnavailable where that cannot be written."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_text(_record_path(key), json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise _unwritable(error) from error


def forget_record(key: str) -> None:
    """Let the next fetch of a download meet whatever is there then."""
    _record_path(key).unlink(missing_ok=True)


@contextmanager
def one_at_a_time(key: str, *, progress: Progress) -> Iterator[None]:
    """Hold a download's lock; while another process or thread has it, wait, and let `progress` stop the waiting.

    Raises EncoderUnavailable where the cache cannot be written.
    """
    folder = cache_folder()
    lock = filelock.FileLock(folder / f"{key}.lock")
    while not _acquired(lock, folder):
        progress(FETCHING, partial_bytes(folder / key), 0)
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: filelock.BaseFileLock, folder: Path) -> bool:
    """Whether the lock was had within half a second."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0.5)
    except filelock.Timeout:  # an OSError itself
        return False
    except OSError as error:
        raise _unwritable(error) from error
    return True


def partial_bytes(target: Path) -> int:
    """How much of a file's download is on the disk; 0 where none was begun."""
    try:
        return target.with_name(target.name + PARTIAL).stat().st_size
    except OSError:
        return 0


def _unwritable(error: OSError) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"The folder of encoders, {cache_folder()}, cannot be written ({error.strerror or error}). Choose another one "
        f"with {CACHE_VARIABLE}."
    )


def _record_path(key: str) -> Path:
    return cache_folder() / f"{key}.record.json"
