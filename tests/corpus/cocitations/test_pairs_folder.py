"""Folders of training pairs: what is written is read again, and every damage is refused with a sentence."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.cocitations import pairs_folder
from corpus.cocitations.pairs import PairsError, TrainingPairs
from corpus.cocitations.pairs_folder import CONTEXTS_SCHEMA, read_pairs, write_pairs
from corpus.judged_sets.released import read_released
from corpus.paper import SCHEMA, Paper, to_table

HERE = Path(__file__).resolve().parent
TRAIN = np.array([[0, 1], [1, 2], [0, 1], [3, 4]], np.int32)
DEV = np.array([[0, 3, 5], [5, 6, 3]], np.int32)
TEST = np.array([[1, 7], [7, 2]], np.int32)


def papers(count: int = 9, **changed: Any) -> pa.Table:
    return to_table(
        [Paper(**{"id": f"p{i}", "title": f"Title {i}", "abstract": f"β {i}"} | changed) for i in range(count)]
    )


def contexts() -> pa.Table:
    rows = [{"citing": "doi:10.1/x", "sentence": "As seen [1, 2].", "cited": [0, 1], "split": "train"}]
    return pa.Table.from_pylist(rows, schema=CONTEXTS_SCHEMA)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pairs(
        tmp_path / "mine", papers=papers(), train=TRAIN, dev=DEV, test=TEST, contexts=contexts(), told={"seed": 0}
    )
    return tmp_path / "mine"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    written = write_pairs(
        tmp_path / "mine",
        papers=papers(),
        train=TRAIN,
        dev=DEV,
        test=TEST,
        contexts=contexts(),
        told={"seed": [1, "x"]},
    )
    read = read_pairs(tmp_path / "mine")
    for pairs in (written, read):
        assert isinstance(pairs, TrainingPairs)
        assert pairs.name == "mine"
        assert pairs.papers == papers()
        assert pairs.told == {"seed": [1, "x"]}
        for rows, wanted in ((pairs.train, TRAIN), (pairs.dev, DEV), (pairs.test, TEST)):
            assert rows.dtype == np.int32
            np.testing.assert_array_equal(rows, wanted)
    assert written.fingerprint == read.fingerprint
    assert pq.read_table(tmp_path / "mine" / "contexts.parquet") == contexts()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_fingerprint_is_of_texts_and_pairs_alone(tmp_path: Path) -> None:
    def fingerprint(**changed: Any) -> str:
        parts = {"papers": papers(), "train": TRAIN, "dev": DEV, "test": TEST} | changed
        name = hashlib.sha256(repr(changed).encode()).hexdigest()
        return write_pairs(tmp_path / name, **parts).fingerprint

    first = fingerprint()
    assert fingerprint(told={"x": 1}) == first
    assert fingerprint(papers=papers(year=2020, venue="Z")) == first
    others = [
        fingerprint(papers=papers(abstract="other")),
        fingerprint(train=TRAIN[::-1]),
        fingerprint(dev=DEV[:1]),
        fingerprint(test=TEST[:1]),
        fingerprint(papers=papers(10)),
    ]
    assert len({first, *others}) == 6


def test_an_empty_test_split_is_no_fault_and_has_no_held_out_set(tmp_path: Path) -> None:
    write_pairs(tmp_path / "mine", papers=papers(), train=TRAIN, dev=DEV, test=TEST[:0])
    assert len(read_pairs(tmp_path / "mine").test) == 0
    assert not (tmp_path / "mine" / "held-out").exists()


def test_the_held_out_set_is_the_test_split(folder: Path) -> None:
    judged = read_released(folder / "held-out", name="")
    assert judged.name == "held-out"
    assert judged.relevant_from == 1
    assert judged.splits == {"test": (("p1", "p2", "p7"),)}
    found = {
        pool.query: {judged.papers[row].id: grade for row, grade in zip(pool.rows, pool.grades, strict=True)}
        for pool in judged.pools
    }
    # p0 and p2 are cited together with p1 in training, and p1 with p2.
    assert found["p1"] == {"p3": 0, "p4": 0, "p5": 0, "p6": 0, "p7": 1, "p8": 0}
    assert found["p2"] == {"p0": 0, "p3": 0, "p4": 0, "p5": 0, "p6": 0, "p7": 1, "p8": 0}
    assert found["p7"] == {"p0": 0, "p1": 1, "p2": 1, "p3": 0, "p4": 0, "p5": 0, "p6": 0, "p8": 0}


def test_a_large_held_out_set_is_a_sample_with_all_that_is_relevant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corpus.cocitations import held_out_set

    monkeypatch.setattr(held_out_set, "MOST_QUERIES", 2)
    monkeypatch.setattr(held_out_set, "MOST_CANDIDATES", 6)
    write_pairs(tmp_path / "mine", papers=papers(), train=TRAIN, dev=DEV, test=TEST)
    judged = read_released(tmp_path / "mine" / "held-out", name="")
    assert len(judged.pools) == 2
    wanted = {"p1": {"p7"}, "p2": {"p7"}, "p7": {"p1", "p2"}}
    for pool in judged.pools:
        relevant = {judged.papers[row].id for row, grade in zip(pool.rows, pool.grades, strict=True) if grade}
        assert relevant == wanted[pool.query]
        assert len(pool.rows) <= 3 + 2
    assert "A sample: 2 queries and 3 candidates." in judged.rules


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"train": TRAIN[:0]}, "no pair is left to train on"),
        ({"dev": DEV[:0]}, "the dev set is empty"),
        ({"train": np.array([[0, 9]], np.int32)}, "names a row"),
        ({"train": np.array([[0, -1]], np.int32)}, "names a row"),
        ({"train": np.array([[1, 1]], np.int32)}, "pairs a paper with itself"),
        ({"train": np.array([[3, 0]], np.int32)}, "train.parquet and dev.parquet share a pair"),
        ({"train": np.array([[7, 1]], np.int32)}, "train.parquet and test.parquet share a pair"),
        ({"test": np.array([[6, 5]], np.int32)}, "dev.parquet and test.parquet share a pair"),
        ({"dev": np.array([[0, 3, 1]], np.int32)}, "cited together with its anchor"),
        ({"dev": np.array([[0, 3, 0]], np.int32)}, "cited together with its anchor"),
        ({"dev": np.array([[0, 3, 3]], np.int32)}, "cited together with its anchor"),
        ({"dev": DEV[:, :2]}, "anchor, positive, negative"),
        ({"train": TRAIN.astype(np.int64)}, "anchor, positive"),
        ({"papers": papers(title="")}, "without a title"),
        ({"papers": papers(id="x")}, "without an id of their own"),
        ({"papers": papers().drop_columns(["doi"])}, "no table of at most"),
    ],
)
def test_pairs_that_are_not_what_they_should_be_are_not_written(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    parts = {"papers": papers(), "train": TRAIN, "dev": DEV, "test": TEST} | changed
    with pytest.raises(PairsError, match=told):
        write_pairs(tmp_path / "mine", **parts)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_never_written_over(folder: Path) -> None:
    parts: dict[str, Any] = {"papers": papers(), "train": TRAIN, "dev": DEV, "test": TEST}
    before = (folder / "pairs.json").read_bytes()
    with pytest.raises(PairsError, match="is there already, and is not empty"):
        write_pairs(folder, **parts)
    with pytest.raises(PairsError, match="is a file"):
        write_pairs(folder / "pairs.json", **parts)
    with pytest.raises(PairsError, match="Make it first"):
        write_pairs(folder.parent / "no" / "where", **parts)
    assert (folder / "pairs.json").read_bytes() == before
    (folder.parent / "empty").mkdir()
    write_pairs(folder.parent / "empty", **parts)
    assert read_pairs(folder.parent / "empty").name == "empty"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pairs_folder, "write_released", full)
    with pytest.raises(OSError, match="No space"):
        write_pairs(tmp_path / "mine", papers=papers(), train=TRAIN, dev=DEV, test=TEST)
    assert not list(tmp_path.iterdir())


# Damage


FILES = ["papers.parquet", "train.parquet", "dev.parquet", "test.parquet", "contexts.parquet"]


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_missing_or_changed_is_named(folder: Path, file: str) -> None:
    whole = (folder / file).read_bytes()
    for content, told in (
        (whole[:-1], "bytes instead of"),
        (bytes([whole[0] ^ 1]) + whole[1:], "has been changed"),
        (None, "is missing"),
    ):
        (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
        with pytest.raises(PairsError, match=told) as caught:
            read_pairs(folder)
        assert file in str(caught.value)


def sealed(folder: Path, file: str, change: Callable[[Path], None], **numbers: int) -> None:
    """Change a file and seal it again, as somebody would who means harm."""
    change(folder / file)
    manifest = json.loads((folder / "pairs.json").read_text())
    content = (folder / file).read_bytes()
    manifest["files"][file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "pairs.json").write_text(json.dumps(manifest | numbers))


def as_table(table: pa.Table, **options: Any) -> Callable[[Path], None]:
    return lambda path: pq.write_table(table, path, **{"use_dictionary": False} | options)


def rows_of(columns: list[list[Any]], kind: pa.DataType | None = None) -> pa.Table:
    names = ["anchor", "positive", "negative"][: len(columns)]
    return pa.table({name: pa.array(column, kind or pa.int32()) for name, column in zip(names, columns, strict=True)})


@pytest.mark.parametrize(
    ("file", "table", "told"),
    [
        ("train.parquet", rows_of([[0], [99]]), "names a row"),
        ("train.parquet", rows_of([[0], [None]]), "empty places"),
        ("train.parquet", rows_of([[0], [2**40]], pa.int64()), "damaged"),
        ("train.parquet", rows_of([[0.5], [1.0]], pa.float64()), "damaged"),
        ("train.parquet", rows_of([[0], [1], [2]]), "no such table"),
        ("train.parquet", rows_of([["a"], ["b"]], pa.string()), "damaged"),
        ("train.parquet", rows_of([[0], [4]]), "fingerprint"),
        ("dev.parquet", rows_of([[0], [3], [1]]), "cited together with its anchor"),
    ],
)
def test_a_table_that_was_sealed_again_is_looked_at(folder: Path, file: str, table: pa.Table, told: str) -> None:
    sealed(folder, file, as_table(table), **{file.removesuffix(".parquet"): table.num_rows})
    with pytest.raises(PairsError, match=told):
        read_pairs(folder)


def test_a_small_file_that_would_unpack_to_a_large_one_is_refused_unread(folder: Path) -> None:
    text = pa.array(["x" * 1_000_000]).dictionary_encode()
    shared = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), text.dictionary)
    columns = {name: papers(1)[name].take(pa.array(np.zeros(20_000, np.int64))) for name in SCHEMA.names}
    bomb = pa.table(columns | {"abstract": shared})
    sealed(folder, "papers.parquet", as_table(bomb, use_dictionary=True), papers=20_000)
    assert (folder / "papers.parquet").stat().st_size < 100_000
    with pytest.raises(PairsError, match="no such table"):
        read_pairs(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"papers": -1},
        {"papers": True},
        {"train": 1e9},
        {"dev": 10**30},
        {"files": {}},
        {"files": {file: {} for file in FILES}},
        {"files": {file: {"bytes": 1, "sha256": None} for file in FILES}},
        {"files": {"../x": {"bytes": 1, "sha256": "0"}}},
        {"fingerprint": None},
        {"fingerprint": "0" * 64},
        {"told": []},
        {"papers": 8},
    ],
)
def test_a_manifest_that_is_none_is_refused(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "pairs.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(PairsError):
        read_pairs(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": NaN}', "[" * 100_000, "1" * 5_000, "\ud800"])
def test_a_manifest_that_is_no_json_is_refused(folder: Path, text: str) -> None:
    (folder / "pairs.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(PairsError, match=r"pairs\.json"):
        read_pairs(folder)


def test_a_long_name_of_characters_of_several_bytes_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("論" * 80)  # 240 bytes of the 255 that a name may have
    write_pairs(folder, papers=papers(), train=TRAIN, dev=DEV, test=TEST)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


_KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from test_pairs_folder import DEV, TEST, TRAIN, papers
from corpus.cocitations.pairs_folder import write_pairs

written = pq.write_table
def last(table, path, **options):
    written(table, path, **options)
    if path.name == "dev.parquet":
        print(path.parent.name, flush=True)
        sys.stdin.read() if sys.argv[2] == "wait" else os.kill(os.getpid(), signal.SIGKILL)
pq.write_table = last
write_pairs(Path(sys.argv[1]), papers=papers(), train=TRAIN, dev=DEV, test=TEST)
"""


