"""Requests are carried out: corpora built, changed and imported; atlases encoded again; sets and indexes measured."""

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
from components.evaluation import store as evaluations
from components.evaluation.sets import keep_set
from components.jobs.model import Event, JobRequest, curve_request, encode_request, evaluate_request
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
from corpus.readers.report import Problem
from corpus.sources import lookup
from corpus.sources.source import Page
from tests.components.evaluation.planted import judged_of

Plant = Callable[[int], list[Paper]]


def saved(kind: Any, name: str, files: dict[str, bytes], *, columns: Any = None, **fields: Any) -> JobRequest:
    """A stored request with these files, each a name and its content."""
    id = new_request_id()
    added = tuple(
        add_file(id, original_name, io.BytesIO(content)).model_copy(update={"columns": columns or {}})
        for original_name, content in files.items()
    )
    return save_request(JobRequest(id=id, kind=kind, name=name, files=added, **fields))


def run(kind: str, name: str, files: dict[str, bytes], **fields: Any) -> Event:
    """The result of a request; nothing waits any more."""
    result = run_job(saved(kind, name, files, **fields))
    assert waiting_requests() == []
    return result


def ris(papers: list[Paper]) -> bytes:
    return to_ris(papers).encode()


@pytest.fixture
def library(home: Path, planted: Plant) -> str:
    """The name of a corpus built from a file of twelve planted papers."""
    return run("files", "library", {"my.ris": ris(planted(6))}, title="My library", encoder=LEXICAL).built


def test_files_become_a_corpus(home: Path, planted: Plant) -> None:
    papers = planted(6)
    bare = Paper(id="bare", title="A title alone", abstract="")
    files = {"one.ris": ris(papers[:8]), "two.ris": ris([*papers[6:], bare])}
    result = run("files", "library", files, title="My *own*", encoder=LEXICAL)
    assert result.result == "12 papers; 1 record left out; 2 repeated and merged."
    manifest = read_manifest("library")
    assert (manifest.display_title, manifest.papers) == ("My *own*", 12)
    bares = {"two.ris": files["two.ris"]}
    assert run("files", "kept", bares, keep_without_abstract=True, encoder=LEXICAL).result == "7 papers."


def test_a_table_is_read_by_the_chosen_columns(home: Path, planted: Plant) -> None:
    rows = "\n".join(f'"{paper.abstract}","{paper.title}"' for paper in planted(2))
    columns = {"title": "B", "abstract": "A"}
    run("files", "sheet", {"s.csv": f"A,B\n{rows}\n".encode()}, columns=columns, encoder=LEXICAL)
    assert open_atlas("sheet").papers["title"].to_pylist() == [paper.title for paper in planted(2)]


def test_precomputed_vectors_are_kept_as_they_are(home: Path, planted: Plant) -> None:
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
    atlas = open_atlas(run("files", "own", {"own.parquet": sink.getvalue()}, vectors="embedding", title="Mine").built)
    assert np.array_equal(atlas.vectors, vectors)
    assert (atlas.manifest.display_title, atlas.manifest.encoder.takes_text) == ("Mine", False)


def test_a_corpus_grows_shrinks_and_is_laid_out_again(library: str, planted: Plant) -> None:
    before = open_atlas(library)
    grown = run("add", library, {"more.ris": ris(planted(7)[-4:])})
    assert (grown.built, grown.result) == (library, "2 papers added; 2 already there.")
    after = open_atlas(library)
    assert np.array_equal(after.coordinates[:12], before.coordinates)
    assert after.manifest.display_title == "My library"
    ids = after.papers["id"].to_pylist()
    assert run("remove", library, {"ids.txt": "\n".join(ids[:3]).encode()}).result == "3 papers removed."
    assert open_atlas(library).papers["id"].to_pylist() == ids[3:]
    assert run("rebuild", library, {}).built == library


def test_an_archive_is_imported_beside_what_is_there(library: str, tmp_path: Path) -> None:
    write_archive(library, tmp_path / "a.zip")
    assert run("import", "anything", {"a.zip": (tmp_path / "a.zip").read_bytes()}).built == "library-2"
    assert open_atlas("library-2").papers.equals(open_atlas(library).papers)


def test_an_atlas_is_encoded_again_and_its_index_and_a_judged_set_are_measured(topics: str) -> None:
    words = run_job(encode_request(topics, encoder=LEXICAL)).built
    assert words == f"{topics}--{LEXICAL}"
    curve = run_job(curve_request(words))
    assert curve.built == words and curve.result
    keep_set(judged_of(list("abcdefgh")), "mine")
    evaluation = run_job(evaluate_request("mine", encoder="tfidf", split="all"))
    assert evaluations.read(evaluation.built).set_name == "mine" and "MAP" in evaluation.result


@pytest.mark.parametrize(
    ("kind", "files", "error"),
    [
        ("files", {"a.ris": b""}, "it is empty"),
        ("files", {"a.ris": b"\x00\x01\x02"}, "a.ris"),
        ("files", {}, "no file was chosen"),
        ("add", {}, "no file was chosen"),
        ("add", {"a.ris": b"TY  - JOUR\r\nTI  - T\r\nAB  - A\r\nER  - \r\n"}, "no atlas"),
        ("remove", {"ids.txt": b"x"}, "no atlas"),
        ("rebuild", {}, "There is no corpus 'new'"),
        ("import", {"a.zip": b"PK\x03\x04 and no archive"}, "archive"),
        ("query", {}, "is not a source"),
    ],
)
def test_a_failed_request_is_explained_and_waits(home: Path, kind: str, files: dict[str, bytes], error: str) -> None:
    request = saved(kind, "new", files)
    with pytest.raises(CociteAtlasError, match=f"(?i){error}"):
        run_job(request)
    assert waiting_requests() == [request]
    assert corpora() == []


class Bare:
    """A source whose records have no abstracts."""

    name, title, home, help, kinds = "bare", "Bare", "https://bare.org", "", ()

    def count(self, query: str, *, client: object = None) -> int:
        return 2

    def pages(self, query: str, *, client: object = None, cursor: str = "", limit: int | None = None) -> Iterator[Page]:
        problems = tuple(Problem("Bare", f"record {n}", "empty", "no abstract.") for n in (1, 2))
        yield Page(papers=(), problems=problems, cursor="", total=2)


def test_a_query_without_usable_records_says_what_they_lack(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lookup.SOURCES, "bare", Bare())  # type: ignore[arg-type]
    request = saved("query", "new", {}, encoder=LEXICAL, source="bare", query="hearts")
    with pytest.raises(CociteAtlasError, match="Bare: 0 papers of 2 records; left out: 2 without a title or an abs"):
        run_job(request)


def test_a_stopped_request_is_resumed(home: Path, planted: Plant, small_chunks: None) -> None:
    request = saved("files", "library", {"my.ris": ris(planted(6))})

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "Encoding papers" and done > 8:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        run_job(request, progress=stop)
    assert waiting_requests() == [request]
    seen = []
    run_job(request, progress=lambda stage, done, _: seen.append((stage, done)))
    assert min(done for stage, done in seen if stage == "Encoding papers") >= 4
    with pytest.raises(NoSuchRequest):
        run_job(request)


def test_one_process_works_on_a_request_at_a_time(home: Path) -> None:
    request = saved("files", "library", {"my.ris": b"x"})
    with lock_request(request.id), pytest.raises(RequestBusy):
        run_job(request)
