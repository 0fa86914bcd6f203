"""Stored requests: hostile names and contents, limits while copying, listing, discarding and clearing."""

import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import filelock
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.jobs import store
from components.jobs.model import SAFE_NAME, JobRequest, UploadedFile
from components.jobs.store import (
    NoSuchRequest,
    RequestBusy,
    UploadTooLarge,
    add_file,
    clear_old,
    discard,
    file_path,
    lock_request,
    new_request_id,
    read_request,
    remove_file,
    safe_name,
    save_request,
    waiting_requests,
)


def library(home: Path, **changes: Any) -> JobRequest:
    """A request of one file, asked for."""
    new = new_request_id()
    file = add_file(new, "My library.ris", io.BytesIO(b"TY  - JOUR\r\n"))
    return save_request(JobRequest(**{"id": new, "kind": "files", "name": "library", "files": (file,), **changes}))


def request_of(home: Path, id: str) -> Path:
    return home / ".staged" / id / "request.json"


def test_a_request_waits_with_its_files_until_it_is_discarded(home: Path) -> None:
    asked = library(
        home,
        title="My library",
        encoder="tfidf-svd",
        keep_without_abstract=True,
        limit=5,
        source="pubmed",
        query="gut AND brain",
    )
    assert read_request(asked.id) == asked
    assert waiting_requests() == [asked]
    assert [path.read_bytes() for path in asked.paths] == [b"TY  - JOUR\r\n"]
    assert all(home in path.parents for path in asked.paths)
    later = library(home, name="other")
    assert [request.name for request in waiting_requests()] == ["other", "library"]
    discard(asked.id)
    discard(asked.id)  # twice is once
    assert waiting_requests() == [later]
    with pytest.raises(NoSuchRequest, match="There is no request"):
        read_request(asked.id)


@example("a.123456789-0")  # cut where it would end with a dash
@given(st.text(max_size=200))
def test_any_name_becomes_a_safe_file_name(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(SAFE_NAME, safe)
    assert Path(safe).name == safe
    assert safe_name(safe) == safe
    assert not safe.endswith((".", " "))
    assert safe.split(".")[0].lower() not in ("con", "prn", "aux", "nul", "com1", "lpt1")


def test_files_of_one_name_are_kept_apart_and_can_be_removed(home: Path) -> None:
    new = new_request_id()
    names = [add_file(new, name, io.BytesIO(b"x")).name for name in ("a.ris", "../a.ris", "A.ris", "a")]
    assert names == ["a.ris", "a-2.ris", "A-3.ris", "a"]
    remove_file(new, "a-2.ris")
    remove_file(new, "../../../etc/passwd")
    assert not file_path(new, "a-2.ris").exists()
    assert file_path(new, "a.ris").exists()
    with pytest.raises(NoSuchRequest):
        file_path(new, "../request.json")
    add_file(new, "b\n**x**\x00.ris", io.BytesIO(b""))
    assert add_file(new, "b\n**x**\x00.ris", io.BytesIO(b"")).original_name == "b **x** .ris"


class Endless:
    """A file without an end."""

    def read(self, size: int, /) -> bytes:
        return b"0" * size


def test_a_file_that_is_too_large_is_refused_while_it_is_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_FILE_BYTES", 3 * 2**20)
    monkeypatch.setattr(store, "MAX_TOTAL_BYTES", 5 * 2**20)
    new = new_request_id()
    with pytest.raises(UploadTooLarge, match="endless"):
        add_file(new, "endless.ris", Endless())
    assert list((home / ".staged" / new / "files").iterdir()) == []
    add_file(new, "one", io.BytesIO(bytes(3 * 2**20)))
    with pytest.raises(UploadTooLarge, match="the files together"):
        add_file(new, "two", io.BytesIO(bytes(3 * 2**20)))
    monkeypatch.setattr(store, "MAX_FILES", 1)
    with pytest.raises(UploadTooLarge, match="at most 1 files"):
        add_file(new, "three", io.BytesIO(b""))


@pytest.mark.parametrize("id", ["", "..", "../../x", "0" * 15, "G" * 16, "0" * 16 + "\n", "/tmp"])
def test_an_invalid_id_is_refused(home: Path, id: str) -> None:
    for refused in (
        read_request,
        discard,
        lambda id: lock_request(id).__enter__(),
        lambda id: remove_file(id, "a.ris"),
    ):
        with pytest.raises(NoSuchRequest):
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
        {"limit": -1},
        {"limit": True},
        {"limit": 2**40},
        {"query": "x" * 6000},
        {"query": None},
        {"created": "yesterday"},
        {"created": "2026-01-01T00:00:00"},
        {"keep_without_abstract": 1},
        {"files": None},
        {"files": [{"name": "../request.json", "original_name": "x"}]},
        {"files": [{"name": "gone.ris", "original_name": "x"}]},
        {"files": [{"name": "link.ris", "original_name": "x"}]},
        {"files": [{"name": "My library.ris", "original_name": "x", "columns": [1]}]},
        {"files": [{"name": "My library.ris", "original_name": "x", "columns": {"title": 3}}]},
        {"files": [{"name": "My library.ris", "original_name": "x", "path": "/etc/passwd"}]},
        {"more": 1},
    ],
)
def test_a_request_that_was_tampered_with_is_ignored(home: Path, change: dict[str, Any]) -> None:
    asked = library(home)
    (home / ".staged" / asked.id / "files" / "link.ris").symlink_to("/etc/passwd")
    path = request_of(home, asked.id)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert waiting_requests() == []
    with pytest.raises(NoSuchRequest):
        read_request(asked.id)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"{}" + b" " * 600_000])
def test_a_file_that_is_no_request_is_ignored(home: Path, content: bytes) -> None:
    asked, good = library(home), library(home)
    request_of(home, asked.id).write_bytes(content)
    assert waiting_requests() == [good]


def test_a_request_that_is_too_long_is_refused(home: Path) -> None:
    with pytest.raises(ValidationError, match="query"):
        library(home, query="x" * 6000)
    assert waiting_requests() == []


def test_a_request_that_a_process_works_on_neither_waits_nor_can_be_discarded(home: Path) -> None:
    asked = library(home)
    with filelock.FileLock(home / ".staged" / asked.id / ".lock"):
        assert waiting_requests() == []
        with pytest.raises(RequestBusy):
            discard(asked.id)
        with pytest.raises(RequestBusy), lock_request(asked.id):
            pass
    with lock_request(asked.id):
        pass
    assert waiting_requests() == [asked]


def test_old_requests_and_uploads_are_cleared(home: Path) -> None:
    old, new, looked_at, looking_at = library(home), library(home), new_request_id(), new_request_id()
    add_file(looked_at, "a.ris", io.BytesIO(b""))

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


def test_nothing_waits_without_a_home(home: Path) -> None:
    assert waiting_requests() == []
    clear_old()
    assert UploadedFile(name="a", original_name="a").columns == {}
