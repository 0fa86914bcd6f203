"""Training pairs on disk: a folder that is written whole or not at all, and read only where it is what was written.

papers.parquet                          a table with `corpus.paper.SCHEMA`
train.parquet, dev.parquet, test.parquet   rows of papers: anchor, positive; dev has the negative, too
contexts.parquet                        what the pairs were taken from, with `CONTEXTS_SCHEMA`
held-out/                               the test pairs as a judged set, for `cocite evaluate`
pairs.json                              numbers, fingerprint, sizes and SHA-256 of the files, and how they were made
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.cocitations.held_out_set import held_out_set
from corpus.cocitations.pairs import PairsError, Rows, TrainingPairs, pair_keys
from corpus.io.hashing import sha256_of
from corpus.judged_sets.released import write_released
from corpus.paper import SCHEMA, text_hash

PAPERS, TRAIN, DEV, TEST = "papers.parquet", "train.parquet", "dev.parquet", "test.parquet"
CONTEXTS, MANIFEST, HELD_OUT = "contexts.parquet", "pairs.json", "held-out"
FORMAT = 1
# split: in which all pairs of the context are that are in any; cited: rows of papers, none twice.
CONTEXTS_SCHEMA = pa.schema(
    [
        pa.field("citing", pa.string(), nullable=False),
        pa.field("sentence", pa.string(), nullable=False),
        pa.field("cited", pa.list_(pa.int32()), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)
MOST_PAPERS = 20_000_000  # 3 kB each: what the largest machines hold
MOST_PAIRS = 200_000_000  # the authors had 1.3 million
_LARGEST_UNPACKED = 64 * 2**30  # bytes of a file
_LARGEST_MANIFEST = 32 * 2**20  # bytes; a report of a thousand lines has 200 kB
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("anchor", "positive"),
    DEV: ("anchor", "positive", "negative"),
    TEST: ("anchor", "positive"),
}
_LOCK = ".writing"  # in a folder that is being written; it falls with the process
# A dictionary, or prefixes that are shared, would let a small file unpack to more than its sizes say.
_PLAIN = {"PLAIN", "RLE", "BIT_PACKED"}


def write_pairs(
    folder: Path,
    *,
    papers: pa.Table,
    train: Rows,
    dev: Rows,
    test: Rows,
    contexts: pa.Table | None = None,
    told: Mapping[str, Any] | None = None,
) -> TrainingPairs:
    """Write training pairs into a new folder, and give them as they will be read.

    papers, train, dev, test, told: as in TrainingPairs. contexts: a table with `CONTEXTS_SCHEMA`.
    Raises PairsError where something is there already, or the pairs are not what they should be; OSError.
    """
    refuse_taken(folder)
    folder = folder.resolve()
    pairs = _checked(
        folder.name,
        papers=papers,
        splits={TRAIN: train, DEV: dev, TEST: test},
        told=dict(told or {}),
        place=str(folder),
    )
    tables = {PAPERS: papers, CONTEXTS: CONTEXTS_SCHEMA.empty_table() if contexts is None else contexts}
    for file, rows in ((TRAIN, train), (DEV, dev), (TEST, test)):
        tables[file] = pa.table({name: rows[:, place] for place, name in enumerate(_COLUMNS[file])})
    with _whole(folder) as partial:
        for file, table in tables.items():
            pq.write_table(table, partial / file, compression="zstd", use_dictionary=False)
        if (judged := held_out_set(pairs)) is not None:
            write_released(judged, partial / HELD_OUT)
        manifest = {
            "format": FORMAT,
            "fingerprint": pairs.fingerprint,
            "papers": papers.num_rows,
            "train": len(train),
            "dev": len(dev),
            "test": len(test),
            "files": {
                file: {"bytes": (partial / file).stat().st_size, "sha256": sha256_of(partial / file)} for file in tables
            },
            "told": pairs.told,
        }
        text = json.dumps(manifest, indent=1, allow_nan=False)
        (partial / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return pairs


def refuse_taken(folder: Path) -> None:
    """Raise PairsError unless a folder can be made, or is there and empty: runs rest on the pairs that one holds."""
    try:
        if any(folder.iterdir()):
            raise PairsError(f"{folder} is there already, and is not empty. Name another folder, or delete this one.")
    except FileNotFoundError as error:
        if not folder.resolve().parent.is_dir():
            raise PairsError(f"{folder}: there is no folder {folder.resolve().parent}. Make it first.") from error
    except NotADirectoryError as error:
        raise PairsError(f"{folder} is a file. Name a folder to write the pairs into.") from error
    except OSError as error:
        raise PairsError(f"{folder}: it cannot be looked into ({error.strerror}). Name another folder.") from error


def read_pairs(folder: Path) -> TrainingPairs:
    """Read a folder of training pairs, every file checked against its seal before anything reads it.

    Raises PairsError, which names the first file that is not what pairs.json says, or what is wrong with the pairs.
    """
    manifest = _manifest(folder)
    for file, seal in manifest["files"].items():
        _check_seal(folder / file, seal)
    papers = _table(folder / PAPERS, SCHEMA, rows=manifest["papers"])
    # Made and told, but no part of training: whether it can be read is seen here, before anyone wants it.
    _table(folder / CONTEXTS, CONTEXTS_SCHEMA, rows=None)
    splits = {}
    for file, rows in ((TRAIN, manifest["train"]), (DEV, manifest["dev"]), (TEST, manifest["test"])):
        schema = pa.schema([pa.field(name, pa.int32()) for name in _COLUMNS[file]])
        columns = _table(folder / file, schema, rows=rows)
        splits[file] = np.column_stack([columns[name].to_numpy() for name in schema.names]).astype(np.int32)
    name = folder.resolve().name
    pairs = _checked(name, papers=papers, splits=splits, told=manifest["told"], place=str(folder))
    if pairs.fingerprint != manifest["fingerprint"]:
        raise PairsError(f"{folder}: its fingerprint is not that of what it holds. {_AGAIN}")
    return pairs


_AGAIN = "Make the pairs again, or put the folder back from a copy."


def _checked(
    name: str, *, papers: pa.Table, splits: Mapping[str, Rows], told: dict[str, Any], place: str
) -> TrainingPairs:
    """The pairs, all that TrainingPairs promises looked at. Raises PairsError."""
    if papers.schema != SCHEMA or papers.num_rows > MOST_PAPERS:
        raise PairsError(f"{place}: {PAPERS} is no table of at most {MOST_PAPERS:,} papers. {_AGAIN}")
    ids, titles = papers["id"].to_pylist(), papers["title"].to_pylist()
    if len(set(ids)) != len(ids) or not all(ids):
        raise PairsError(f"{place}: {PAPERS} has papers without an id of their own. {_AGAIN}")
    if not all(titles):
        raise PairsError(f"{place}: {PAPERS} has a paper without a title, {ids[titles.index('')]!r:.80}. {_AGAIN}")
    for file, rows in splits.items():
        if rows.dtype != np.int32 or rows.ndim != 2 or rows.shape[1] != len(_COLUMNS[file]):
            raise PairsError(f"{place}: {file} is no table of rows: {', '.join(_COLUMNS[file])}. {_AGAIN}")
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < papers.num_rows:
            raise PairsError(f"{place}: {file} names a row that {PAPERS} does not have. {_AGAIN}")
        if (rows[:, 0] == rows[:, 1]).any():
            raise PairsError(f"{place}: {file} pairs a paper with itself. {_AGAIN}")
    train, dev, test = splits[TRAIN], splits[DEV], splits[TEST]
    if not len(train):
        raise PairsError(
            f"{place}: no pair is left to train on. Give more full texts or pairs, or smaller --dev and --test."
        )
    if not len(dev):
        raise PairsError(
            f"{place}: the dev set is empty, and without it nobody can tell which checkpoint is the best. Give a "
            "larger --dev (a number of pairs, as in --dev 50), another --seed, or more full texts."
        )
    keys = {file: pair_keys(rows, papers=papers.num_rows) for file, rows in splits.items()}
    for one, other in ((TRAIN, DEV), (TRAIN, TEST), (DEV, TEST)):
        if np.isin(keys[one], keys[other]).any():
            raise PairsError(f"{place}: {one} and {other} share a pair. {_AGAIN}")
    against = pair_keys(dev[:, [0, 2]], papers=papers.num_rows)
    if (dev[:, 0] == dev[:, 2]).any() or any(np.isin(against, known).any() for known in keys.values()):
        raise PairsError(f"{place}: {DEV} has a negative that is cited together with its anchor. {_AGAIN}")
    return TrainingPairs(
        name=name,
        fingerprint=_fingerprint(papers, [train, dev, test]),
        papers=papers,
        train=train,
        dev=dev,
        test=test,
        told=told,
    )


def _fingerprint(papers: pa.Table, splits: list[Rows]) -> str:
    digest = hashlib.sha256(f"{FORMAT} {papers.num_rows} {[rows.shape for rows in splits]}".encode())
    for batch in papers.select(["title", "abstract"]).to_batches(max_chunksize=1024):
        for title, abstract in zip(batch["title"].to_pylist(), batch["abstract"].to_pylist(), strict=True):
            digest.update(text_hash(title, abstract))
    for rows in splits:
        digest.update(np.ascontiguousarray(rows, dtype="<i4").tobytes())
    return digest.hexdigest()


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when all went well, flushed to the disk; else it is taken away.

    What a killed process left there by this name is deleted first.
    """
    _clear_torn(folder)
    partial = folder.with_name(f"{_prefix(folder)}{uuid4().hex}.partial")
    partial.mkdir()
    lock = filelock.FileLock(partial / _LOCK)
    try:
        with suppress(NotImplementedError):  # a file system without locks: then nobody clears there
            lock.acquire()
        yield partial
        lock.release()
        (partial / _LOCK).unlink(missing_ok=True)
        for path in [*sorted(partial.rglob("*")), partial]:
            _flush(path)
        try:
            partial.rename(folder)  # onto an empty one, too
        except OSError:
            refuse_taken(folder)
            raise
        _flush(folder.parent)
    finally:
        lock.release()
        shutil.rmtree(partial, ignore_errors=True)


