"""Build an atlas of papers that come with their vectors, in a Parquet file; nothing is encoded here."""

import hashlib
import re
import shutil
from pathlib import Path

import humanize
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.atlas import paths
from components.atlas.archive_import import MAX_DIMENSIONS, MAX_VALUE
from components.atlas.build import (
    READING,
    BuildSettings,
    NothingToBuild,
    assemble,
    describe_files,
    encode_papers,
    project_resumably,
    work_folder,
)
from components.atlas.corpora import note_request
from components.atlas.encoders import choose_encoder
from components.atlas.manifest import PRECOMPUTED, EncoderRecord, Manifest
from components.atlas.verify import TOLERANCE, relative_errors
from components.encoder.base import Encoder
from components.encoder.catalogue import LEXICAL
from components.index.exact import Vectors
from corpus.errors import CociteAtlasError, UnreadableFileError
from corpus.io.limits import DEFAULT_LIMITS
from corpus.paper import Paper, to_table
from corpus.progress import Progress, no_progress
from corpus.readers import read
from corpus.readers.columns import Columns
from corpus.readers.report import Rejected, problems_table

CHECKING = "Checking the vectors"

_MAX_BYTES = 16 * 2**30  # of all vectors: 2,000,000 papers in 2,000 dimensions
_MAX_COMPRESSION_RATIO, _RATIO_FROM_BYTES = 20, 64 * 2**20  # vectors hardly compress at all
_ROWS = 1024  # read at a time
_SAMPLE = 20  # papers encoded again where an encoder is named: another encoder's vectors are nowhere near
_SEED = 17
_UNIT_TOLERANCE = 1e-3  # of the length of a normalised vector, which float16 rounds


class NoVectors(CociteAtlasError):
    """A file without the requested column of vectors, or with one that holds none."""


class VectorsDiffer(CociteAtlasError):
    """Vectors that the encoder named for them does not make of their papers."""


def vector_columns(path: Path) -> tuple[str, ...]:
    """The columns of a Parquet file that may hold vectors: lists of numbers. Reads no row. Raises NoVectors."""
    return tuple(field.name for field in _open_parquet(path).schema_arrow if _holds_numbers(field.type))


def build_from_vectors(
    name: str,
    path: Path,
    *,
    vector_column: str | None = None,
    encoder: str | None = None,
    columns: Columns | None = None,
    settings: BuildSettings = BuildSettings(),  # noqa: B008
    title: str = "",
    progress: Progress = no_progress,
) -> Manifest:
    """Build the atlas `name` from a Parquet file with a paper and its vector in each row.

    vector_column: by default the only one of `vector_columns`. columns: as in `read`. encoder: what made the vectors,
    a catalogue name, folder or zip; it must reproduce a sample of them. Without it the atlas takes no text.
    Papers need no abstract. Rows with a repeated id, or without a vector of the common length and of finite numbers,
    are left out and counted.
    Raises NameReserved, NoVectors, VectorsDiffer, NothingToBuild, AtlasBusy, NoSpaceLeft, CannotWrite,
    EncoderUnavailable, UnreadableFileError, and what `progress` does.
    """
    paths.check_name(name)
    column = _choose_column(path, vector_column)
    if encoder == LEXICAL:
        raise VectorsDiffer(f"{LEXICAL} learns from the papers themselves. Build the atlas with it, without --vectors.")
    # float32: an encoder that rounds could not reproduce the vectors.
    loaded = choose_encoder(encoder, precision="float32", progress=progress).loaded if encoder is not None else None
    described, options = describe_files([path], columns=[columns], without_abstract="keep")
    files = [described[0] | {"vectors": column}]
    with paths.home_errors(), paths.build_lock(name):
        work = work_folder(name, files=files, fingerprint=loaded.fingerprint if loaded else "", settings=settings)
        note_request(work, corpus=name, base="", encoder=loaded.source if loaded else PRECOMPUTED, precision="float32")
        all_vectors = _read_vectors(path, column, progress)
        papers, rows, accounts, problems = _read_papers(path, all_vectors, columns=columns, progress=progress)
        vectors = all_vectors[rows]
        del all_vectors
        progress(CHECKING, 0, 1)
        if loaded is not None:
            _check_sample(vectors, papers, loaded)
        manifest = assemble(
            name,
            papers=papers,
            vectors=vectors,
            coordinates=project_resumably(work, vectors, settings.projection, progress),
            encoder=_encoder_record(vectors, loaded),
            source={"files": files, **options, "reports": accounts},
            settings=settings,
            title=title,
            problems=problems,
            progress=progress,
        )
        shutil.rmtree(work, ignore_errors=True)
    return manifest


