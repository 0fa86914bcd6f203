"""Stored judged sets: uploads are checked first, cards follow the files, names never become paths."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from components.evaluation import sets
from components.evaluation.sets import delete_set, describe, keep_files, keep_set, read_set, set_names
from corpus.judged_sets.model import JudgedSet, SetError
from corpus.judged_sets.released import read_released
from corpus.progress import Cancelled
from tests.corpus.judged_sets.releases import cube, release, texts, write

POOLS = {"1": {"2": 2, "3": 1, "4": 0, "5": 0, "6": 0}, "2": {"1": 0, "3": 2, "gone": 2}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a small RELISH."""
    splits = {"dev": ["1"], "test": ["2"]}
    return release(tmp_path / "files", "relish", papers=texts(*range(1, 7)), pools=POOLS, splits=splits)


@pytest.fixture
def judged(folder: Path) -> JudgedSet:
    return read_released(folder)


def uploaded(folder: Path) -> dict[str, io.BytesIO]:
    return {path.name: io.BytesIO(path.read_bytes()) for path in folder.iterdir()}


def left(home: Path) -> list[str]:
    """The names in the folder of sets."""
    return sorted(path.name for path in (home / ".sets").iterdir())


def test_of_two_processes_with_one_name_the_first_wins(home: Path, folder: Path, judged: JudgedSet) -> None:
    def keep_meanwhile(stage: str, done: int, total: int) -> None:
        if set_names() == []:
            keep_set(judged, "mine")

    with pytest.raises(SetError, match="a judged set 'mine' already. Give this one another name"):
        keep_files("mine", uploaded(folder), progress=keep_meanwhile)
    assert (set_names(), left(home)) == (["mine"], ["mine"])
    assert describe("mine").splits == {"dev": 1, "test": 1}


def test_uploaded_files_are_kept_and_read_by_name(home: Path, folder: Path, judged: JudgedSet) -> None:
    card = keep_files("mine", uploaded(folder))
    assert (set_names(), left(home)) == (["mine"], ["mine"])
    found = read_set("mine")
    assert (found.name, found.origin, found.relevant_from) == ("mine", "released", 2)
    assert found.fingerprint == judged.fingerprint
    assert card == describe("mine")
    assert (card.name, card.facets, card.splits) == ("mine", (), {"dev": 1, "test": 1})
    assert (card.papers, card.pools, card.candidates, card.origin, card.relevant_from) == (6, 2, 7, "released", 2)
    assert card.handled == judged.handled
    assert card.bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_a_constructed_set_keeps_its_issues(home: Path, judged: JudgedSet) -> None:
    card = keep_set(judged, "made-1")
    found = read_set("made-1")
    assert (found.fingerprint, found.handled) == (judged.fingerprint, judged.handled)
    assert (card.origin, card.handled, card.relevant_from) == ("own", judged.handled, 2)
    assert left(home) == ["made-1"]


def test_a_set_of_facets_is_described_as_a_whole(home: Path, tmp_path: Path) -> None:
    card = keep_files("csfcube", uploaded(cube(tmp_path / "cube")))
    assert card.facets == ("background", "method", "result")
    assert (card.pools, card.splits) == (11, {"dev": 5, "test": 11})
    assert len(read_set("csfcube", facet="method").pools) == 3
    with pytest.raises(SetError, match="csfcube has facets"):
        read_set("csfcube")


def test_a_folder_is_read_in_place(home: Path, folder: Path, judged: JudgedSet) -> None:
    assert read_set("relish", data=folder).fingerprint == judged.fingerprint
    assert read_set("", data=folder).name == "relish"
    with pytest.raises(SetError, match="It has the texts of: relish"):
        read_set("treccovid", data=folder)
    assert set_names() == []


