"""What waits to be built: uploads, queries and changes of a corpus. Nothing else reads or writes <home>/.staged/.

<home>/.staged/<id>/request.json  what is asked for; where there is none, files are still being chosen
<home>/.staged/<id>/files/…       the files, under names that are safe here
<home>/.staged/<id>/work/…        what the job keeps for when it is taken up again
"""

import json
import re
import secrets
import shutil
import stat
import time
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import filelock

from components.atlas import paths
from components.atlas.manifest import MAX_TITLE_CHARS, PRECISIONS
from components.atlas.paths import NoSuchAtlas
from corpus.errors import CociteAtlasError
from corpus.io.files import beside, write_text

# files, query: a new corpus; add, remove, rebuild: a change of one; import: an archive.
StagedKind = Literal["files", "query", "add", "remove", "rebuild", "import"]

LARGEST_FILE = 2**30  # bytes, what a reader takes; a browser's upload is held to less (.streamlit/config.toml)
LARGEST_TOTAL = 2 * 2**30  # bytes of all files that are staged together
MOST_FILES = 100
LONGEST_QUERY = 5_000  # characters
KEPT_DAYS = 30  # that a request waits for somebody to go on with it
_CHOSEN_DAYS = 2  # that files wait without a request: somebody looked at a preview, and left

_REQUEST, _FILES, _WORK, _LOCK = "request.json", "files", "work", ".lock"
_LARGEST_REQUEST = 512 * 1024  # bytes; a hundred files with their columns have a tenth
_LONGEST = 1_000  # characters of a text in a request; a path of an encoder is the longest
_ID = re.compile(r"[0-9a-f]{16}")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}")
_CHUNK = 2**20
# Names that mean a device on Windows, whatever follows the first dot.
_DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")


class NoSuchStaged(CociteAtlasError):
    """Nothing waits under that id, or its request cannot be trusted."""


class UploadTooLarge(CociteAtlasError):
    """More bytes, or more files, than are taken at once."""


class StagedBusy(CociteAtlasError):
    """Another process is working on it."""


class Readable(Protocol):
    """What a file is copied from, a part at a time."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that waits. name: what it is called here. called: what it was called where it came from, as text.

    columns: a field of a paper → header of the file, where a person chose them; empty: they are found by name.
    """

    name: str
    called: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Staged:
    """What is asked for. name, title: of the corpus that is made or changed.

    encoder, precision: of a new corpus. vectors: the column of a Parquet file that holds them; empty: they are encoded.
    source, query, most: where papers are fetched, what is asked there, and how many at most. created: ISO 8601, UTC.
    """

    id: str
    kind: StagedKind
    name: str
    title: str = ""
    encoder: str = ""
    precision: str = "float32"
    files: tuple[StagedFile, ...] = ()
    keep_without_abstract: bool = False
    vectors: str = ""
    source: str = ""
    query: str = ""
    most: int = 0
    created: str = ""

    @property
    def called(self) -> str:
        """What people call the corpus."""
        return self.title or self.name

    @property
    def paths(self) -> list[Path]:
        """Where its files lie."""
        return [_folder(self.id) / _FILES / file.name for file in self.files]

    @property
    def work(self) -> Path:
        """Where the job keeps what it has done, there or not."""
        return _folder(self.id) / _WORK


# Choosing files


def new_staging() -> str:
    """The id of a new, empty staging. Raises OSError where it cannot be made."""
    new = secrets.token_hex(8)
    (_folder(new) / _FILES).mkdir(parents=True)
    return new


