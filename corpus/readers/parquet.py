"""Parquet: tables of papers, read in small pieces, of the columns that papers are made of alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.io.limits import Limits
from corpus.readers.columns import Columns, ColumnsNotFound, map_columns
from corpus.readers.report import DamagedFileError, Found, Rejected, UnsafeFileError

FORMAT = "Parquet"
UNIT = "row"
MAGIC = b"PAR1"

_PIECE = 256  # rows that are decoded at a time
_TEXTS = (pa.StringArray, pa.BinaryArray, pa.LargeStringArray, pa.LargeBinaryArray)
_MOST_VALUES = 100_000_000  # of a column in a row group: five million papers of twenty authors each


class ParquetTable:
    """An open Parquet file whose metadata promise no more than the limits allow, and where its fields stand.

    Raises DamagedFileError, UnsafeFileError and ColumnsNotFound.
    """

    def __init__(self, path: Path, *, limits: Limits, columns: Columns | None = None) -> None:
        self._limits = limits
        self._done = 0  # rows
        try:
            # As dictionaries, or a text of some MiB that a million rows share would be unpacked a million times.
            with pq.ParquetFile(path) as file:
                shared = [leaf.path for leaf in map(file.schema.column, range(len(file.schema))) if _is_text(leaf)]
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=65_536, read_dictionary=shared)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(error) from error
        try:
            self.schema = self._file.schema_arrow
            self._rows = self._file.metadata.num_rows
            if len(self.schema) > limits.columns:
                raise UnsafeFileError(
                    f"it has {len(self.schema):,} columns; at most {limits.columns:,} are read",
                    advice="Write those of the papers into a file of their own.",
                )
            self.mapped = replace(map_columns(self.schema.names, columns), guarded=False)
            self._check_sizes()
        except ColumnsNotFound as error:
            error.format, error.vector_columns = FORMAT, self.vector_columns
            self.close()
            raise
        except (pa.ArrowException, OSError, ValueError) as error:  # names in the metadata that are no text
            self.close()
            raise _damaged(error) from error
        except BaseException:
            self.close()
            raise

    @property
    def vector_columns(self) -> tuple[str, ...]:
        """The columns that hold lists of numbers, as embeddings are kept."""
        return vector_columns(self.schema)

    @property
    def fraction(self) -> float:
        """How much of the rows has been read, 0 to 1."""
        return min(1.0, self._done / self._rows) if self._rows else 1.0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def found(self) -> Iterator[Found]:
        """What each row gives, in its order. Raises DamagedFileError, UnsafeFileError."""
        wanted = [self.mapped.headers[place] for place in self._places]
        try:
            for batch in self._batches(wanted):
                if (size := sum(map(_unpacked, batch.columns))) > self._limits.piece_bytes:
                    raise UnsafeFileError(
                        f"{batch.num_rows} of its rows unpack to {size:,} bytes; at most "
                        f"{self._limits.piece_bytes:,} are read",
                        advice="Check that the file is what you think.",
                    )
                yield from self._papers(batch)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise _damaged(error) from error

    def _batches(self, wanted: list[str]) -> Iterator[pa.RecordBatch]:
        # Group by group: pyarrow cannot put together lists whose dictionaries are of two.
        for group in range(self._file.num_row_groups):
            yield from self._file.iter_batches(_PIECE, row_groups=[group], columns=wanted, use_threads=False)

    @property
    def _places(self) -> list[int]:
        return sorted({place for places in self.mapped.places.values() for place in places})

    def _papers(self, batch: pa.RecordBatch) -> Iterator[Found]:
        cells = {name: _values(batch.column(number)) for number, name in enumerate(batch.schema.names)}
        row: list[Any] = [None] * len(self.mapped.headers)
        for number in range(batch.num_rows):
            self._done += 1
            for place in self._places:
                row[place] = cells[self.mapped.headers[place]][number]
            if strangers := [value for value in row if isinstance(value, Rejected)]:
                yield self._done, strangers[0]
            else:
                yield self._done, self.mapped.paper(row)

    def _check_sizes(self) -> None:
        """Refuse what the metadata say will be large, before any of it is unpacked."""
        metadata, limits = self._file.metadata, self._limits
        names = {self.mapped.headers[place] for place in self._places}
        total = 0
        for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
            chunks = [group.column(number) for number in range(group.num_columns)]
            paths = [(chunk.path_in_schema, chunk) for chunk in chunks]
            chunks = [chunk for path, chunk in paths if path in names or any(path.startswith(f"{n}.") for n in names)]
            unpacked = sum(chunk.total_uncompressed_size for chunk in chunks)
            packed = sum(chunk.total_compressed_size for chunk in chunks)
            total += unpacked
            most = max((chunk.num_values for chunk in chunks), default=0)
            if unpacked > limits.row_group_bytes or min(unpacked, packed) < 0 or most > _MOST_VALUES:
                raise UnsafeFileError(
                    f"one of its row groups has {most:,} values in {unpacked:,} bytes; at most {_MOST_VALUES:,} values "
                    f"and {limits.row_group_bytes:,} bytes are read",
                    advice="Write it again in smaller row groups.",
                )
            if unpacked > limits.ratio_from_bytes and unpacked > limits.unpacked_ratio * packed:
                raise UnsafeFileError(
                    f"one of its row groups unpacks to {limits.unpacked_ratio} times its size and more, as bombs do",
                    advice="If you trust it, write it again without compression.",
                )
        if total > limits.unpacked_bytes:
            raise UnsafeFileError(
                f"it unpacks to more than {limits.unpacked_bytes:,} bytes", advice="Split it into smaller files."
            )


def vector_columns(schema: pa.Schema) -> tuple[str, ...]:
    """The columns of a schema that hold lists of numbers."""
    return tuple(field.name for field in schema if _is_vector(field.type))


def _is_vector(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(test(kind) for test in lists) and pa.types.is_floating(kind.value_type)


def _is_text(leaf: Any) -> bool:
    return bool(leaf.physical_type == "BYTE_ARRAY")


def _unpacked(array: pa.Array) -> int:
    """How many bytes an array has where what it shares is written out."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if not isinstance(
            array.dictionary, pa.StringArray | pa.BinaryArray | pa.LargeStringArray | pa.LargeBinaryArray
        ):
            return int(array.nbytes)
        lengths = pc.binary_length(array.dictionary)
        return int(pc.sum(pc.cast(lengths, pa.int64()).take(array.indices)).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(_unpacked(array.field(number)) for number in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return int(array.nbytes) if pa.types.is_map(kind) else 8 * len(array) + _unpacked(array.flatten())
    return int(array.nbytes)


def _values(column: pa.Array) -> list[Any]:
    """A column's values as Python has them; a Rejected for each that it cannot have."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):  # a date in the year 100,000, text that is no UTF-8
        return [_value(column, number) for number in range(len(column))]


def _value(column: pa.Array, number: int) -> Any:
    try:
        return column[number].as_py()
    except (ValueError, OverflowError, pa.ArrowException) as error:
        reason = f"a value of it cannot be read ({str(error).splitlines()[0][:100]}). Correct it, or drop the record."
        return Rejected("damaged", reason)


def _damaged(error: BaseException) -> DamagedFileError:
    said = (str(error).splitlines() or [""])[0][:150]
    return DamagedFileError(f"its Parquet data are damaged ({said})", advice="Download or write it again.")
