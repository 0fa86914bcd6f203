"""Files and the members of archives as byte streams: tar, zip, gzip, bzip2 and xz, in one pass and bounded memory.

Nothing is unpacked to disk, and the names of members are only shown. A file that decompresses to far more than full
texts do is refused.
"""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from corpus.cocitations.full_text import FullTextError, Refusal

CHUNK = 256 * 1024  # bytes that are read or decompressed at once

_FREE_BYTES = 64 * 2**20  # that any file may decompress to; a small one of equal lines compresses as well as a bomb
_MAX_COMPRESSION_RATIO = 250  # full texts have 3 to 10, counted twice if compressed twice; a bomb goes up to 1032
_MAX_XZ_MEMORY = 256 * 2**20  # bytes; "xz -9" takes 65 MiB
_MAX_DEPTH = 3  # compressions and archives within one another
_MAX_ZIP_DIRECTORY = 256 * 2**20  # bytes of a zip's list of files; CORD-19's 700,000 take 100 MiB
_MAX_TAR_HEADERS = 64 * 1024  # bytes of a tar's headers per member; names and times take a few hundred
_MAX_ENDS = 3  # times that tarfile may meet the end of its input; at the end of a valid file it does once
_MAX_NAME_CHARS = 200
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# What the libraries raise for damaged or hostile files has no common base class.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(OSError, ValueError, KeyError, IndexError, OverflowError, NotImplementedError, RuntimeError),
)


class Budget:
    """How much one file may decompress to, with everything in it."""

    def __init__(self, file_bytes: int) -> None:
        self._left = _FREE_BYTES + _MAX_COMPRESSION_RATIO * file_bytes

    @property
    def is_spent(self) -> bool:
        """Whether the file exceeded it, after which nothing more of the file is read."""
        return self._left < 0

    def spend(self, count: int) -> None:
        """Count decompressed bytes. Raises FullTextError where they exceed the budget."""
        self._left -= count
        if self.is_spent:
            raise FullTextError(
                f"it unpacks to more than {_MAX_COMPRESSION_RATIO} times its size, as a bomb does. If you trust it, "
                "unpack it first."
            )


class _CheckedInput(io.RawIOBase):
    """Fills whole buffers, which `peek` shows. Raises FullTextError for damage, after the bytes before it."""

    def __init__(self, read: Callable[[int], bytes], budget: Budget | None) -> None:
        super().__init__()
        self._read = read
        self._budget = budget
        self._error: FullTextError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view, filled = memoryview(buffer).cast("B"), 0
        try:
            while self._error is None and filled < len(view) and (chunk := self._read(len(view) - filled)):
                if self._budget is not None:
                    self._budget.spend(len(chunk))
                view[filled : filled + len(chunk)] = chunk
                filled += len(chunk)
        except FullTextError as error:
            self._error = error
        except _DAMAGE as error:
            self._error = FullTextError(f"it is damaged or ends too early ({_reason(error)}). Download it again.")
        if self._error is not None and not filled:
            raise self._error
        return filled


def checked(file: Any, budget: Budget | None = None) -> io.BufferedReader:
    """A stream of a file that may be damaged. budget: given where the file decompresses what is read.

    Reading raises FullTextError at the damage, after the bytes before it.
    """
    return io.BufferedReader(_CheckedInput(file.read1, budget), CHUNK)


def head(stream: io.BufferedReader) -> bytes:
    """The first bytes of a stream without taking them: up to CHUNK, fewer at the end or before damage."""
    try:
        return stream.peek()
    except FullTextError:
        return b""


@dataclass(frozen=True, slots=True)
class Member:
    """A file that is neither compressed nor an archive. stream: to be read before the next member is taken."""

    place: str
    stream: io.BufferedReader


def members_of(file: BinaryIO, *, place: str, size: int) -> Iterator[Member | Refusal]:
    """The files in an open file of `size` bytes, in order; itself where it is no archive."""
    budget = Budget(size)
    stream = checked(file)
    try:
        if head(stream).startswith(_ZIP):
            yield from _zip_members(file, place, budget)
        else:
            yield from _members(stream, place, budget, depth=0)
    except FullTextError as error:
        yield Refusal(place, str(error))


def is_ignored(name: str) -> bool:
    """Whether a file is hidden, or one that operating systems add to archives and folders."""
    parts = name.replace("\\", "/").split("/")
    return "__MACOSX" in parts or parts[-1].startswith(".") or parts[-1] in ("", "Thumbs.db", "desktop.ini")


def printable(name: str) -> str:
    """A file name without characters that cannot be printed, of bounded length."""
    plain = "".join(character if character.isprintable() else "?" for character in name[: _MAX_NAME_CHARS + 1])
    return plain if len(plain) <= _MAX_NAME_CHARS else f"{plain[:_MAX_NAME_CHARS]}…"


