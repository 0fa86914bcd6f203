"""Parquet files: only the columns that papers are made of are read, a few hundred rows at a time."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpus.errors import DamagedFileError, UnsafeFileError
from corpus.io.limits import Limits
from corpus.readers.columns import Columns, ColumnsNotFound, map_columns
from corpus.readers.report import Record, Rejected

FORMAT = "Parquet"
UNIT = "row"
MAGIC = b"PAR1"

_BATCH_ROWS = 256
_MAX_VALUES = 100_000_000  # of a column in a row group: five million papers of twenty authors each


class ParquetTable:
    """An open Parquet file whose metadata promise no more than the limits allow.

    Raises DamagedFileError, UnsafeFileError and ColumnsNotFound.
    """

    def __init__(self, path: Path, *, limits: Limits, columns: Columns | None = None) -> None:
        import pyarrow.parquet as pq

        self._limits = limits
        self._rows_read = 0
        try:
            # Texts as dictionaries: else a text of some MiB that a million rows share is unpacked a million times.
            with pq.ParquetFile(path) as file:
                leaves = map(file.schema.column, range(len(file.schema)))
                texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=65_536, read_dictionary=texts)
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
            self.column_map = replace(map_columns(self.schema.names, columns), guarded=False)
            self._places = sorted({place for places in self.column_map.places.values() for place in places})
            self._names = [self.column_map.headers[place] for place in self._places]
            self._check_sizes()
        except ColumnsNotFound as error:
            error.format, error.vector_columns = FORMAT, self.vector_columns
            self.close()
            raise
        except (pa.ArrowException, OSError, ValueError) as error:  # names in the metadata that are not text
            self.close()
            raise _damaged(error) from error
        except BaseException:
            self.close()
            raise

    @property
    def vector_columns(self) -> tuple[str, ...]:
        """The columns that hold lists of numbers, as embeddings are stored."""
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
        return tuple(
            field.name
            for field in self.schema
            if any(test(field.type) for test in lists) and pa.types.is_floating(field.type.value_type)
        )

    @property
    def fraction(self) -> float:
        """How much of the rows has been read, 0 to 1."""
        return min(1.0, self._rows_read / self._rows) if self._rows else 1.0

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def records(self) -> Iterator[Record]:
        """What each row gives, in order. Raises DamagedFileError and UnsafeFileError."""
        limit = self._limits.piece_bytes
        try:
            # One group at a time: pyarrow cannot join lists whose dictionaries come from two groups.
            for group in range(self._file.num_row_groups):
                for batch in self._file.iter_batches(
                    _BATCH_ROWS, row_groups=[group], columns=self._names, use_threads=False
                ):
                    if (size := sum(map(_unpacked_bytes, batch.columns))) > limit:
                        raise UnsafeFileError(
                            f"{batch.num_rows} of its rows unpack to {size:,} bytes; at most {limit:,} are read",
                            advice="Check that the file is what you think.",
                        )
                    yield from self._batch_records(batch)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise _damaged(error) from error

    def _batch_records(self, batch: pa.RecordBatch) -> Iterator[Record]:
        cells = {name: _values(batch.column(number)) for number, name in enumerate(batch.schema.names)}
        row: list[Any] = [None] * len(self.column_map.headers)
        for number in range(batch.num_rows):
            self._rows_read += 1
            for place, name in zip(self._places, self._names, strict=True):
                row[place] = cells[name][number]
            rejected = next((value for value in row if isinstance(value, Rejected)), None)
            yield self._rows_read, rejected or self.column_map.paper(row)

    def _check_sizes(self) -> None:
        """Refuse what the metadata declare as too large, before any of it is unpacked."""
        metadata, limits = self._file.metadata, self._limits
        prefixes = tuple(f"{name}." for name in self._names)
        total = 0
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            every = map(group.column, range(group.num_columns))
            chunks = [chunk for chunk in every if f"{chunk.path_in_schema}.".startswith(prefixes)]
            unpacked = sum(chunk.total_uncompressed_size for chunk in chunks)
            packed = sum(chunk.total_compressed_size for chunk in chunks)
            values = max((chunk.num_values for chunk in chunks), default=0)
            if unpacked > limits.row_group_bytes or min(unpacked, packed) < 0 or values > _MAX_VALUES:
                raise UnsafeFileError(
                    f"one of its row groups has {values:,} values in {unpacked:,} bytes; "
                    f"at most {_MAX_VALUES:,} values and {limits.row_group_bytes:,} bytes are read",
                    advice="Write it again in smaller row groups.",
                )
            if limits.is_bomb(unpacked=unpacked, packed=packed):
                raise UnsafeFileError(
                    f"one of its row groups unpacks to {limits.unpacked_ratio} times its size and more, as bombs do",
                    advice="If you trust it, write it again without compression.",
                )
            total += unpacked
        if total > limits.unpacked_bytes:
            raise UnsafeFileError(
                f"it unpacks to more than {limits.unpacked_bytes:,} bytes", advice="Split it into smaller files."
            )


def _unpacked_bytes(array: pa.Array) -> int:
    """The size of an array with shared values written out."""
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_dictionary(kind):
        if not isinstance(
            array.dictionary, pa.StringArray | pa.BinaryArray | pa.LargeStringArray | pa.LargeBinaryArray
        ):
            return int(array.nbytes)
        lengths = pc.cast(pc.binary_length(array.dictionary), pa.int64())
        return int(pc.sum(lengths.take(array.indices)).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(_unpacked_bytes(array.field(number)) for number in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return 8 * len(array) + _unpacked_bytes(array.flatten())
    return int(array.nbytes)


def _values(column: pa.Array) -> list[Any]:
    """A column as Python values; Rejected for each that Python cannot hold."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException):  # a date in the year 100,000, text that is not UTF-8
        return [_value(column, number) for number in range(len(column))]


def _value(column: pa.Array, number: int) -> Any:
    try:
        return column[number].as_py()
    except (ValueError, OverflowError, pa.ArrowException) as error:
        reason = f"a value cannot be read ({str(error).splitlines()[0][:100]}). Correct it, or drop the record."
        return Rejected("damaged", reason)


def _damaged(error: BaseException) -> DamagedFileError:
    detail = (str(error).splitlines() or [""])[0][:150]
    return DamagedFileError(f"its Parquet data are damaged ({detail})", advice="Download or write it again.")