def _prefix(folder: Path) -> str:
    # A name may have 255 bytes, and a character four.
    short = os.fsencode(folder.name)[:100].decode(errors="ignore")
    return f".{short}."


def _clear_torn(folder: Path) -> None:
    """Delete what writings of this folder have left whose process was killed: their lock can be had."""
    form = re.compile(rf"{re.escape(_prefix(folder))}[0-9a-f]{{32}}\.partial")
    found: list[Path] = []
    with suppress(OSError):  # a folder that may be written and not listed
        found = [path for path in folder.parent.iterdir() if form.fullmatch(path.name)]
    for torn in found:
        if torn.is_symlink() or not (torn / _LOCK).is_file():
            continue
        with suppress(filelock.Timeout, NotImplementedError, OSError), filelock.FileLock(torn / _LOCK, timeout=0):
            shutil.rmtree(torn, ignore_errors=True)


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        if not folder.is_dir():
            raise PairsError(f"{folder}: there is no such folder of pairs. Make one: cocite pairs")
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise PairsError(f"{path} has more than {_LARGEST_MANIFEST // 2**20} MB. {_AGAIN}")
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise PairsError(f"{folder} holds no {MANIFEST}, so it is no folder of pairs. {_AGAIN}") from error
    except OSError as error:
        raise PairsError(f"{path}: it cannot be read ({error.strerror}). See who may read it.") from error
    except (ValueError, RecursionError) as error:
        raise PairsError(f"{path} is damaged: it is not JSON. {_AGAIN}") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise PairsError(f"{path} is of another format than this version reads ({FORMAT}). {_AGAIN}")
    numbers = {"papers": MOST_PAPERS, "train": MOST_PAIRS, "dev": MOST_PAIRS, "test": MOST_PAIRS}
    for key, most in numbers.items():
        if not _is_number(raw.get(key)) or raw[key] > most:
            raise PairsError(f"{path}: {key} is {raw.get(key)!r:.40}; it should be 0 to {most:,}. {_AGAIN}")
    files = raw.get("files")
    wanted = {PAPERS, TRAIN, DEV, TEST, CONTEXTS}
    if not isinstance(files, dict) or set(files) != wanted or not all(map(_is_seal, files.values())):
        raise PairsError(f"{path} does not list the files of a folder of pairs. {_AGAIN}")
    if not isinstance(raw.get("fingerprint"), str) or not isinstance(raw.get("told"), dict):
        raise PairsError(f"{path} lacks the fingerprint, or what was told of the pairs. {_AGAIN}")
    return raw


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_seal(value: object) -> bool:
    return isinstance(value, dict) and _is_number(value.get("bytes")) and isinstance(value.get("sha256"), str)


