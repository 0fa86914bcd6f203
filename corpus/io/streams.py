"""Input streams with limits: plain and gzip files measured while they are read, and the check of zip members."""

import gzip
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Container
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from corpus.errors import DamagedFileError, UnknownFormatError, UnsafeFileError
from corpus.io.limits import MAX_COMPRESSION_RATIO, Limits

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GZIP_MAGIC = b"\x1f\x8b"
# What zipfile raises, beside OSError and ValueError, for a damaged zip.
ZIP_ERRORS = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error)
_RATIO_FROM_BYTES = 2**20  # a zip member below this is no danger, however well it packs


class CappedStream(io.RawIOBase):
    """The bytes of a file, unpacked if it is gzip; UnsafeFileError as soon as they pass one of the limits."""

    def __init__(self, path: Path, limits: Limits):
        super().__init__()
        self._limits = limits
        self._unpacked = 0  # bytes given out or held back by head()
        self._marked = 0  # the value of _unpacked at the last mark()
        self._ahead = b""  # bytes that head() has shown and no read has taken yet
        self._broken: DamagedFileError | None = None
        try:
            # A pipe or a device has no size and may never end.
            if not path.is_file():
                reason = "is not a file" if path.exists() else "there is no such file"
                raise UnknownFormatError(reason, advice="Check the path.")
            self._file = path.open("rb")
        except OSError as error:
            reason = f"it cannot be opened ({error.strerror})"
            raise UnknownFormatError(reason, advice="Check who may read it.") from error
        self._size = os.fstat(self._file.fileno()).st_size
        self.is_gzip = self._file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        self._file.seek(0)
        self._source: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=self._file) if self.is_gzip else self._file
        if self._size > limits.file_bytes:
            self.close()
            raise UnsafeFileError(
                f"it has {self._size:,} bytes; at most {limits.file_bytes:,} are read",
                advice="Split it into smaller files.",
            )

    @property
    def fraction(self) -> float:
        """How much of the file on disk has been read, 0 to 1."""
        return 1.0 if self.closed or not self._size else min(1.0, self._file.tell() / self._size)

    def head(self, size: int) -> bytes:
        """The next `size` bytes (fewer at the end, or before damage) without taking them."""
        while len(self._ahead) < size:
            try:
                more = self._take(size - len(self._ahead))
            except DamagedFileError:
                break  # the error is raised again when the damaged part is read
            if not more:
                break
            self._ahead += more
        return self._ahead[:size]

    def mark(self) -> None:
        """Say that a record ended here; the next may again be as long as the limit."""
        self._marked = self._unpacked

    def readable(self) -> bool:
        """Always true, as io.BufferedReader asks."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill at most the whole of `buffer`; 0 is the end of the file."""
        view = memoryview(buffer).cast("B")
        if self._ahead:
            chunk, self._ahead = self._ahead[: len(view)], self._ahead[len(view) :]
        else:
            chunk = self._take(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        """Close the underlying file as well."""
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()

    def _take(self, size: int) -> bytes:
        if self._broken:
            raise self._broken
        try:
            # read1, not read: where gzip data breaks off, read would drop the good bytes before the damage.
            chunk: bytes = self._source.read1(size) if self.is_gzip else self._source.read(size)  # type: ignore[union-attr]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            reason = f"its gzip data is damaged or ends too early ({error})"
            self._broken = DamagedFileError(reason, advice="Download or pack it again.")
            raise self._broken from error
        except OSError as error:  # a disk or a network drive that fails
            reason = f"reading it failed ({error.strerror or error})"
            self._broken = DamagedFileError(reason, advice="Copy it to another disk and try again.")
            raise self._broken from error
        self._unpacked += len(chunk)
        self._check_size()
        return chunk

    def _check_size(self) -> None:
        limits = self._limits
        if self._unpacked > limits.unpacked_bytes:
            raise UnsafeFileError(
                f"it unpacks to more than {limits.unpacked_bytes:,} bytes", advice="Split it into smaller files."
            )
        if limits.is_bomb(unpacked=self._unpacked, packed=self._file.tell()):
            raise UnsafeFileError(
                f"it unpacks to more than {limits.unpacked_ratio} times its size, as a gzip bomb does",
                advice="If you trust it, unpack it first.",
            )
        if self._unpacked - self._marked > limits.record_bytes:
            raise UnsafeFileError(
                f"one record has more than {limits.record_bytes:,} bytes",
                advice="Drop that record, or check that the file is what you think.",
            )


def zip_member_problem(info: zipfile.ZipInfo, known: Container[str], *, max_bytes: int) -> str:
    """Why a member of a zip is refused, after its name; "" where it is not. known: the names of earlier members."""
    name = info.orig_filename
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\x00" in name or ":" in parts[0]:
        return "has a name that leads out of its folder"
    if info.filename in known:
        return "is there twice"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed in a way that is not supported ({info.compress_type})"
    if info.file_size > max_bytes:
        return f"declares {info.file_size:,} bytes"
    if info.file_size > max(_RATIO_FROM_BYTES, MAX_COMPRESSION_RATIO * info.compress_size):
        return f"swells from {info.compress_size:,} to {info.file_size:,} bytes"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return "declares two sizes"
    return ""
