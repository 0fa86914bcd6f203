"""Files and what lies in them: members of tar and zip archives, packed or not, as they come. Nothing is unpacked to
disk, and the names of members are only shown."""

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from corpus.cocitations.full_text import FullTextError
from corpus.cocitations.full_text_report import Refusal
from corpus.cocitations.packed import Budget, Source, file_source, unpacked

_DEEPEST = 3  # packings and archives within one another: a packed archive of packed files
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_LARGEST_DIRECTORY = 256 * 2**20  # bytes of a zip's list of files; CORD-19's 700,000 take 100 MiB
_LARGEST_HEADERS = 64 * 1024  # bytes of what a tar says of one member; names and times take a few hundred
_MOST_ENDS = 3  # times that tarfile may meet the end of a file; at the end of a good one it does once
_NAME_CHARS = 200  # of a name that are shown
# What the libraries raise of damaged or hostile archives, which is no family.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, KeyError, IndexError, OverflowError, NotImplementedError, RuntimeError),
)


@dataclass(frozen=True, slots=True)
class Member:
    """A file that is neither packed nor an archive. place: for people. source: to be read before the next is taken."""

    place: str
    source: Source


def members_of(file: BinaryIO, *, place: str, size: int) -> Iterator[Member | Refusal]:
    """The files in an open file, itself where it is no archive, in their order; of what cannot be read, why."""
    budget = Budget(size)
    source = file_source(file)
    try:
        if source.head(4).startswith(_ZIP):
            yield from _zip_members(file, place=place, budget=budget)
        else:
            yield from _members(source, place=place, budget=budget, depth=0)
    except FullTextError as error:
        yield Refusal(place, str(error))


def is_passed_over(name: str) -> bool:
    """Whether a file is none that anybody means: hidden, or what an operating system adds to archives and folders."""
    parts = name.replace("\\", "/").split("/")
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1] in ("", "Thumbs.db", "desktop.ini")


def _members(source: Source, *, place: str, budget: Budget, depth: int) -> Iterator[Member | Refusal]:
    while inner := unpacked(source, budget=budget):
        source, depth = inner, depth + 1
        if depth > _DEEPEST:
            raise FullTextError(f"it is packed more than {_DEEPEST} times over. Unpack it first.")
    head = source.head(tarfile.BLOCKSIZE)
    if head.startswith(_ZIP):
        raise FullTextError("this is a zip within another file, or an Office document. Unpack the file round it first.")
    if _is_tar(head):
        yield from _tar_members(source, place=place, budget=budget, depth=depth)
    else:
        yield Member(place, source)


def _is_tar(head: bytes) -> bool:
    try:
        return bool(tarfile.TarInfo.frombuf(head, "utf-8", "replace").name)  # of which it checks the sum
    except (tarfile.TarError, ValueError):
        return False


def _tar_members(source: Source, *, place: str, budget: Budget, depth: int) -> Iterator[Member | Refusal]:
    gate = _Gate(source)
    try:
        with tarfile.open(fileobj=cast(Any, gate), mode="r|") as archive:  # which reads the first headers
            while member := _next_member(archive, gate):
                name = f"{place}, {shown(member.name)}"
                if member.isdir() or is_passed_over(member.name):
                    continue
                if not member.isreg() or member.issparse():
                    yield Refusal(name, "this is a link, a device or a file with holes. Pack the files themselves.")
                elif (content := archive.extractfile(member)) is not None:
                    with closing(content):
                        yield from _inner(_of_member(content), place=name, budget=budget, depth=depth + 1)
                if budget.is_spent:
                    return
    except RecursionError as error:
        raise FullTextError("this tar archive is damaged (endless headers). Pack it again.") from error
    except _DAMAGE as error:
        raise FullTextError(f"this tar archive is damaged ({_said(error)}). Download or pack it again.") from error


def _next_member(archive: tarfile.TarFile, gate: "_Gate") -> tarfile.TarInfo | None:
    # tarfile keeps all that it has seen, for which a stream of millions has no use; and it reads a member's name whole,
    # however long the archive says it is.
    archive.members = []  # type: ignore[attr-defined]
    archive.pax_headers.clear()  # type: ignore[attr-defined]
    stream: Any = archive.fileobj
    gate.left = max(0, archive.offset - stream.tell()) + _LARGEST_HEADERS
    try:
        return archive.next()
    finally:
        gate.left = None


