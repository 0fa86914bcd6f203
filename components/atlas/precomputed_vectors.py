"""Papers that come with their vectors, in a Parquet file: an atlas of them, encoded by nobody here."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.atlas import paths
from components.atlas.archive_checks import LARGEST_VALUE, MOST_DIMENSIONS
from components.atlas.build import (
    FETCHING,
    READING,
    BuildSettings,
    NameReserved,
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
from components.atlas.paths import home_errors
from components.atlas.verify import TOLERANCE, relative_errors
from components.encoder import LEXICAL, Encoder
from components.index.exact import Vectors
from corpus.errors import CociteAtlasError, UnreadableFileError
from corpus.io.limits import DEFAULT_LIMITS
from corpus.paper import Paper, to_table
from corpus.progress import Progress, no_progress
from corpus.readers import read
from corpus.readers.columns import Columns
from corpus.readers.report import Rejected, problems_table

CHECKING = "Checking the vectors"
OWN_STAGES = (READING, CHECKING)  # and then those of a build, encoding aside

_LARGEST = 16 * 2**30  # bytes of all vectors: 2,000,000 papers in 2,000 dimensions
_SWELLING, _UNSUSPECTED = 20, 64 * 2**20  # times, from so many bytes on: vectors hardly pack at all
_ROWS = 1024  # read at a time
_CHECKED = 20  # papers encoded again where an encoder is named: of another encoder's vectors not one comes near
_SEED = 17
_UNIT = 1e-3  # how far from 1 the length of a normalised vector may be, which float16 rounds
_NUMBER = re.compile(r"\d+")


class NoVectors(CociteAtlasError):
    """A file without the column of vectors that was asked for, or with one that holds none."""


class VectorsDiffer(CociteAtlasError):
    """Vectors that the encoder which is named for them does not make of their papers."""


def vector_columns(path: Path) -> tuple[str, ...]:
    """The names of the columns of a Parquet file that may hold vectors: lists of numbers. Reads no row.

    Raises NoVectors for what is no Parquet file.
    """
    return tuple(field.name for field in _opened(path).schema_arrow if _holds_numbers(field.type))


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
    """Build the atlas `name` of a Parquet file of papers with their vectors, a row each; no paper is encoded.

    vector_column: by default the only one of `vector_columns`. columns: as in `read`. encoder: what made the vectors,
    a catalogue name, or a folder or zip; a sample of them must come out of it again. Without it the atlas takes no
    text. Papers need no abstract. Rows with an id that was given before, or without a vector of the others' length
    and of finite numbers, are left out and counted.
    Raises NameReserved, NoVectors, VectorsDiffer, NothingToBuild, AtlasBusy, NoSpaceLeft, CannotWrite,
    EncoderUnavailable, UnreadableFileError, and what `progress` does.
    """
    paths.atlas_folder(name)  # a bad name is said before anything is read
    if name == paths.DEFAULT_ATLAS:
        raise NameReserved(f"{name!r} is the name of the default atlas. Give yours another one: --name NAME")
    column = _column(path, vector_column)
    loaded = _loaded(encoder, progress)
    sealed, kept = describe_files([path], columns=[columns], without_abstract="keep")
    files = [sealed[0] | {"vectors": column}]
    with home_errors(), paths.build_lock(name):
        work = work_folder(name, files=files, fingerprint=loaded.fingerprint if loaded else "", settings=settings)
        note_request(work, corpus=name, base="", encoder=loaded.source if loaded else PRECOMPUTED, precision="float32")
        every = _vectors(path, column, progress)
        papers, rows, accounts, problems = _papers(path, every, columns=columns, progress=progress)
        vectors = every[rows]
        del every
        progress(CHECKING, 0, 1)
        if loaded is not None:
            _check(vectors, papers, loaded)
        manifest = assemble(
            name,
            papers=papers,
            vectors=vectors,
            coordinates=project_resumably(work, vectors, settings.projection, progress),
            encoder=_record(vectors, loaded),
            source={"files": files, **kept, "reports": accounts},
            settings=settings,
            progress=progress,
            title=title,
            problems=problems,
        )
        shutil.rmtree(work, ignore_errors=True)
    return manifest


# The vectors


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=65_536)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise NoVectors(
            f"{path.name}: it cannot be read as Parquet ({_line(error)}). Vectors are taken from Parquet "
            "alone; without them, other formats can be built too."
        ) from error


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:150]


def _holds_numbers(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _column(path: Path, asked: str | None) -> str:
    found = vector_columns(path)
    told = f"Columns that hold lists of numbers: {', '.join(map(repr, found[:20])) or 'none'}"
    if asked is None:
        if len(found) != 1:
            raise NoVectors(f"{path.name}: which column holds the vectors? {told}. Name it: --vectors COLUMN")
        return found[0]
    if asked not in found:
        raise NoVectors(f"{path.name}: {asked!r:.80} is no column of vectors. {told}.")
    return asked


def _vectors(path: Path, column: str, progress: Progress) -> Vectors:
    """The vectors of all rows, float32 (n, d); rows without one, or with another than the first has, are NaN.

    What the file declares is held against its size before any of it is read.
    """
    file = _opened(path)
    n = file.metadata.num_rows
    if n > DEFAULT_LIMITS.records:
        raise NoVectors(f"{path.name}: it has {n:,} rows; at most {DEFAULT_LIMITS.records:,} are read. Split it.")
    vectors = np.empty((0, 0), dtype=np.float32)
    start = 0
    try:
        declared = 8 * _numbers(file.metadata, column)
        if not 0 <= declared <= min(2 * _LARGEST, max(_UNSUSPECTED, _SWELLING * path.stat().st_size)):
            raise NoVectors(f"{path.name}: its vectors would take {declared:,} bytes, more than such a file can hold.")
        for batch in file.iter_batches(batch_size=_ROWS, columns=[column], use_threads=False):
            part = batch.column(0)
            if vectors.shape[1] == 0 and (dimensions := _dimensions(part)):
                if dimensions > MOST_DIMENSIONS or n * dimensions * 4 > _LARGEST:
                    raise NoVectors(
                        f"{path.name}: {n:,} vectors of {dimensions:,} dimensions; at most {MOST_DIMENSIONS:,} "
                        f"dimensions, and {_LARGEST / 2**30:.0f} GB in all, are read."
                    )
                vectors = np.full((n, dimensions), np.nan, dtype=np.float32)
            if vectors.shape[1]:
                _fill(vectors[start : start + len(part)], part)
            start += len(part)
            progress(READING, start // 2, n)
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
        raise NoVectors(f"{path.name}: the column {column!r:.80} cannot be read ({_line(error)}).") from error
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
    numbers[~(np.abs(numbers) <= LARGEST_VALUE).all(axis=1)] = np.nan
    rows[fitting] = numbers


# Their papers


def _papers(
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
    found = _NUMBER.search(place)
    if found is None:
        raise UnreadableFileError(f"{path.name} is no table of rows", advice="Give a Parquet file.")
    return int(found[0]) - 1


# Their encoder


def _loaded(encoder: str | None, progress: Progress) -> Encoder | None:
    if encoder is None:
        return None
    if encoder == LEXICAL:
        raise VectorsDiffer(f"{LEXICAL} learns from the papers themselves. Build the atlas with it, without --vectors.")
    # In float32: a rounded encoder would be held to numbers that it cannot reach.
    chosen = choose_encoder(encoder, precision="float32", on_fetch=lambda done, of: progress(FETCHING, done, of))
    return chosen.loaded


def _check(vectors: Vectors, papers: pa.Table, encoder: Encoder) -> None:
    """Raise VectorsDiffer unless an encoder makes, within TOLERANCE, a sample of the vectors of their papers."""
    if vectors.shape[1] != encoder.dimensions:
        raise VectorsDiffer(
            f"The vectors have {vectors.shape[1]:,} dimensions, and {encoder.name} makes {encoder.dimensions:,}. Name "
            "the encoder that made them, or none."
        )
    sample = np.sort(np.random.default_rng(_SEED).permutation(len(vectors))[:_CHECKED])
    errors = relative_errors(vectors[sample], encode_papers(papers.take(sample), encoder))
    if errors.max() > TOLERANCE:
        worst = papers["id"][int(sample[errors.argmax()])].as_py()
        raise VectorsDiffer(
            f"{encoder.name} makes other vectors of these papers: of {len(sample)} that were encoded again, "
            f"{int((errors > TOLERANCE).sum())} differ (the most: {worst!r:.80}). Name the encoder that made them, or "
            "none: then the atlas takes no text."
        )


def _record(vectors: Vectors, encoder: Encoder | None) -> EncoderRecord:
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
        normalised=bool((np.abs(lengths - 1) < _UNIT).all()),
    )
