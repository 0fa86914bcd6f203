"""What waits is done: a corpus built, grown, shrunk, carried away and brought back, each by the id of its request."""

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
from components.encoder import LEXICAL
from components.jobs import run_job as staged_work
from components.jobs.run_job import Outcome, carry_out
from components.jobs.store import (
    NoSuchStaged,
    Staged,
    StagedBusy,
    StagedFile,
    ask,
    held,
    new_staging,
    stage_file,
    waiting,
)
from corpus.errors import CociteAtlasError
from corpus.export import to_ris
from corpus.paper import Paper
from corpus.progress import Cancelled
from corpus.readers import Problem
from corpus.sources.source import Page

Plant = Callable[[int], list[Paper]]


def asked(kind: str, name: str, files: dict[str, bytes], *, columns: dict[str, str] | None = None, **more: Any) -> str:
    """The id of a request with these files."""
    new = new_staging()
    staged = tuple(
        StagedFile(file.name, file.called, columns or {})
        for called, content in files.items()
        if (file := stage_file(new, called, io.BytesIO(content)))
    )
    return ask(Staged(**{"id": new, "kind": kind, "name": name, "files": staged, **more})).id


def done(kind: str, name: str, files: dict[str, bytes], **more: Any) -> Outcome:
    """What came of it; nothing waits any more."""
    outcome = carry_out(asked(kind, name, files, **more))
    assert waiting() == []
    return outcome


def ris(papers: list[Paper]) -> bytes:
    return to_ris(papers).encode()


@pytest.fixture
def library(home: Path, planted: Plant) -> str:
    """The name of a corpus that was built from a staged file of twelve planted papers."""
    return done("files", "library", {"my.ris": ris(planted(6))}, title="My library").manifest.name


def test_files_become_a_corpus(home: Path, planted: Plant) -> None:
    papers = planted(6)
    bare = Paper(id="bare", title="A title alone", abstract="")
    outcome = done(
        "files", "library", {"one.ris": ris(papers[:8]), "two.ris": ris([*papers[6:], bare])}, title="My *own*"
    )
    assert outcome.told == "12 papers; 1 record left out; 2 given twice and merged."
    manifest = read_manifest("library")
    assert (manifest.display_title, manifest.papers) == ("My *own*", 12)
    kept = done("files", "kept", {"two.ris": ris([*papers[6:], bare])}, keep_without_abstract=True)
    assert kept.manifest.papers == 7


def test_a_table_is_read_by_the_columns_that_were_chosen(home: Path, planted: Plant) -> None:
    rows = "\n".join(f'"{paper.abstract}","{paper.title}"' for paper in planted(2))
    outcome = done("files", "sheet", {"s.csv": f"A,B\n{rows}\n".encode()}, columns={"title": "B", "abstract": "A"})
    assert open_atlas(outcome.manifest.name).papers["title"].to_pylist() == [paper.title for paper in planted(2)]


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
    atlas = open_atlas(outcome.manifest.name)
    assert np.array_equal(atlas.vectors, vectors)
    assert (atlas.manifest.display_title, atlas.manifest.encoder.takes_text) == ("Mine", False)


def test_a_corpus_grows_and_shrinks(library: str, planted: Plant) -> None:
    before = open_atlas(library)
    grown = done("add", library, {"more.ris": ris(planted(7)[-4:])})
    assert grown.told == "2 papers added; 2 there already."
    after = open_atlas(library)
    assert len(after) == 14
    assert np.array_equal(after.coordinates[:12], before.coordinates)
    assert after.manifest.display_title == "My library"
    gone = after.papers["id"].to_pylist()[:3]
    shrunk = done("remove", library, {"ids.txt": "\n".join(gone).encode()})
    assert shrunk.told == "3 papers removed."
    assert open_atlas(library).papers["id"].to_pylist() == after.papers["id"].to_pylist()[3:]
    assert done("rebuild", library, {}).manifest.name == library


def test_an_archive_comes_back_beside_what_is_there(library: str, tmp_path: Path) -> None:
    write_archive(library, tmp_path / "a.zip")
    outcome = done("import", "anything", {"a.zip": (tmp_path / "a.zip").read_bytes()})
    assert outcome.manifest.name == "library-2"
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
    staging = asked(kind, "new", files)
    with pytest.raises(CociteAtlasError):
        carry_out(staging)
    assert [one.id for one in waiting()] == [staging]
    assert corpora() == []


class Bare:
    """A source whose records have no abstracts."""

    name, title, home, help, kinds = "bare", "Bare", "https://bare.org", "", ()

    def count(self, query: str, *, client: object = None) -> int:
        return 2

    def pages(self, query: str, *, client: object = None, cursor: str = "", most: int | None = None) -> Iterator[Page]:
        problems = tuple(Problem("Bare", f"record {n}", "empty", "no abstract.") for n in (1, 2))
        yield Page(papers=(), problems=problems, cursor="", total=2)


def test_a_query_that_gives_no_paper_is_told_of_by_what_became_of_its_records(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged_work, "SOURCES", {"bare": Bare()})
    waits = ask(Staged(id=new_staging(), kind="query", name="new", encoder=LEXICAL, source="bare", query="hearts"))
    with pytest.raises(CociteAtlasError, match="Bare: 0 papers of 2 records; left out: 2 without a title or an abs"):
        carry_out(waits.id)


def test_what_was_stopped_is_taken_up_again(home: Path, planted: Plant, small_chunks: None) -> None:
    staging = asked("files", "library", {"my.ris": ris(planted(6))})

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "Encoding papers" and done > 8:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        carry_out(staging, progress=stop)
    assert [one.id for one in waiting()] == [staging]
    seen = []
    carry_out(staging, progress=lambda stage, done, _: seen.append((stage, done)))
    assert min(done for stage, done in seen if stage == "Encoding papers") >= 4
    assert waiting() == []
    with pytest.raises(NoSuchStaged):
        carry_out(staging)


def test_one_process_at_a_time(home: Path, planted: Plant) -> None:
    staging = asked("files", "library", {"my.ris": ris(planted(1))})
    with held(staging), pytest.raises(StagedBusy):
        carry_out(staging)