def stage_file(staging: str, called: str, content: Readable, *, taken: Collection[str] = ()) -> StagedFile:
    """Copy a file in, a part at a time. called: its name, of unknown origin; the one that it is given here is safe.

    taken: names that it is not given, beside those of the files that are there.
    Raises UploadTooLarge, with nothing of it left, where it passes LARGEST_FILE, or all files together LARGEST_TOTAL or
    MOST_FILES; NoSuchStaged; OSError where the disk is full.
    """
    folder = _folder(staging) / _FILES
    if not folder.is_dir():
        raise NoSuchStaged("The files that were chosen are gone. Choose them again.")
    there = [path for path in folder.iterdir() if path.is_file()]
    if len(there) >= MOST_FILES:
        raise UploadTooLarge(f"{called}: at most {MOST_FILES} files are taken at once. Put some of them together.")
    left = LARGEST_TOTAL - sum(path.stat().st_size for path in there)
    name = _free(safe_name(called), taken={name.lower() for name in (*taken, *(path.name for path in there))})
    copied = 0
    with beside(folder / name) as partial, partial.open("wb") as file:
        while part := content.read(_CHUNK):
            copied += len(part)
            if copied > LARGEST_FILE:
                raise UploadTooLarge(f"{called}: it has more than {LARGEST_FILE / 2**30:.0f} GiB. Split it.")
            if copied > left:
                raise UploadTooLarge(
                    f"{called}: with it the files have more than {LARGEST_TOTAL / 2**30:.0f} GiB. "
                    "Build from some of them, and add the others afterwards."
                )
            file.write(part)
    return StagedFile(name=name, called=_text(called))


def drop_file(staging: str, name: str) -> None:
    """Take a file away again; nothing where it is gone."""
    if _SAFE_NAME.fullmatch(name):
        with suppress(OSError):
            (_folder(staging) / _FILES / name).unlink(missing_ok=True)


def staged_path(staging: str, name: str) -> Path:
    """Where a staged file lies, there or not. Raises NoSuchStaged for what cannot be its name."""
    if not _SAFE_NAME.fullmatch(name):
        raise NoSuchStaged(f"{name!r:.80} cannot be the name of a file that waits.")
    return _folder(staging) / _FILES / name


def safe_name(called: str) -> str:
    """A name that is a name on every system, and no path: ASCII letters, digits, '.', '_', '-' and spaces.

    >>> safe_name("../../Müller & Söhne.ris"), safe_name("C:\\\\docs\\\\nul.csv"), safe_name("文献.bib"), safe_name("…")
    ('Muller - Sohne.ris', 'file-nul.csv', 'file.bib', 'file')
    """
    last = re.split(r"[/\\]", called)[-1]
    decomposed = unicodedata.normalize("NFKD", last)
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    plain = re.sub(r"[^A-Za-z0-9._ -]+", "-", plain).strip(" .-_")
    stem, dot, ending = plain.rpartition(".")
    if not dot:
        stem, ending = plain, ""
    stem = stem[:80].rstrip(" .-_")
    if "." in last and plain and not dot:  # a stem of which nothing was left
        stem, dot, ending = "", ".", plain
    stem = stem or "file"
    found = f"{stem}.{ending[:10]}" if dot and ending else stem
    return f"file-{found}" if _DEVICES.match(found) else found


# Requests


def ask(staged: Staged) -> Staged:
    """Write down what is asked for: from now on it waits to be done. Its time of creation is now.

    Raises NoSuchStaged where it holds what no request may hold, or a file that is not there; OSError.
    """
    folder = _folder(staged.id)
    folder.mkdir(parents=True, exist_ok=True)
    values = {**asdict(staged), "title": _text(staged.title)[:MAX_TITLE_CHARS], "created": _now()}
    write_text(folder / _REQUEST, json.dumps(values, indent=1) + "\n")
    found = _read(folder)
    if found is None:
        (folder / _REQUEST).unlink(missing_ok=True)
        raise NoSuchStaged(f"{staged.called}: this cannot be asked for. A name, a query or a column is too long.")
    return found


def staged(staging: str) -> Staged:
    """What waits under an id. Raises NoSuchStaged."""
    found = _read(_folder(staging))
    if found is None:
        raise NoSuchStaged(f"Nothing waits under the id {staging}. Ask for it again on the Corpora page.")
    return found


def waiting() -> list[Staged]:
    """All that waits to be done or to be gone on with, the last one asked for first; not what is being done."""
    found = [one for folder in _folders() if (one := _read(folder)) is not None and not _held(folder)]
    return sorted(found, key=lambda one: one.created, reverse=True)