def test_what_a_killed_writing_left_is_cleared_away_and_a_living_one_s_is_not(tmp_path: Path) -> None:
    def begin(name: str, then: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", _KILLED, str(tmp_path / name), then]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])}
        return subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    others = tmp_path / f".mine.{'a' * 31}.partial"  # somebody else's
    others.mkdir()
    left = set()
    for name in ("mine", "yours"):
        with begin(name, "die") as killed:
            assert killed.stdout
            left.add(killed.stdout.readline().strip())
        assert killed.returncode == -signal.SIGKILL
    assert left <= {path.name for path in tmp_path.iterdir()}
    with begin("mine", "wait") as living:
        assert living.stdout
        at_work = living.stdout.readline().strip()
        write_pairs(tmp_path / "mine", papers=papers(), train=TRAIN, dev=DEV, test=TEST)
        yours = next(name for name in left if "yours" in name)
        assert {path.name for path in tmp_path.iterdir()} == {"mine", yours, at_work, others.name}
        living.kill()
    # What is written has no trace of the writing.
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted([*FILES, "held-out", "pairs.json"])


def test_what_is_no_folder_of_pairs_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PairsError, match="no such folder"):
        read_pairs(tmp_path / "nowhere")
    with pytest.raises(PairsError, match="no such folder"):
        read_pairs(folder / "pairs.json")
    (folder / "pairs.json").unlink()
    with pytest.raises(PairsError, match=r"holds no pairs\.json"):
        read_pairs(folder)
    shutil.rmtree(folder)