# The vectors


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=65_536)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise NoVectors(
            f"{path.name}: it cannot be read as Parquet ({_first_line(error)}). Vectors are taken from Parquet "
            "alone; without them, other formats can be built too."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:150]


def _holds_numbers(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _choose_column(path: Path, asked: str | None) -> str:
    available = vector_columns(path)
    choices = f"Columns that hold lists of numbers: {', '.join(map(repr, available[:20])) or 'none'}"
    if asked is None:
        if len(available) != 1:
            raise NoVectors(f"{path.name}: which column holds the vectors? {choices}. Name it: --vectors COLUMN")
        return available[0]
    if asked not in available:
        raise NoVectors(f"{path.name}: {asked!r:.80} is no column of vectors. {choices}.")
    return asked


def _read_vectors(path: Path, column: str, progress: Progress) -> Vectors:
    """The vectors of all rows, float32 (n, d); rows without one, or with another than the first has, are NaN.

    What the file declares is held against its size before any of it is read.
    """
    file = _open_parquet(path)
    n = file.metadata.num_rows
    if n > DEFAULT_LIMITS.records:
        raise NoVectors(f"{path.name}: it has {n:,} rows; at most {DEFAULT_LIMITS.records:,} are read. Split it.")
    vectors = np.empty((0, 0), dtype=np.float32)
    start = 0
    try:
        declared = 8 * _numbers(file.metadata, column)
        if (
            not 0
            <= declared
            <= min(2 * _MAX_BYTES, max(_RATIO_FROM_BYTES, _MAX_COMPRESSION_RATIO * path.stat().st_size))
        ):
            raise NoVectors(f"{path.name}: its vectors would take {declared:,} bytes, more than such a file can hold.")
        for batch in file.iter_batches(batch_size=_ROWS, columns=[column], use_threads=False):
            part = batch.column(0)
            if vectors.shape[1] == 0 and (dimensions := _dimensions(part)):
                if dimensions > MAX_DIMENSIONS or n * dimensions * 4 > _MAX_BYTES:
                    raise NoVectors(
                        f"{path.name}: {n:,} vectors of {dimensions:,} dimensions; at most {MAX_DIMENSIONS:,} "
                        f"dimensions, and {humanize.naturalsize(_MAX_BYTES, binary=True)} in all, are read."
                    )
                vectors = np.full((n, dimensions), np.nan, dtype=np.float32)
            if vectors.shape[1]:
                _fill(vectors[start : start + len(part)], part)
            start += len(part)
            progress(READING, start // 2, n)
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
        raise NoVectors(f"{path.name}: the column {column!r:.80} cannot be read ({_first_line(error)}).") from error
    if vectors.shape[1] == 0:
        raise NoVectors(f"{path.name}: no row has anything in the column {column!r:.80}.")
    return vectors


def _numbers(metadata: pq.FileMetaData, column: str) -> int:
    """How many numbers the lists of a column have in all, as a file declares."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    return sum(chunk.num_values for chunk in chunks if f"{chunk.path_in_schema}.".startswith(f"{column}."))


def _dimensions(part: pa.Array) -> int:
    """The length of the first list that has any."""
    lengths = pc.fill_null(pc.list_value_length(part), 0).to_numpy(zero_copy_only=False)
    return int(next((length for length in lengths if length), 0))


def _fill(rows: Vectors, part: pa.Array) -> None:
    """Put lists of numbers into rows of NaN, where they are as long as these; those that hold no number leave them."""
    lengths = pc.fill_null(pc.list_value_length(part), -1).to_numpy(zero_copy_only=False)
    fitting = np.flatnonzero(lengths == rows.shape[1])
    flat = pc.list_flatten(part.take(pa.array(fitting)))
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = flat.to_numpy(zero_copy_only=False).astype(np.float32)
    numbers = numbers.reshape(len(fitting), rows.shape[1])
    numbers[~(np.abs(numbers) <= MAX_VALUE).all(axis=1)] = np.nan
    rows[fitting] = numbers


# Their papers


def _read_papers(
    path: Path, vectors: Vectors, *, columns: Columns | None, progress: Progress
) -> tuple[pa.Table, NDArray[np.int64], list[dict[str, object]], pa.Table]:
    """The papers that have a vector, the rows of the file that they stand in, and the account of the reading."""
    kept: list[Paper] = []
    tables: list[pa.Table] = []
    rows: list[int] = []
    ids: set[str] = set()
    n = len(vectors)
    usable = np.isfinite(vectors[:, 0])  # of a vector that is of no use every number is NaN
    with read(path, columns=columns, without_abstract="keep") as reading:
        report = reading.report
        for paper in reading:
            row = _row(reading.place, path)
            if row >= n:
                raise NoVectors(f"{path.name}: it was changed while it was read. Try again.")
            if not usable[row]:
                report.kept -= 1
                report.without_abstract -= not paper.abstract
                reason = f"no vector of {vectors.shape[1]:,} finite numbers. Add it, or drop the row."
                report.reject(Rejected("damaged", reason), place=reading.place)
                continue
            if paper.id in ids:
                reason = f"the id {paper.id!r:.80} was given before. The first one is kept."
                report.reject_duplicate(place=reading.place, reason=reason, without_abstract=not paper.abstract)
                continue
            ids.add(paper.id)
            rows.append(row)
            kept.append(paper)
            if len(kept) == _ROWS:
                tables.append(to_table(kept))
                kept = []
                progress(READING, (n + row) // 2, n)
    if not rows:
        raise NothingToBuild(f"{path.name}: no row has a title and a vector, so there is nothing to search in.")
    tables.append(to_table(kept))
    return (
        pa.concat_tables(tables).combine_chunks(),
        np.array(rows, dtype=np.int64),
        [report.to_dict()],
        problems_table([report]),
    )


def _row(place: str, path: Path) -> int:
    """The row of the file, from 0, that a place ("row 3") names."""
    number = re.search(r"\d+", place)
    if number is None:
        raise UnreadableFileError(f"{path.name} is no table of rows", advice="Give a Parquet file.")
    return int(number[0]) - 1


# Their encoder


def _check_sample(vectors: Vectors, papers: pa.Table, encoder: Encoder) -> None:
    """Raise VectorsDiffer unless an encoder makes, within TOLERANCE, a sample of the vectors of their papers."""
    if vectors.shape[1] != encoder.dimensions:
        raise VectorsDiffer(
            f"The vectors have {vectors.shape[1]:,} dimensions, and {encoder.name} makes {encoder.dimensions:,}. Name "
            "the encoder that made them, or none."
        )
    sample = np.sort(np.random.default_rng(_SEED).permutation(len(vectors))[:_SAMPLE])
    errors = relative_errors(vectors[sample], encode_papers(papers.take(sample), encoder))
    if errors.max() > TOLERANCE:
        worst = papers["id"][int(sample[errors.argmax()])].as_py()
        raise VectorsDiffer(
            f"{encoder.name} makes other vectors of these papers: of {len(sample)} that were encoded again, "
            f"{int((errors > TOLERANCE).sum())} differ (the most: {worst!r:.80}). Name the encoder that made them, or "
            "none: then the atlas takes no text."
        )


def _encoder_record(vectors: Vectors, encoder: Encoder | None) -> EncoderRecord:
    if encoder is not None:
        return EncoderRecord(
            name=encoder.name,
            source=encoder.source,
            fingerprint=encoder.fingerprint,
            normalised=encoder.normalised,
        )
    digest = hashlib.sha256(f"{PRECOMPUTED}{vectors.shape}".encode())
    digest.update(np.ascontiguousarray(vectors).data)
    lengths = np.linalg.norm(vectors, axis=1)
    return EncoderRecord(
        name=PRECOMPUTED,
        source=PRECOMPUTED,
        fingerprint=digest.hexdigest(),
        normalised=bool((np.abs(lengths - 1) < _UNIT_TOLERANCE).all()),
    )
