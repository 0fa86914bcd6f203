"""Jobs are run: a corpus is built, grown, shrunk, archived and imported, each from a stored request."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.atlas.archive import write_archive
from components.atlas.corpora import corpora
from components.atlas.store import open_atlas, read_manifest
from components.encoder.catalogue import LEXICAL
from components.jobs.model import Event, JobRequest, UploadedFile
from components.jobs.run_job import run_job
from components.jobs.store import (
    NoSuchRequest,
    RequestBusy,
    add_file,
    lock_request,
    new_request_id,
    save_request,
    waiting_requests,
)
from corpus.errors import CociteAtlasError
from corpus.export import to_ris
from corpus.paper import Paper
from corpus.progress import Cancelled
from corpus.readers import Problem
from corpus.sources.lookup import SOURCES
from corpus.sources.source import Page

Plant = Callable[[int], list[Paper]]


def asked(
    kind: str, name: str, files: dict[str, bytes], *, columns: dict[str, str] | None = None, **more: Any
) -> JobRequest:
    """A stored request with these files."""
    new = new_request_id()
    staged = tuple(
        UploadedFile(name=file.name, original_name=file.original_name, columns=columns or {})
        for called, content in files.items()
        if (file := add_file(new, called, io.BytesIO(content)))
    )
    return save_request(JobRequest(**{"id": new, "kind": kind, "name": name, "files": staged, **more}))


def done(kind: str, name: str, files: dict[str, bytes], **more: Any) -> Event:
    """The result of a request; nothing waits any more."""
    outcome = run_job(asked(kind, name, files, **more))
    assert waiting_requests() == []
    return outcome


def ris(papers: list[Paper]) -> bytes:
    return to_ris(papers).encode()


@pytest.fixture
def library(home: Path, planted: Plant) -> str:
    """The name of a corpus that was built from a staged file of twelve planted papers."""
    return done("files", "library", {"my.ris": ris(planted(6))}, title="My library").built


def test_files_become_a_corpus(home: Path, planted: Plant) -> None:
    papers = planted(6)
    bare = Paper(id="bare", title="A title alone", abstract="")
    outcome = done(
        "files", "library", {"one.ris": ris(papers[:8]), "two.ris": ris([*papers[6:], bare])}, title="My *own*"
    )
    assert outcome.result == "12 papers; 1 record left out; 2 repeated and merged."
    manifest = read_manifest("library")
    assert (manifest.display_title, manifest.papers) == ("My *own*", 12)
    kept = done("files", "kept", {"two.ris": ris([*papers[6:], bare])}, keep_without_abstract=True)
    assert len(open_atlas(kept.built)) == 7


def test_a_table_is_read_by_the_columns_that_were_chosen(home: Path, planted: Plant) -> None:
    rows = "\n".join(f'"{paper.abstract}","{paper.title}"' for paper in planted(2))
    outcome = done("files", "sheet", {"s.csv": f"A,B\n{rows}\n".encode()}, columns={"title": "B", "abstract": "A"})
    assert open_atlas(outcome.built).papers["title"].to_pylist() == [paper.title for paper in planted(2)]


def test_vectors_of_their_own_are_taken_as_they_are(home: Path, planted: Plant) -> None:
    papers, vectors = planted(6), np.random.default_rng(1).normal(size=(12, 8)).astype(np.float32)
    table = pa.table(
        {
            "title": [paper.title for paper in papers],
            "abstract": [paper.abstract for paper in papers],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    outcome = done("files", "own", {"own.parquet": sink.getvalue()}, vectors="embedding", title="Mine")
    atlas = open_atlas(outcome.built)
    assert np.array_equal(atlas.vectors, vectors)
    assert (atlas.manifest.display_title, atlas.manifest.encoder.takes_text) == ("Mine", False)


def test_a_corpus_grows_and_shrinks(library: str, planted: Plant) -> None:
    before = open_atlas(library)
    grown = done("add", library, {"more.ris": ris(planted(7)[-4:])})
    assert grown.result == "2 papers added; 2 already there."
    after = open_atlas(library)
    assert len(after) == 14
    assert np.array_equal(after.coordinates[:12], before.coordinates)
    assert after.manifest.display_title == "My library"
    gone = after.papers["id"].to_pylist()[:3]
    shrunk = done("remove", library, {"ids.txt": "\n".join(gone).encode()})
    assert shrunk.result == "3 papers removed."
    assert open_atlas(library).papers["id"].to_pylist() == after.papers["id"].to_pylist()[3:]
    assert done("rebuild", library, {}).built == library


def test_an_archive_comes_back_beside_what_is_there(library: str, tmp_path: Path) -> None:
    write_archive(library, tmp_path / "a.zip")
    outcome = done("import", "anything", {"a.zip": (tmp_path / "a.zip").read_bytes()})
    assert outcome.built == "library-2"
    assert open_atlas("library-2").papers.equals(open_atlas(library).papers)
    assert read_manifest("library-2").display_title == "My library"


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("files", {"a.ris": b""}),
        ("files", {"a.ris": b"\x00\x01\x02"}),
        ("files", {}),
        ("add", {}),
        ("add", {"a.ris": b"TY  - JOUR\r\nTI  - T\r\nAB  - A\r\nER  - \r\n"}),
        ("remove", {"ids.txt": b"x"}),
        ("rebuild", {}),
        ("import", {"a.zip": b"PK\x03\x04 and no archive"}),
        ("query", {}),
    ],
)
def test_what_cannot_be_done_is_said_and_goes_on_waiting(home: Path, kind: str, files: dict[str, bytes]) -> None:
    request = asked(kind, "new", files)
    with pytest.raises(CociteAtlasError):
        run_job(request)
    assert waiting_requests() == [request]
    assert corpora() == []


class Bare:
    """A source whose records have no abstracts."""

    name, title, home, help, kinds = "bare", "Bare", "https://bare.org", "", ()

    def count(self, query: str, *, client: object) -> int:
        return 2

    def pages(self, query: str, *, client: object, cursor: str = "", limit: int | None = None) -> Iterator[Page]:
        problems = tuple(Problem("Bare", f"record {n}", "empty", "no abstract.") for n in (1, 2))
        yield Page(papers=(), problems=problems, cursor="", total=2)


def test_a_query_that_gives_no_paper_is_told_of_by_what_became_of_its_records(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "bare", Bare())
    waits = save_request(
        JobRequest(id=new_request_id(), kind="query", name="new", encoder=LEXICAL, source="bare", query="hearts")
    )
    with pytest.raises(CociteAtlasError, match="Bare: 0 papers of 2 records; left out: 2 without a title or an abs"):
        run_job(waits)


def test_what_was_stopped_is_taken_up_again(home: Path, planted: Plant, small_chunks: None) -> None:
    request = asked("files", "library", {"my.ris": ris(planted(6))})

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "Encoding papers" and done > 8:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        run_job(request, progress=stop)
    assert waiting_requests() == [request]
    seen = []
    run_job(request, progress=lambda stage, done, _: seen.append((stage, done)))
    assert min(done for stage, done in seen if stage == "Encoding papers") >= 4
    assert waiting_requests() == []
    with pytest.raises(NoSuchRequest):
        run_job(request)


def test_one_process_at_a_time(home: Path, planted: Plant) -> None:
    request = asked("files", "library", {"my.ris": ris(planted(1))})
    with lock_request(request.id), pytest.raises(RequestBusy):
        run_job(request)
