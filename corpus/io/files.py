"""Files written whole or not at all: beside, flushed to the disk, renamed. Nothing here knows what an atlas is."""

import errno
import io
import os
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

# What numpy raises, beside ValueError and its like, of a header of .npy that is no literal of Python's.
ODD_HEADERS = (MemoryError, RecursionError, SyntaxError, TypeError, tokenize.TokenError, zipfile.BadZipFile)
_PIECE = 2**20  # bytes


def write_array(path: Path, array: NDArray[Any]) -> None:
    """An array as .npy, all of it or nothing."""
    with beside(path) as partial, partial.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_table(path: Path, table: pa.Table) -> None:
    """A table as Parquet, all of it or nothing."""
    with beside(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def write_text(path: Path, text: str) -> None:
    """Text as UTF-8, all of it or nothing."""
    with beside(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A partial file to write beside `path`; flushed to the disk and renamed to it when all went well."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        # numpy and hnswlib only notice that less was written than they meant to.
        if isinstance(error, OSError) and error.errno is None:
            raise OSError(errno.ENOSPC, str(error), str(path)) from error
        raise


def array_pieces(array: NDArray[Any]) -> Iterator[bytes]:
    """The bytes that `write_array` writes of an array of at least one axis, in row order, some megabytes a piece."""
    head = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(head, header | {"fortran_order": False})
    yield head.getvalue()
    step = max(1, _PIECE // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step]).tobytes()


def size_words(count: int) -> str:
    """A number of bytes as people read it: 440 MB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    if count >= 1e6:
        return f"{count / 1e6:,.0f} MB"
    return f"{count / 1e3:,.0f} kB" if count >= 1e3 else f"{count} bytes"
