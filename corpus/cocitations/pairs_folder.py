"""Training pairs on disk: a folder that is written as a whole, and checked against its manifest when it is read.

papers.parquet                              a table with `corpus.paper.SCHEMA`
train.parquet, dev.parquet, test.parquet    rows of papers: anchor, positive; dev also has the negative
contexts.parquet                            the sentences that the pairs come from, with `CONTEXTS_SCHEMA`
held-out/                                   the test pairs as a judged set, for `cocite evaluate`
pairs.json                                  counts, fingerprint, sizes and checksums, and how the pairs were made
"""

import hashlib
import heapq
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corpus.cocitations.pairs import PairsError, Rows, TrainingPairs
from corpus.errors import validation_reason
from corpus.io.hashing import sha256_of
from corpus.judged_sets.model import JudgedSet, RawPool, judged_set, pool_paper
from corpus.judged_sets.released import write_released
from corpus.paper import SCHEMA, text_hash

PAPERS, TRAIN, DEV, TEST = "papers.parquet", "train.parquet", "dev.parquet", "test.parquet"
CONTEXTS, MANIFEST, HELD_OUT = "contexts.parquet", "pairs.json", "held-out"
# cited: rows of papers, distinct. split: which contains those pairs of the context that any contains.
CONTEXTS_SCHEMA = pa.schema(
    [
        pa.field("citing", pa.string(), nullable=False),
        pa.field("sentence", pa.string(), nullable=False),
        pa.field("cited", pa.list_(pa.int32()), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)
MAX_PAPERS = 20_000_000  # 3 kB each: what the largest machines hold
MAX_PAIRS = 200_000_000  # the authors had 1.3 million
MAX_QUERIES = 1_000  # of the held-out set: the interval of a mean over so many is narrower than what training moves
MAX_CANDIDATES = 5_000_000  # of its pools together: 60 MB of JSON

_FORMAT = 1
_MAX_TABLE_BYTES = 64 * 2**30  # decompressed
_MAX_MANIFEST_BYTES = 32 * 2**20  # a report of a thousand lines has 200 kB
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("anchor", "positive"),
    DEV: ("anchor", "positive", "negative"),
    TEST: ("anchor", "positive"),
}
_LOCK = ".writing"  # in a folder that is being written; released when the process ends
# Dictionaries or shared prefixes would let a small file decompress to more than its sizes say.
_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED"}
_AGAIN = "Make the pairs again, or restore the folder from a copy."

_PairCount = Annotated[int, Field(ge=0, le=MAX_PAIRS)]


class _Checksum(BaseModel):
    model_config = ConfigDict(strict=True)

    bytes: int
    sha256: str


class _Manifest(BaseModel):
    """pairs.json."""

    model_config = ConfigDict(strict=True)

    format: Literal[1]
    fingerprint: str
    papers: Annotated[int, Field(ge=0, le=MAX_PAPERS)]
    train: _PairCount
    dev: _PairCount
    test: _PairCount
    files: dict[str, _Checksum]
    told: dict[str, Any]  # the provenance


def write_pairs(
    folder: Path,
    *,
    papers: pa.Table,
    train: Rows,
    dev: Rows,
    test: Rows,
    contexts: pa.Table | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> TrainingPairs:
    """Write training pairs into a new folder, and return them as `read_pairs` will.

    papers, train, dev, test, provenance: as in TrainingPairs. contexts: a table with `CONTEXTS_SCHEMA`.
    Raises PairsError where something is in the folder, or the pairs are invalid; OSError.
    """
    check_new_folder(folder)
    folder = folder.resolve()
    splits = {TRAIN: train, DEV: dev, TEST: test}
    pairs = _checked(folder, papers=papers, splits=splits, provenance=dict(provenance or {}))
    tables = {PAPERS: papers, CONTEXTS: CONTEXTS_SCHEMA.empty_table() if contexts is None else contexts}
    for file, rows in splits.items():
        tables[file] = pa.table({name: rows[:, column] for column, name in enumerate(_COLUMNS[file])})
    with _new_folder(folder) as partial:
        for file, table in tables.items():
            pq.write_table(table, partial / file, compression="zstd", use_dictionary=False)
        if (judged := held_out_set(pairs)) is not None:
            write_released(judged, partial / HELD_OUT)
        paths = {file: partial / file for file in tables}
        manifest = _Manifest(
            format=1,
            fingerprint=pairs.fingerprint,
            papers=papers.num_rows,
            train=len(train),
            dev=len(dev),
            test=len(test),
            files={file: _Checksum(bytes=path.stat().st_size, sha256=sha256_of(path)) for file, path in paths.items()},
            told=pairs.provenance,
        )
        text = manifest.model_dump_json(indent=1)
        (partial / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return pairs


def check_new_folder(folder: Path) -> None:
    """Raise PairsError unless the folder is empty or can be made: pairs that runs depend on are never overwritten."""
    try:
        if any(folder.iterdir()):
            raise PairsError(f"{folder} is there already, and is not empty. Name another folder, or delete this one.")
    except FileNotFoundError as error:
        if not folder.resolve().parent.is_dir():
            raise PairsError(f"{folder}: there is no folder {folder.resolve().parent}. Make it first.") from error
    except NotADirectoryError as error:
        raise PairsError(f"{folder} is a file. Name a folder to write the pairs into.") from error
    except OSError as error:
        raise PairsError(f"{folder}: it cannot be read ({error.strerror}). Name another folder.") from error


def read_pairs(folder: Path) -> TrainingPairs:
    """Read a folder of training pairs. Every file is checked against its checksum before it is parsed.

    Raises PairsError, which names the first file that differs from pairs.json, or what is wrong with the pairs.
    """
    manifest = _manifest(folder)
    for file, checksum in manifest.files.items():
        _verify(folder / file, checksum)
    papers = _table(folder / PAPERS, SCHEMA, rows=manifest.papers)
    _table(folder / CONTEXTS, CONTEXTS_SCHEMA, rows=None)  # no part of training, but damage should show here
    splits = {}
    for file, rows in ((TRAIN, manifest.train), (DEV, manifest.dev), (TEST, manifest.test)):
        table = _table(folder / file, pa.schema([(name, pa.int32()) for name in _COLUMNS[file]]), rows=rows)
        splits[file] = np.column_stack([column.to_numpy() for column in table.columns]).astype(np.int32)
    pairs = _checked(folder, papers=papers, splits=splits, provenance=manifest.told)
    if pairs.fingerprint != manifest.fingerprint:
        raise PairsError(f"{folder}: its fingerprint does not match its content. {_AGAIN}")
    return pairs


def _checked(
    folder: Path, *, papers: pa.Table, splits: Mapping[str, Rows], provenance: dict[str, Any]
) -> TrainingPairs:
    """The pairs with their fingerprint. Raises PairsError where nothing can be trained on them."""
    if papers.schema != SCHEMA or papers.num_rows > MAX_PAPERS:
        raise PairsError(f"{folder}: {PAPERS} is no table of at most {MAX_PAPERS:,} papers. {_AGAIN}")
    for file, rows in splits.items():
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < papers.num_rows:
            raise PairsError(f"{folder}: {file} names a row that {PAPERS} does not have. {_AGAIN}")
    train, dev, test = splits[TRAIN], splits[DEV], splits[TEST]
    if not len(train):
        raise PairsError(
            f"{folder}: no pair is left to train on. Give more full texts or pairs, or smaller --dev and --test."
        )
    if not len(dev):
        raise PairsError(
            f"{folder}: the dev set is empty, and without it the best checkpoint cannot be chosen. Give a larger --dev "
            "(a number of pairs, as in --dev 50), another --seed, or more full texts."
        )
    digest = hashlib.sha256(f"{_FORMAT} {papers.num_rows} {[rows.shape for rows in (train, dev, test)]}".encode())
    for batch in papers.select(["title", "abstract"]).to_batches(max_chunksize=1024):
        for title, abstract in zip(batch["title"].to_pylist(), batch["abstract"].to_pylist(), strict=True):
            digest.update(text_hash(title, abstract))
    for rows in (train, dev, test):
        digest.update(np.ascontiguousarray(rows, dtype="<i4").tobytes())
    return TrainingPairs(folder.resolve().name, digest.hexdigest(), papers, train, dev, test, provenance)


# Files


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A partial folder that becomes `folder` when all went well; else it is deleted.

    What a killed process left there is overwritten. Raises PairsError while another process writes the same folder.
    """
    short = os.fsencode(folder.name)[:200].decode(errors="ignore")  # a name may have 255 bytes
    partial = folder.with_name(f".{short}.partial")
    partial.mkdir(exist_ok=True)
    lock = filelock.FileLock(partial / _LOCK)
    try:
        with suppress(NotImplementedError):  # a file system without locks
            lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise PairsError(f"{folder}: another process is writing it. Wait for it, or name another folder.") from error
    try:
        for path in partial.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield partial
        for path in [*partial.rglob("*"), partial]:
            _flush(path)
        try:
            partial.rename(folder)  # also onto an empty one; with the lock, so that nobody else clears it before
        except OSError:
            check_new_folder(folder)
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        lock.release()
    (folder / _LOCK).unlink(missing_ok=True)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    if not folder.is_dir():
        raise PairsError(f"{folder}: there is no such folder of pairs. Make one: cocite pairs")
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise PairsError(f"{path} has more than {_MAX_MANIFEST_BYTES // 2**20} MB. {_AGAIN}")
        manifest = _Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise PairsError(f"{folder} holds no {MANIFEST}, so it is no folder of pairs. {_AGAIN}") from error
    except OSError as error:
        raise PairsError(f"{path}: it cannot be read ({error.strerror}). Check its permissions.") from error
    except ValidationError as error:
        raise PairsError(f"{path} is damaged: {validation_reason(error)}. {_AGAIN}") from error
    if set(manifest.files) != {PAPERS, TRAIN, DEV, TEST, CONTEXTS}:
        raise PairsError(f"{path} does not list the files of a folder of pairs. {_AGAIN}")
    return manifest


def _verify(path: Path, checksum: _Checksum) -> None:
    try:
        if not path.is_file():
            raise PairsError(f"{path} is missing. {_AGAIN}")
        if (size := path.stat().st_size) != checksum.bytes:
            raise PairsError(f"{path} has {size:,} bytes instead of {checksum.bytes:,}. {_AGAIN}")
        if sha256_of(path) != checksum.sha256:
            raise PairsError(f"{path} has been changed since the pairs were made. {_AGAIN}")
    except OSError as error:
        raise PairsError(f"{path}: it cannot be read ({error.strerror}). Check its permissions.") from error


def _table(path: Path, schema: pa.Schema, *, rows: int | None) -> pa.Table:
    """The table in a file. Raises PairsError unless it has this schema and number of rows."""
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
            if rows is not None and metadata.num_rows != rows:
                raise PairsError(f"{path} has {metadata.num_rows:,} rows instead of {rows:,}. {_AGAIN}")
            if file.schema_arrow.names != schema.names or not all(
                _ENCODINGS.issuperset(chunk.encodings) for chunk in chunks
            ):
                raise PairsError(f"{path} is no table that this version writes. {_AGAIN}")
            if sum(chunk.total_uncompressed_size for chunk in chunks) > _MAX_TABLE_BYTES:
                raise PairsError(f"{path} unpacks to more than {_MAX_TABLE_BYTES // 2**30} GB. {_AGAIN}")
            table = file.read()
        if any(table[field.name].null_count for field in schema if not field.nullable or field.type == pa.int32()):
            raise PairsError(f"{path} has empty cells. {_AGAIN}")
        table = table.cast(schema)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = (str(error).splitlines() or [""])[0][:150]
        raise PairsError(f"{path} is damaged ({reason}). {_AGAIN}") from error
    return table


# The held-out set


def held_out_set(pairs: TrainingPairs) -> JudgedSet | None:
    """The test split as a judged set; None where there is no test pair.

    Queries: the papers of test pairs. Candidates: all other papers except those that are cited together with the query
    in train or dev. Relevant (grade 1): the query's partners in test. Beyond MAX_QUERIES or MAX_CANDIDATES, a sample
    chosen by hashes of the ids: always the same queries, and for each the same other candidates.
    """
    partners = _partners(pairs.test)
    if not partners:
        return None
    known = _partners(pairs.train, pairs.dev)
    ids: list[str] = pairs.papers["id"].to_pylist()
    queries = _sample(sorted(partners), ids, count=MAX_QUERIES)
    others = _sample(range(len(ids)), ids, count=max(1, MAX_CANDIDATES // len(queries)))
    rows = sorted({*queries, *others}.union(*(partners[row] for row in queries)))
    wanted = np.zeros(len(ids), bool)
    wanted[rows] = True
    # Not `take`, which concatenates chunks of text and fails over 2 GiB.
    records = pairs.papers.select(["id", "title", "abstract"]).filter(pa.array(wanted)).to_pylist()

    def pools() -> Iterator[RawPool]:
        for row in queries:
            candidates = sorted({*others, *partners[row]} - known[row] - {row})
            grades = [int(each in partners[row]) for each in candidates]
            yield RawPool(ids[row], ids[row], [ids[each] for each in candidates], grades)

    rules = (
        "Test pairs of co-cited papers. Each query is a paper of one; relevant are those cited together with it in the "
        "test split; candidates are the other papers but those cited together with it in training or dev."
    )
    if len(queries) < len(partners) or len(others) < len(ids):
        rules += f" A sample: {len(queries):,} queries and {len(others):,} candidates."
    return judged_set(
        name=HELD_OUT,
        origin="constructed",
        papers={each["id"]: pool_paper(each["id"], each["title"], each["abstract"]) for each in records},
        pools=pools(),
        splits={"test": [[ids[row] for row in queries]]},
        relevant_from=1,
        rules=rules,
    )


def _partners(*splits: Rows) -> defaultdict[int, set[int]]:
    """The papers that each paper is paired with."""
    partners: defaultdict[int, set[int]] = defaultdict(set)
    for rows in splits:
        for anchor, positive in rows[:, :2].tolist():
            partners[anchor].add(positive)
            partners[positive].add(anchor)
    return partners


def _sample(rows: Sequence[int], ids: Sequence[str], *, count: int) -> list[int]:
    """At most `count` of the rows, in order: those whose ids have the lowest hashes."""
    if len(rows) <= count:
        return list(rows)
    lowest = heapq.nsmallest(count, rows, key=lambda row: hashlib.sha256(ids[row].encode("utf-8", "replace")).digest())
    return sorted(lowest)
