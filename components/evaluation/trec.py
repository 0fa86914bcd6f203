"""Run files as trec_eval reads them, a line a candidate, best first: query Q0 candidate rank score tag.

Ids stand in them as they are, but for what would end a field: white space, control characters, lone surrogates, the
quotation mark and the percent sign are percent-escaped as in addresses (UTF-8), and an id of no character is a single
"%". Scores are written with as many digits as tell a float32 from its neighbours, so that they are read as they were.
"""

import gzip
import re
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from corpus.io.files import beside

_COLUMNS = ("query", "Q0", "candidate", "rank", "score", "tag")
_SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("Q0", pa.string()),
        ("candidate", pa.string()),
        ("rank", pa.int32()),
        ("score", pa.float32()),
        ("tag", pa.string()),
    ]
)
_TO_ESCAPE = re.compile(r"""[\s%"\x00-\x1f\x7f-\x9f\ud800-\udfff\ufeff]""")
_FAST = 1  # gzip's level: a run of ten million lines is written in seconds, a tenth larger than it could be
_BLOCK = 1 << 22  # bytes read at a time


def escaped(name: str) -> str:
    """An id as one field of a run file.

    >>> escaped("a b"), escaped("50%"), escaped(""), unescaped(escaped("a b%20"))
    ('a%20b', '50%25', '%', 'a b%20')
    """
    if not name:
        return "%"
    return _TO_ESCAPE.sub(lambda found: urllib.parse.quote(found[0], safe="", errors="surrogatepass"), name)


def unescaped(field: str) -> str:
    """The id that `escaped` made a field of; a field that it cannot have made, as it is."""
    if field == "%":
        return ""
    try:
        return urllib.parse.unquote(field, errors="surrogatepass")
    except UnicodeDecodeError:
        return field


def write_run(
    path: Path,
    pools: Iterable[tuple[str, NDArray[np.int32], NDArray[np.float32]]],
    *,
    candidates: Sequence[str],
    tag: str,
) -> None:
    """A run file, gzip, all of it or nothing: the same content gives the same bytes.

    pools: of each query its name, the rows of its candidates, best first, and their scores, higher being better.
    candidates: the ids by row. tag: the system's name. Raises OSError.
    """
    names = pa.array([escaped(name) for name in candidates], type=pa.string())
    options = pyarrow.csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    with (
        beside(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=_FAST, mtime=0) as packed,
        pyarrow.csv.CSVWriter(packed, _SCHEMA, write_options=options) as writer,
    ):
        for query, rows, scores in pools:
            n = len(rows)
            columns = [
                pa.repeat(escaped(query), n),
                pa.repeat("Q0", n),
                names.take(pa.array(rows)),
                pa.array(np.arange(1, n + 1, dtype=np.int32)),
                pa.array(scores + np.float32(0.0)),  # a distance of 0 is written as 0, not as -0
                pa.repeat(escaped(tag), n),
            ]
            writer.write_batch(pa.record_batch(columns, schema=_SCHEMA))


def read_own_run(
    path: Path, *, candidates: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.int32], NDArray[np.float32]]]:
    """The pools of a file of `write_run`, one after the other, in the file's order, as they were given.

    Raises ValueError where the file is not that, or has a candidate that `candidates` has not; OSError.
    """
    names = pa.array([escaped(name) for name in candidates], type=pa.string())
    query, rows, scores = "", [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    try:
        for batch in _batches(path):
            found = pc.index_in(batch["candidate"], value_set=names)
            if found.null_count:
                raise ValueError("it ranks a paper that the set does not have")
            at, distances = found.to_numpy(), batch["score"].to_numpy()
            runs = pc.run_end_encode(batch["query"])
            start = 0
            for name, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
                if name != query:
                    if query:
                        yield unescaped(query), np.concatenate(rows), np.concatenate(scores)
                    query, rows, scores = name, [], []
                rows.append(at[start:end].astype(np.int32))
                scores.append(distances[start:end])
                start = end
    except (pa.ArrowException, EOFError, zlib.error) as error:
        raise ValueError(f"it is no run file ({str(error).splitlines()[0]:.200})") from error
    if query:
        yield unescaped(query), np.concatenate(rows), np.concatenate(scores)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(column_names=_COLUMNS, block_size=_BLOCK, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(delimiter=" ", quote_char=False, double_quote=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=_SCHEMA,
            include_columns=["query", "candidate", "score"],
            null_values=[],
            strings_can_be_null=False,
        ),
    ) as reader:
        yield from reader
