"""What waits to be built: hostile names and requests, limits while copying, what is listed, thrown away and cleared."""

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import filelock
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.jobs import store as staging
from components.jobs.store import (
    NoSuchStaged,
    Staged,
    StagedBusy,
    StagedFile,
    UploadTooLarge,
    ask,
    clear_old,
    discard,
    drop_file,
    held,
    new_staging,
    safe_name,
    stage_file,
    staged,
    staged_path,
    waiting,
)


def library(home: Path, **changes: Any) -> Staged:
    """A request of one file, asked for."""
    new = new_staging()
    file = stage_file(new, "My library.ris", io.BytesIO(b"TY  - JOUR\r\n"))
    return ask(Staged(**{"id": new, "kind": "files", "name": "library", "files": (file,), **changes}))


def request_of(home: Path, id: str) -> Path:
    return home / ".staged" / id / "request.json"


def test_what_is_asked_for_waits_with_its_files(home: Path) -> None:
    asked = library(
        home,
        title="My library",
        encoder="tfidf-svd",
        keep_without_abstract=True,
        most=5,
        source="pubmed",
        query="gut AND brain",
    )
    assert staged(asked.id) == asked
    assert waiting() == [asked]
    assert asked.called == "My library"
    assert [path.read_bytes() for path in asked.paths] == [b"TY  - JOUR\r\n"]
    assert all(home in path.parents for path in asked.paths)
    later = library(home, name="other")
    assert [one.name for one in waiting()] == ["other", "library"]
    discard(asked.id)
    discard(asked.id)  # twice is once
    assert waiting() == [later]
    with pytest.raises(NoSuchStaged, match="Nothing waits"):
        staged(asked.id)


@given(st.text(max_size=200))
def test_any_name_becomes_one_that_stays_in_its_folder(name: str) -> None:
    safe = safe_name(name)
    assert staging._SAFE_NAME.fullmatch(safe)
    assert Path(safe).name == safe
    assert safe_name(safe) == safe
    assert not safe.endswith((".", " "))
    assert safe.split(".")[0].lower() not in ("con", "prn", "aux", "nul", "com1", "lpt1")


def test_files_of_one_name_are_kept_apart_and_can_be_dropped(home: Path) -> None:
    new = new_staging()
    names = [stage_file(new, name, io.BytesIO(b"x")).name for name in ("a.ris", "../a.ris", "A.ris", "a")]
    assert names == ["a.ris", "a-2.ris", "A-3.ris", "a"]
    drop_file(new, "a-2.ris")
    drop_file(new, "../../../etc/passwd")
    assert not staged_path(new, "a-2.ris").exists()
    assert staged_path(new, "a.ris").exists()
    with pytest.raises(NoSuchStaged):
        staged_path(new, "../request.json")
    stage_file(new, "b\n**x**\x00.ris", io.BytesIO(b""))
    assert stage_file(new, "b\n**x**\x00.ris", io.BytesIO(b"")).called == "b **x** .ris"


class Endless:
    """A file without an end."""

    def read(self, size: int, /) -> bytes:
        return b"0" * size


def test_a_file_is_refused_while_it_is_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "LARGEST_FILE", 3 * 2**20)
    monkeypatch.setattr(staging, "LARGEST_TOTAL", 5 * 2**20)
    new = new_staging()
    with pytest.raises(UploadTooLarge, match="endless"):
        stage_file(new, "endless.ris", Endless())
    assert list((home / ".staged" / new / "files").iterdir()) == []
    stage_file(new, "one", io.BytesIO(bytes(3 * 2**20)))
    with pytest.raises(UploadTooLarge, match="with it the files"):
        stage_file(new, "two", io.BytesIO(bytes(3 * 2**20)))
    monkeypatch.setattr(staging, "MOST_FILES", 1)
    with pytest.raises(UploadTooLarge, match="at most 1 files"):
        stage_file(new, "three", io.BytesIO(b""))


@pytest.mark.parametrize("id", ["", "..", "../../x", "0" * 15, "G" * 16, "0" * 16 + "\n", "/tmp"])
def test_only_ids_come_in(home: Path, id: str) -> None:
    for refused in (staged, discard, lambda id: held(id).__enter__(), lambda id: drop_file(id, "a.ris")):
        with pytest.raises(NoSuchStaged):
            refused(id)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0" * 16},
        {"kind": "shell"},
        {"name": "../other"},
        {"name": ""},
        {"title": "x" * 201},
        {"title": 3},
        {"encoder": ["x"]},
        {"encoder": "x" * 2000},
        {"precision": "float8"},
        {"most": -1},
        {"most": True},
        {"most": 2**40},
        {"query": "x" * 6000},
        {"query": None},
        {"created": "yesterday"},
        {"created": "2026-01-01T00:00:00"},
        {"keep_without_abstract": 1},
        {"files": None},
        {"files": [{"name": "../request.json", "called": "x"}]},
        {"files": [{"name": "gone.ris", "called": "x"}]},
        {"files": [{"name": "link.ris", "called": "x"}]},
        {"files": [{"name": "My library.ris", "called": "x", "columns": [1]}]},
        {"files": [{"name": "My library.ris", "called": "x", "columns": {"title": 3}}]},
        {"files": [{"name": "My library.ris", "called": "x", "path": "/etc/passwd"}]},
        {"more": 1},
    ],
)
def test_a_request_that_was_tampered_with_is_none(home: Path, change: dict[str, Any]) -> None:
    asked = library(home)
    (home / ".staged" / asked.id / "files" / "link.ris").symlink_to("/etc/passwd")
    path = request_of(home, asked.id)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert waiting() == []
    with pytest.raises(NoSuchStaged):
        staged(asked.id)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"{}" + b" " * 600_000])
def test_a_request_that_is_none_is_passed_over(home: Path, content: bytes) -> None:
    asked, good = library(home), library(home)
    request_of(home, asked.id).write_bytes(content)
    assert waiting() == [good]


def test_what_is_too_long_to_be_asked_for_is_said(home: Path) -> None:
    with pytest.raises(NoSuchStaged, match="too long"):
        library(home, query="x" * 6000)
    assert waiting() == []


def test_what_is_worked_on_is_not_waiting_and_not_thrown_away(home: Path) -> None:
    asked = library(home)
    with filelock.FileLock(home / ".staged" / asked.id / ".lock"):
        assert waiting() == []
        with pytest.raises(StagedBusy):
            discard(asked.id)
        with pytest.raises(StagedBusy), held(asked.id):
            pass
    with held(asked.id):
        pass
    assert waiting() == [asked]


def test_what_nobody_went_on_with_is_cleared(home: Path) -> None:
    old, new, looked_at, looking_at = library(home), library(home), new_staging(), new_staging()
    stage_file(looked_at, "a.ris", io.BytesIO(b""))

    def age(id: str, days: float) -> None:
        folder = home / ".staged" / id
        for path in (*folder.rglob("*"), folder):
            os.utime(path, (time.time() - days * 86_400,) * 2)

    age(old.id, 31)
    age(new.id, 29)
    age(looked_at, 3)
    age(looking_at, 1)
    (home / ".staged" / "notes").mkdir()
    clear_old()
    assert {path.name for path in (home / ".staged").iterdir()} == {new.id, looking_at, "notes"}


def test_nothing_waits_where_there_is_no_home(home: Path) -> None:
    assert waiting() == []
    clear_old()
    assert StagedFile("a", "a").columns == {}