def _check_seal(path: Path, seal: Mapping[str, Any]) -> None:
    try:
        if not path.is_file():
            raise PairsError(f"{path} is missing. {_AGAIN}")
        if (size := path.stat().st_size) != seal["bytes"]:
            raise PairsError(f"{path} has {size:,} bytes instead of {seal['bytes']:,}. {_AGAIN}")
        if sha256_of(path) != seal["sha256"]:
            raise PairsError(f"{path} has been changed since the pairs were made. {_AGAIN}")
    except OSError as error:
        raise PairsError(f"{path}: it cannot be read ({error.strerror}). See who may read it.") from error


def _table(path: Path, schema: pa.Schema, *, rows: int | None) -> pa.Table:
    """The table in a file, with this schema and, where that is known, so many rows. Raises PairsError."""
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
            if rows is not None and metadata.num_rows != rows:
                raise PairsError(f"{path} has {metadata.num_rows:,} rows instead of {rows:,}. {_AGAIN}")
            if file.schema_arrow.names != schema.names or not all(_PLAIN.issuperset(one.encodings) for one in chunks):
                raise PairsError(f"{path} is no such table as this version writes. {_AGAIN}")
            if sum(chunk.total_uncompressed_size for chunk in chunks) > _LARGEST_UNPACKED:
                raise PairsError(f"{path} unpacks to more than {_LARGEST_UNPACKED // 2**30} GB. {_AGAIN}")
            table = file.read()
        if any(table[field.name].null_count for field in schema if not field.nullable or field.type == pa.int32()):
            raise PairsError(f"{path} has empty places. {_AGAIN}")
        table = table.cast(schema)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        said = (str(error).splitlines() or [""])[0][:150]
        raise PairsError(f"{path} is damaged ({said}). {_AGAIN}") from error
    return table


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
