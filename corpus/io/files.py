"""Atomic writes: a file is written beside its place, flushed to the disk, then renamed. Also sizes in words."""

import errno
import io
import os
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

# What numpy raises, beside ValueError and OSError, for a damaged .npy header.
ODD_HEADERS = (MemoryError, RecursionError, SyntaxError, TypeError, tokenize.TokenError, zipfile.BadZipFile)
_PIECE_BYTES = 2**20


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A partial file to write; when the body succeeds it is flushed to the disk and renamed to `path`."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        # numpy and hnswlib report a full disk as an OSError without errno.
        if isinstance(error, OSError) and error.errno is None:
            raise OSError(errno.ENOSPC, str(error), str(path)) from error
        raise


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, atomically."""
    with beside(path) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_table(path: Path, table: "pa.Table") -> None:
    """Write a table as Parquet, atomically."""
    import pyarrow.parquet as pq

    with beside(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    with beside(path) as partial:
        partial.write_text(text, encoding="utf-8")


def array_pieces(array: NDArray[Any]) -> Iterator[bytes]:
    """The bytes that `write_array` writes, in row order, about 1 MiB at a time. array: at least one axis."""
    head = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(head, header | {"fortran_order": False})
    yield head.getvalue()
    step = max(1, _PIECE_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step]).tobytes()


class BufferedSink(io.RawIOBase):
    """Buffer for streamed downloads: a file to write to, whose content is taken piece by piece. It cannot seek."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0  # bytes in all, also those taken
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Always true, as zipfile and pyarrow ask."""
        return True

    def write(self, content: Any, /) -> int:
        """Keep the bytes of a buffer until they are taken."""
        self._parts.append(bytes(content))
        self.written += len(self._parts[-1])
        return len(self._parts[-1])

    def take(self) -> bytes:
        """The bytes written since the last call."""
        content, self._parts = b"".join(self._parts), []
        return content


def format_bytes(count: int) -> str:
    """A number of bytes as people read it: 440 MB, 1.4 GB."""
    import humanize

    return humanize.naturalsize(count, format="%.1f" if count >= 1e9 else "%.0f")