def test_the_card_is_computed_again_only_when_a_file_changes(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keep_files("mine", uploaded(folder))
    read: list[Path] = []

    def counted(path: Path, **more: object) -> JudgedSet:
        read.append(path)
        return read_released(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(sets, "read_released", counted)
    assert (describe("mine"), read) == (first, [])
    write(home / ".sets" / "mine" / "relish-evaluation_splits.json", {"test": ["1", "2"]})
    assert describe("mine").splits == {"test": 2}
    assert len(read) == 1
    describe("mine")
    assert len(read) == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 1}', "[" * 100_000, None])
def test_a_damaged_card_is_made_again(home: Path, folder: Path, damage: str | None) -> None:
    first = keep_files("mine", uploaded(folder))
    path = home / ".sets" / "mine" / "card.json"
    card_file = json.loads(path.read_text())
    card_file["card"].pop("papers")
    path.write_text(json.dumps(card_file) if damage is None else damage)
    assert describe("mine") == first
    assert json.loads(path.read_text())["card"]["papers"] == 6


def test_invalid_files_leave_nothing(home: Path, folder: Path) -> None:
    files = uploaded(folder)
    files["test-pid2anns-relish.json"] = io.BytesIO(b'{"1": {"cands": ["2"], "relevance_adju": [-1]}}')
    with pytest.raises(SetError, match="query '1': -1 is not a grade"):
        keep_files("mine", files)
    del files["test-pid2anns-relish.json"]
    with pytest.raises(SetError, match="^The upload has no test-pid2anns-relish.json.* Add it.$"):
        keep_files("mine", files)
    with pytest.raises(SetError, match="^The upload has the texts of several sets"):
        keep_files("mine", {**uploaded(folder), "abstracts-mine.jsonl": io.BytesIO(b"")})
    with pytest.raises(SetError, match="^The upload has no abstracts-<set>.jsonl"):
        keep_files("mine", {})
    assert (left(home), set_names()) == ([], [])


@pytest.mark.parametrize(
    "called", ["../abstracts-x.jsonl", "/etc/passwd", "notes.txt", "card.json", "abstracts-x.jsonl/y"]
)
def test_a_file_name_of_no_set_is_refused(home: Path, folder: Path, called: str) -> None:
    with pytest.raises(
        SetError, match="is not a file of a judged set. Give abstracts-<set>.jsonl.* make plain --help$"
    ):
        keep_files("mine", uploaded(folder) | {called: io.BytesIO(b"x")})
    assert not (home / ".sets").exists()


@pytest.mark.parametrize("name", ["", "..", "../x", "A", "a/b", ".hidden", "ir:x", "a" * 65, "a\n"])
def test_an_invalid_name_is_refused(home: Path, judged: JudgedSet, folder: Path, name: str) -> None:
    for attempt in (
        lambda: keep_set(judged, name),
        lambda: keep_files(name, uploaded(folder)),
        lambda: describe(name),
        lambda: delete_set(name),
    ):
        with pytest.raises(SetError, match="cannot be the name of a set"):
            attempt()


def test_what_a_killed_process_left_is_deleted_by_the_next(home: Path, judged: JudgedSet) -> None:
    for name in (".gone-1", ".new-old", ".new-young"):
        (home / ".sets" / name / "x").mkdir(parents=True)
    os.utime(home / ".sets" / ".new-old", (0, 0))
    keep_set(judged, "mine")
    assert left(home) == [".new-young", "mine"]
    assert set_names() == ["mine"]


def test_links_are_not_sets(home: Path, tmp_path: Path, judged: JudgedSet, folder: Path) -> None:
    keep_set(judged, "mine")
    (home / ".sets" / "linked").symlink_to(folder)
    assert set_names() == ["mine"]
    with pytest.raises(SetError, match="There is no judged set 'linked'. Stored sets: mine"):
        read_set("linked")


def test_a_stop_or_too_many_bytes_store_nothing(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        raise Cancelled(stage)

    with pytest.raises(Cancelled):
        keep_files("mine", uploaded(folder), progress=stop)
    monkeypatch.setattr(sets, "MAX_FILES_BYTES", 500)
    with pytest.raises(SetError, match="the files exceed 500 Bytes together"):
        keep_files("mine", uploaded(folder))
    assert left(home) == []


def test_a_deleted_or_unknown_set_is_named(home: Path, judged: JudgedSet) -> None:
    assert set_names() == []
    keep_set(judged, "mine")
    delete_set("mine")
    delete_set("mine")
    assert (set_names(), left(home)) == ([], [])
    with pytest.raises(SetError, match="There is no judged set 'mine'. Stored sets: none yet"):
        read_set("mine")
    with pytest.raises(SetError, match="has no facets"):
        read_set("ir:beir/scifact/test", facet="method")
