"""Bytes that come once, in their order, unpacked where they are packed: gzip, bzip2 and xz, bounded in all."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from corpus.cocitations.full_text import FullTextError

CHUNK = 256 * 1024  # bytes that are read or unpacked at once

_FREE = 64 * 2**20  # bytes that any file may unpack to; a small one of equal lines packs as well as a bomb
_RATIO = 250  # full texts pack 3:1 to 10:1, and what is packed twice is counted twice; a bomb goes up to 1032:1
_XZ_MEMORY = 256 * 2**20  # bytes; "xz -9" takes 65 MiB to unpack


class Budget:
    """How much one file may unpack to, all that lies packed in it together."""

    def __init__(self, file_bytes: int) -> None:
        self._left = _FREE + _RATIO * file_bytes

    @property
    def is_spent(self) -> bool:
        """Whether more than that was unpacked, after which nothing of the file is read."""
        return self._left < 0

    def spend(self, count: int) -> None:
        """Count bytes that were unpacked. Raises FullTextError where they are more than any full texts give."""
        self._left -= count
        if self.is_spent:
            raise FullTextError(
                f"it unpacks to more than {_RATIO} times its size, as a bomb does. If you trust it, unpack it first."
            )


class Source:
    """Bytes that come once; the next of them can be looked at without taking them."""

    def __init__(self, take: Callable[[int], bytes]) -> None:
        """take: gives at most so many bytes more; none at the end. It raises FullTextError, and nothing else."""
        self._given = take
        self._ahead = b""
        self._broken: FullTextError | None = None  # what taking more has raised, and would raise again

    def head(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end or before damage, which whoever reads up to it meets."""
        while len(self._ahead) < size:
            try:
                more = self._take(size - len(self._ahead))
            except FullTextError:
                break
            if not more:
                break
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int = CHUNK) -> bytes:
        """At most so many bytes; none at the end."""
        if self._ahead:
            chunk, self._ahead = self._ahead[:size], self._ahead[size:]
            return chunk
        return self._take(size)

    def upto(self, size: int) -> bytes:
        """So many bytes; fewer only at the end."""
        chunks, length = [], 0
        while length < size and (chunk := self.read(min(CHUNK, size - length))):
            chunks.append(chunk)
            length += len(chunk)
        return b"".join(chunks)

    def put_back(self, data: bytes) -> None:
        """Let bytes that were read come again."""
        self._ahead = data + self._ahead

    def _take(self, size: int) -> bytes:
        if self._broken is not None:
            raise self._broken
        try:
            return self._given(size)
        except FullTextError as error:
            self._broken = error
            raise


def file_source(file: BinaryIO) -> Source:
    """The bytes of an open file."""

    def take(size: int) -> bytes:
        try:
            return file.read(size)
        except OSError as error:  # a disk or a network drive that gives up
            reason = f"it could not be read on ({error.strerror or error}). Copy it to another disk and try again."
            raise FullTextError(reason) from error

    return Source(take)


def unpacked(source: Source, *, budget: Budget) -> Source | None:
    """What is packed in a source, all members of it in a row; None where it is not packed.

    Taking it raises FullTextError where it is damaged, ends too early, or would unpack to more than the budget.
    """
    head = source.head(6)
    packing = next((each for each in _PACKINGS if head.startswith(each.magic)), None)
    return Source(_Unpacking(source, packing, budget).take) if packing else None


class _Packing:
    """One way to pack bytes. begin: makes what unpacks one member."""

    def __init__(self, name: str, magic: bytes, begin: Callable[[], Any]) -> None:
        self.name, self.magic, self.begin = name, magic, begin


_PACKINGS = (
    _Packing("gzip", b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    _Packing("bzip2", b"BZh", bz2.BZ2Decompressor),
    _Packing("xz", b"\xfd7zXZ\x00", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)),
)


class _Unpacking:
    def __init__(self, source: Source, packing: _Packing, budget: Budget) -> None:
        self._source, self._packing, self._budget = source, packing, budget
        self._member: Any = None  # what unpacks the present one

    def take(self, size: int) -> bytes:
        while True:
            if self._member is None:
                if not self._source.head(6).startswith(self._packing.magic):
                    return b""  # the end, or padding behind it
                self._member = self._packing.begin()
            try:
                chunk = self._step(size)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                raise FullTextError(
                    f"its {self._packing.name} data is damaged or ends too early ({error}). Download or pack it again."
                ) from error
            if self._member.eof:
                self._source.put_back(self._member.unused_data)
                self._member = None
            if chunk:
                self._budget.spend(len(chunk))
                return chunk

    def _step(self, size: int) -> bytes:
        member = self._member
        # zlib hands back what it has not taken yet; the others keep it.
        held: bytes = getattr(member, "unconsumed_tail", b"")
        wants = not held and getattr(member, "needs_input", True)
        fed = self._source.read() if wants else held
        chunk: bytes = member.decompress(fed, size)
        if wants and not fed and not chunk and not member.eof:
            raise EOFError("the end is missing")
        return chunk