def discard(staging: str) -> None:
    """Throw away what waits under an id, with its files; nothing where it is gone. Raises StagedBusy."""
    folder = _folder(staging)
    if folder.is_dir():
        with held(staging):
            (folder / _REQUEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def clear_old() -> None:
    """Throw away what nobody has gone on with for long."""
    for folder in _folders():
        days = KEPT_DAYS if (folder / _REQUEST).is_file() else _CHOSEN_DAYS
        with suppress(OSError, CociteAtlasError):
            newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
            if time.time() - newest > days * 86_400:
                discard(folder.name)


@contextmanager
def held(staging: str) -> Iterator[None]:
    """Hold the right to work on what waits under an id. Raises StagedBusy where another process does, NoSuchStaged."""
    folder = _folder(staging)
    if not folder.is_dir():
        raise NoSuchStaged(f"Nothing waits under the id {staging}.")
    lock = filelock.FileLock(folder / _LOCK, timeout=0.3)  # not at once: waiting() holds it for a moment
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise StagedBusy("Another process is working on this already. Wait for it, or stop it.") from error
    try:
        yield
    finally:
        lock.release()


def _held(folder: Path) -> bool:
    try:
        with filelock.FileLock(folder / _LOCK, blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False


def _folder(staging: str) -> Path:
    """The folder of an id. Raises NoSuchStaged for what is none: it comes from pages and command lines."""
    if not _ID.fullmatch(staging):
        raise NoSuchStaged(f"{staging!r:.80} is no id of something that waits to be built.")
    return paths.home() / ".staged" / staging


def _folders() -> list[Path]:
    top = paths.home() / ".staged"
    with suppress(OSError):
        return sorted(path for path in top.iterdir() if _ID.fullmatch(path.name) and _is_folder(path))
    return []


def _read(folder: Path) -> Staged | None:
    """The request in a folder; None where there is none that can be trusted."""
    path = folder / _REQUEST
    try:
        if path.stat().st_size > _LARGEST_REQUEST:
            return None
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(StagedFile(**file) for file in raw.pop("files"))
        found = Staged(**raw, files=files)
        texts = (found.name, found.title, found.encoder, found.vectors, found.source, found.created)
        if found.id != folder.name or not all(_is_text(text) for text in texts):
            return None
        if found.kind not in get_args(StagedKind) or found.precision not in PRECISIONS:
            return None
        if not _is_text(found.query, most=LONGEST_QUERY) or not isinstance(found.keep_without_abstract, bool):
            return None
        if type(found.most) is not int or not 0 <= found.most < 2**31 or len(files) > MOST_FILES:
            return None
        if len(found.title) > MAX_TITLE_CHARS or datetime.fromisoformat(found.created).tzinfo is None:
            return None
        paths.atlas_folder(found.name)
        if not all(_is_file_of(file, folder / _FILES) for file in files):
            return None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError, NoSuchAtlas):
        return None
    return found


def _is_file_of(file: StagedFile, folder: Path) -> bool:
    named = _is_text(file.name) and _SAFE_NAME.fullmatch(file.name) is not None and _is_text(file.called)
    columns = isinstance(file.columns, dict) and len(file.columns) <= 100
    return (
        named
        and columns
        and all(_is_text(text) for pair in file.columns.items() for text in pair)
        and stat.S_ISREG((folder / file.name).lstat().st_mode)
    )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_text(value: object, *, most: int = _LONGEST) -> bool:
    return isinstance(value, str) and len(value) <= most


def _text(called: str) -> str:
    """A name as one line of text, cut where no file system has longer ones."""
    return " ".join("".join(c if c.isprintable() else " " for c in called).split())[:255]


def _free(name: str, *, taken: set[str]) -> str:
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    number, found = 1, name
    while found.lower() in taken or f"{found.lower()}.partial" in taken:
        number += 1
        found = f"{stem}-{number}{dot}{ending}"
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