class _Gate:
    """What tarfile reads from. left: bytes that it may still take; None for as many as it likes."""

    def __init__(self, source: Source) -> None:
        self.left: int | None = _LARGEST_HEADERS
        self._source = source
        self._ends = 0

    def read(self, size: int) -> bytes:
        """As of a file: so many bytes, fewer at the end."""
        if self.left is not None:
            self.left -= size
            if self.left < 0:
                raise FullTextError("this tar archive has headers of a size that no archive needs. Pack it again.")
        data = self._source.upto(size)
        # Behind the end of a file, tarfile looks for as many bytes as a header promises, were it for ever.
        self._ends += not data
        if self._ends > _MOST_ENDS:
            raise FullTextError("this tar archive ends too early. Download or pack it again.")
        return data


def _zip_members(file: BinaryIO, *, place: str, budget: Budget) -> Iterator[Member | Refusal]:
    listed = _Listed(file)
    try:
        with zipfile.ZipFile(cast(Any, listed)) as archive:
            listed.is_open = True
            for info in archive.infolist():
                name = f"{place}, {shown(info.filename)}"
                if info.is_dir() or is_passed_over(info.filename):
                    continue
                if info.flag_bits & 1:
                    yield Refusal(name, "it needs a password. Unpack it first.")
                    continue
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    yield Refusal(name, "it is packed in a way that is not read here. Unpack it first.")
                    continue
                try:
                    content = archive.open(info)
                except _DAMAGE as error:
                    yield Refusal(name, f"it is damaged ({_said(error)}). Download or pack the archive again.")
                    continue
                with closing(content):
                    inner = _of_member(content, budget=budget)
                    yield from _inner(inner, place=name, budget=budget, depth=1)
                if budget.is_spent:
                    return
    except _DAMAGE as error:
        raise FullTextError(f"this zip archive is damaged ({_said(error)}). Download or pack it again.") from error


class _Listed:
    """A file as zipfile reads it, which takes the list of its members whole, however long."""

    def __init__(self, file: BinaryIO) -> None:
        self.is_open = False
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """As of a file, but for a list of members that is too long."""
        if not self.is_open and size > _LARGEST_DIRECTORY:
            raise FullTextError("this zip lists more files than can be read at once. Split it, or unpack it first.")
        return self._file.read(size)


def _inner(source: Source, *, place: str, budget: Budget, depth: int) -> Iterator[Member | Refusal]:
    """The files of a member, which may be packed or an archive itself; of one that cannot be read, why."""
    try:
        yield from _members(source, place=place, budget=budget, depth=depth)
    except FullTextError as error:
        yield Refusal(place, str(error))


def _of_member(content: IO[bytes], *, budget: Budget | None = None) -> Source:
    """The bytes of a member. budget: of what is unpacked by reading it; None where it is not packed."""

    def take(size: int) -> bytes:
        try:
            chunk = content.read(size)
        except _DAMAGE as error:
            reason = f"it is damaged or ends too early ({_said(error)}). Download or pack the archive again."
            raise FullTextError(reason) from error
        if budget is not None:
            budget.spend(len(chunk))
        return chunk

    return Source(take)


def open_file(path: Path) -> BinaryIO:
    """A file to read. Raises FullTextError where it is none, or may not be read."""
    try:
        # A pipe or a device has no size and may never end.
        if not path.is_file():
            raise FullTextError("this is no file. Check the path.")
        return path.open("rb")
    except OSError as error:
        raise FullTextError(f"it cannot be opened ({error.strerror or error}). Check who may read it.") from error


def shown(name: str) -> str:
    """A name of a file as it can be printed, and no longer than a line."""
    plain = "".join(character if character.isprintable() else "?" for character in name[: _NAME_CHARS + 1])
    return plain if len(plain) <= _NAME_CHARS else f"{plain[:_NAME_CHARS]}…"


def _said(error: BaseException) -> str:
    return f"{getattr(error, 'strerror', None) or error or type(error).__name__!s:.200}"