def decompressed(stream: io.BufferedReader, budget: Budget) -> io.BufferedReader | None:
    """The content of a gzip, bzip2 or xz stream; None of another."""
    start = head(stream)
    if start.startswith(b"\x1f\x8b"):
        return checked(gzip.GzipFile(fileobj=stream, mode="rb"), budget)
    if start.startswith(b"BZh"):
        return checked(bz2.BZ2File(stream), budget)
    if start.startswith(b"\xfd7zXZ\x00"):
        try:
            lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY).decompress(start, 1)
        except lzma.LZMAError as error:
            raise FullTextError(f"it is damaged ({_reason(error)}). Download or pack it again.") from error
        return checked(lzma.LZMAFile(stream), budget)
    return None


def _members(stream: io.BufferedReader, place: str, budget: Budget, *, depth: int) -> Iterator[Member | Refusal]:
    while inner := decompressed(stream, budget):
        stream, depth = inner, depth + 1
        if depth > _MAX_DEPTH:
            raise FullTextError(f"it is packed more than {_MAX_DEPTH} times over. Unpack it first.")
    start = head(stream)[: tarfile.BLOCKSIZE]
    if start.startswith(_ZIP):
        raise FullTextError("this is a zip within another file, or an Office document. Unpack the outer file first.")
    try:
        is_tar = bool(tarfile.TarInfo.frombuf(start, "utf-8", "replace").name)  # checks the header's sum
    except (tarfile.TarError, ValueError):
        is_tar = False
    if is_tar:
        yield from _tar_members(stream, place, budget, depth=depth)
    else:
        yield Member(place, stream)


def _inner_members(content: Any, place: str, budget: Budget, *, depth: int, zipped: bool) -> Iterator[Member | Refusal]:
    """The files in an archive's member, which may be compressed or an archive itself."""
    with closing(content):
        try:
            yield from _members(checked(content, budget if zipped else None), place, budget, depth=depth)
        except FullTextError as error:
            yield Refusal(place, str(error))


def _tar_members(stream: io.BufferedReader, place: str, budget: Budget, *, depth: int) -> Iterator[Member | Refusal]:
    tar_input = _TarInput(stream)
    try:
        with tarfile.open(fileobj=cast(Any, tar_input), mode="r|") as archive:
            while member := archive.next():
                # tarfile keeps every member and header that it has seen.
                archive.members = []  # type: ignore[attr-defined]
                archive.pax_headers.clear()  # type: ignore[attr-defined]
                name = f"{place}, {printable(member.name)}"
                if member.issparse():
                    raise FullTextError("this tar archive has files with holes. Pack it again without --sparse.")
                tar_input.left = member.size + _MAX_TAR_HEADERS
                if member.isdir() or is_ignored(member.name):
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    yield Refusal(name, "this is a link or a device. Pack the files themselves.")
                else:
                    yield from _inner_members(content, name, budget, depth=depth + 1, zipped=False)
                if budget.is_spent:
                    return
    except _DAMAGE as error:
        raise FullTextError(f"this tar archive is damaged ({_reason(error)}). Download or pack it again.") from error


class _TarInput:
    """The input of tarfile, which reads names of any length, and searches behind the end for the rest of a member.

    left: bytes that tarfile may read up to the end of the next member's headers.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self.left = _MAX_TAR_HEADERS
        self._stream = stream
        self._ends = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read1(size)
        self.left -= len(data)
        if self.left < 0:
            raise FullTextError("this tar archive has headers of a size that no archive needs. Pack it again.")
        self._ends += not data
        if self._ends > _MAX_ENDS:
            raise FullTextError("this tar archive ends too early. Download or pack it again.")
        return data


def _zip_members(file: BinaryIO, place: str, budget: Budget) -> Iterator[Member | Refusal]:
    zip_input = _ZipInput(file)
    try:
        with zipfile.ZipFile(cast(Any, zip_input)) as archive:
            zip_input.is_open = True
            for info in archive.infolist():
                name = f"{place}, {printable(info.filename)}"
                if info.is_dir() or is_ignored(info.filename):
                    continue
                if info.flag_bits & 1:
                    yield Refusal(name, "it needs a password. Unpack it first.")
                elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    yield Refusal(name, "its compression method is not supported. Unpack it first.")
                else:
                    try:
                        content = archive.open(info)
                    except _DAMAGE as error:
                        yield Refusal(name, f"it is damaged ({_reason(error)}). Download or pack the archive again.")
                        continue
                    yield from _inner_members(content, name, budget, depth=1, zipped=True)
                if budget.is_spent:
                    return
    except _DAMAGE as error:
        raise FullTextError(f"this zip archive is damaged ({_reason(error)}). Download or pack it again.") from error


class _ZipInput:
    """The input of zipfile, which reads the list of members at once, however long."""

    def __init__(self, file: BinaryIO) -> None:
        self.is_open = False
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if not self.is_open and size > _MAX_ZIP_DIRECTORY:
            raise FullTextError("this zip lists more files than can be read at once. Split it, or unpack it first.")
        return self._file.read(size)


def _reason(error: BaseException) -> str:
    return f"{getattr(error, 'strerror', None) or error or type(error).__name__!s:.200}"
