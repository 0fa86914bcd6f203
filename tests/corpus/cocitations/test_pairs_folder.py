"""Folders of training pairs: what is written is read again, and every damage is refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.cocitations import pairs_folder
from corpus.cocitations.pairs import PairsError, TrainingPairs
from corpus.cocitations.pairs_folder import CONTEXTS_SCHEMA, read_pairs, write_pairs
from corpus.judged_sets.released import read_released
from corpus.paper import SCHEMA, Paper, to_table

TRAIN = np.array([[0, 1], [1, 2], [0, 1], [3, 4]], np.int32)
DEV = np.array([[0, 3, 5], [5, 6, 3]], np.int32)
TEST = np.array([[1, 7], [7, 2]], np.int32)
CONTEXTS = pa.Table.from_pylist(
    [{"citing": "doi:10.1/x", "sentence": "As seen [1, 2].", "cited": [0, 1], "split": "train"}], schema=CONTEXTS_SCHEMA
)
FILES = ["papers.parquet", "train.parquet", "dev.parquet", "test.parquet", "contexts.parquet"]


def papers(count: int = 9, **changed: Any) -> pa.Table:
    return to_table(
        [Paper(**{"id": f"p{i}", "title": f"Title {i}", "abstract": f"β {i}"} | changed) for i in range(count)]
    )


def write(folder: Path, **changed: Any) -> TrainingPairs:
    parts = {"papers": papers(), "train": TRAIN, "dev": DEV, "test": TEST, "contexts": CONTEXTS}
    return write_pairs(folder, **parts | changed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "mine", provenance={"seed": [1, "x"]})
    return tmp_path / "mine"


def test_written_pairs_are_read_again(tmp_path: Path) -> None:
    written = write(tmp_path / "mine", provenance={"seed": [1, "x"]})
    read = read_pairs(tmp_path / "mine")
    for pairs in (written, read):
        assert (pairs.name, pairs.papers, pairs.provenance) == ("mine", papers(), {"seed": [1, "x"]})
        for rows, wanted in ((pairs.train, TRAIN), (pairs.dev, DEV), (pairs.test, TEST)):
            assert rows.dtype == np.int32
            np.testing.assert_array_equal(rows, wanted)
    assert written.fingerprint == read.fingerprint
    assert pq.read_table(tmp_path / "mine" / "contexts.parquet") == CONTEXTS
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted([*FILES, "held-out", "pairs.json"])


def test_the_fingerprint_depends_on_texts_and_pairs_only(tmp_path: Path) -> None:
    def fingerprint(**changed: Any) -> str:
        return write(tmp_path / hashlib.sha256(repr(changed).encode()).hexdigest(), **changed).fingerprint

    first = fingerprint()
    assert fingerprint(provenance={"x": 1}) == first
    assert fingerprint(papers=papers(year=2020, venue="Z")) == first
    changes = [
        {"papers": papers(abstract="other")}, {"train": TRAIN[::-1]}, {"dev": DEV[:1]}, {"test": TEST[:1]},
        {"papers": papers(10)},
    ]  # fmt: skip
    assert len({first, *(fingerprint(**change) for change in changes)}) == 6


def test_the_held_out_set_is_the_test_split(folder: Path) -> None:
    judged = read_released(folder / "held-out", name="")
    assert (judged.name, judged.relevant_from, judged.splits) == ("held-out", 1, {"test": (("p1", "p2", "p7"),)})
    found = {
        pool.query: {judged.papers[row].id: grade for row, grade in zip(pool.rows, pool.grades, strict=True)}
        for pool in judged.pools
    }
    # p0 and p2 are cited together with p1 in training, and p1 with p2.
    assert found["p1"] == {"p3": 0, "p4": 0, "p5": 0, "p6": 0, "p7": 1, "p8": 0}
    assert found["p2"] == {"p0": 0, "p3": 0, "p4": 0, "p5": 0, "p6": 0, "p7": 1, "p8": 0}
    assert found["p7"] == {"p0": 0, "p1": 1, "p2": 1, "p3": 0, "p4": 0, "p5": 0, "p6": 0, "p8": 0}


def test_a_large_held_out_set_is_a_sample_with_all_relevant_papers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs_folder, "MAX_QUERIES", 2)
    monkeypatch.setattr(pairs_folder, "MAX_CANDIDATES", 6)
    write(tmp_path / "mine")
    judged = read_released(tmp_path / "mine" / "held-out", name="")
    assert len(judged.pools) == 2 and "A sample: 2 queries and 3 candidates." in judged.rules
    wanted = {"p1": {"p7"}, "p2": {"p7"}, "p7": {"p1", "p2"}}
    for pool in judged.pools:
        relevant = {judged.papers[row].id for row, grade in zip(pool.rows, pool.grades, strict=True) if grade}
        assert relevant == wanted[pool.query] and len(pool.rows) <= 5


def test_without_test_pairs_there_is_no_held_out_set(tmp_path: Path) -> None:
    write(tmp_path / "mine", test=TEST[:0])
    assert len(read_pairs(tmp_path / "mine").test) == 0
    assert not (tmp_path / "mine" / "held-out").exists()


def rows(*values: list[int]) -> Any:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": TRAIN[:0]}, "no pair is left to train on"),
        ({"dev": DEV[:0]}, "the dev set is empty"),
        ({"train": rows([0, 9])}, "names a row"),
        ({"train": rows([0, -1])}, "names a row"),
        ({"papers": papers().drop_columns(["doi"])}, "no table of at most"),
    ],
)
def test_invalid_pairs_are_not_written(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(PairsError, match=message):
        write(tmp_path / "mine", **changed)
    assert not list(tmp_path.iterdir())


def test_existing_folders_are_never_overwritten(folder: Path) -> None:
    before = (folder / "pairs.json").read_bytes()
    for path, message in (
        (folder, "is there already, and is not empty"),
        (folder / "pairs.json", "is a file"),
        (folder.parent / "no" / "where", "Make it first"),
    ):
        with pytest.raises(PairsError, match=message):
            write(path)
    assert (folder / "pairs.json").read_bytes() == before
    (folder.parent / "empty").mkdir()
    write(folder.parent / "empty")
    assert read_pairs(folder.parent / "empty").name == "empty"


def test_leftovers_are_overwritten_and_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("論" * 80)  # 240 bytes of the 255 that a name may have
    partial = tmp_path / f".{'論' * 66}.partial"
    (partial / "held-out").mkdir(parents=True)
    (partial / "left.parquet").touch()
    with filelock.FileLock(partial / ".writing"), pytest.raises(PairsError, match="another process is writing it"):
        write(folder)
    write(folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert read_pairs(folder).papers == papers()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pairs_folder, "write_released", fail)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "mine")
    assert not list(tmp_path.iterdir())


# Damage


@pytest.mark.parametrize("file", FILES)
def test_a_missing_or_changed_file_is_named(folder: Path, file: str) -> None:
    whole = (folder / file).read_bytes()
    for content, message in (
        (whole[:-1], "bytes instead of"),
        (bytes([whole[0] ^ 1]) + whole[1:], "has been changed"),
        (None, "is missing"),
    ):
        (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
        with pytest.raises(PairsError, match=f"{file}.*{message}"):
            read_pairs(folder)


def replace_file(folder: Path, file: str, change: Callable[[Path], None], **counts: int) -> None:
    """Change a file and its checksum."""
    change(folder / file)
    manifest = json.loads((folder / "pairs.json").read_text())
    content = (folder / file).read_bytes()
    manifest["files"][file] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "pairs.json").write_text(json.dumps(manifest | counts))


def columns(values: list[list[Any]], kind: pa.DataType | None = None) -> pa.Table:
    names = ("anchor", "positive", "negative")
    return pa.table({name: pa.array(column, kind or pa.int32()) for name, column in zip(names, values, strict=False)})


@pytest.mark.parametrize(
    ("file", "table", "message"),
    [
        ("train.parquet", columns([[0], [99]]), "names a row"),
        ("train.parquet", columns([[0], [None]]), "empty cells"),
        ("train.parquet", columns([[0], [2**40]], pa.int64()), "damaged"),
        ("train.parquet", columns([[0.5], [1.0]], pa.float64()), "damaged"),
        ("train.parquet", columns([[0], [1], [2]]), "no table that this version writes"),
        ("train.parquet", columns([["a"], ["b"]], pa.string()), "damaged"),
        ("train.parquet", columns([[0], [4]]), "fingerprint"),
    ],
)
def test_a_changed_table_with_a_valid_checksum_is_refused(
    folder: Path, file: str, table: pa.Table, message: str
) -> None:
    counts = {file.removesuffix(".parquet"): table.num_rows}
    replace_file(folder, file, lambda path: pq.write_table(table, path, use_dictionary=False), **counts)
    with pytest.raises(PairsError, match=message):
        read_pairs(folder)


def test_a_small_file_that_unpacks_to_a_large_one_is_refused_unread(folder: Path) -> None:
    text = pa.array(["x" * 1_000_000]).dictionary_encode()
    shared = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), text.dictionary)
    table = {name: papers(1)[name].take(pa.array(np.zeros(20_000, np.int64))) for name in SCHEMA.names}
    bomb = pa.table(table | {"abstract": shared})
    replace_file(folder, "papers.parquet", lambda path: pq.write_table(bomb, path), papers=20_000)
    assert (folder / "papers.parquet").stat().st_size < 100_000
    with pytest.raises(PairsError, match="no table that this version writes"):
        read_pairs(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"papers": -1}, {"papers": True}, {"train": 1e9}, {"dev": 10**30}, {"files": {}},
        {"files": {file: {"bytes": 1, "sha256": None} for file in FILES}},
        {"files": {"../x": {"bytes": 1, "sha256": "0"}}}, {"fingerprint": None}, {"fingerprint": "0" * 64},
        {"told": []}, {"papers": 8},
    ],
)  # fmt: skip
def test_an_invalid_manifest_is_refused(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "pairs.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(PairsError):
        read_pairs(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": NaN}', "[" * 100_000, "1" * 5_000, "\ud800"])
def test_a_manifest_that_is_not_json_is_refused(folder: Path, text: str) -> None:
    (folder / "pairs.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(PairsError, match=r"pairs\.json"):
        read_pairs(folder)


def test_other_paths_are_refused(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", folder / "pairs.json"):
        with pytest.raises(PairsError, match="no such folder"):
            read_pairs(path)
    (folder / "pairs.json").unlink()
    with pytest.raises(PairsError, match=r"holds no pairs\.json"):
        read_pairs(folder)
