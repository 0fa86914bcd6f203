"""Sets of ir_datasets: the package's own classes over files of this test; nothing is fetched."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from corpus.sources.client import Client
from corpus.sources.errors import SourceError, SourceRefused, SourceUnavailable
from corpus.sources.fetch import fetch
from corpus.sources.lookup import SOURCES

ir_datasets = pytest.importorskip("ir_datasets")

_SOURCE = SOURCES["ir_datasets"]
CLIENT = Client()  # this source sends no request itself


class Doc(NamedTuple):
    doc_id: str
    text: str
    title: str
    authors: list[str]
    year: Any
    pubmed_id: str
    url: str


class Untitled(NamedTuple):
    doc_id: str
    text: str


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a set of 1,200 documents, of which one has no text and one no title."""
    from ir_datasets.datasets.base import Dataset
    from ir_datasets.formats import JsonlDocs
    from ir_datasets.util import LocalDownload

    monkeypatch.delenv("COCITE_ATLAS_OFFLINE", raising=False)
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "ir_datasets"))
    lines = []
    for i in range(1_200):
        doc = Doc(
            f"d{i}", f"Title {i}. Text of {i} &lt; 7.", f"Title {i}", ["Emmy Noether"], 1999, str(i), "javascript:x"
        )
        if i == 3:
            doc = doc._replace(text="")
        if i == 4:
            doc = doc._replace(title="")
        lines.append(json.dumps(doc._asdict()))
    path = tmp_path / "docs.jsonl"
    path.write_text("\n".join(lines))
    ir_datasets.registry.register("planted/set", Dataset(JsonlDocs([LocalDownload(path)], Doc)))
    ir_datasets.registry.register("planted/untitled", Dataset(JsonlDocs([LocalDownload(path)], Untitled)))
    ir_datasets.registry.register("planted/bare", Dataset())
    yield "planted/set"
    for name in ("planted/set", "planted/untitled", "planted/bare"):
        ir_datasets.registry._registered.pop(name, None)


def test_a_set_is_fetched(planted: str, tmp_path: Path) -> None:
    report = fetch(_SOURCE, planted, tmp_path / "f")
    assert (report.kept, report.left_out, report.complete) == (1_198, {"empty": 2}, True)
    first = json.loads((tmp_path / "f" / "papers.jsonl").read_text().splitlines()[0])
    assert first == {
        "id": "d0",
        "title": "Title 0",
        "abstract": "Text of 0 < 7.",
        "authors": ["Noether, Emmy"],
        "year": 1999,
        "venue": "",
        "doi": "",
        "pmid": "",  # 0 is no PMID
        "url": "",
        "topics": [],
    }


def test_from_a_cursor_the_rest_follows(planted: str) -> None:
    pages = list(_SOURCE.pages(planted, client=CLIENT))
    assert [len(page.papers) + len(page.problems) for page in pages] == [500, 500, 200]
    assert list(_SOURCE.pages(planted, cursor=pages[0].cursor, client=CLIENT)) == pages[1:]
    with pytest.raises(SourceError, match="Start the fetch again"):
        list(_SOURCE.pages(planted, cursor="x", client=CLIENT))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no/such/set", "has no dataset with the id 'no/such/set'"),
        ("planted/bare", "has no documents"),
        ("planted/untitled", "have no titles"),
        ("", "empty"),
    ],
)
def test_sets_that_cannot_be_read_are_told(planted: str, name: str, words: str) -> None:
    with pytest.raises(SourceRefused, match=words):
        _SOURCE.count(name, client=CLIENT)


def test_released_sets_are_known_by_the_package() -> None:
    assert _SOURCE.count("beir/scifact", client=CLIENT) == 5_183
    with pytest.raises(SourceRefused, match="have no titles"):
        _SOURCE.count("msmarco-passage", client=CLIENT)


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(SourceUnavailable, match="pip install ir-datasets"):
        _SOURCE.count("beir/scifact", client=CLIENT)


def test_a_set_that_is_not_there_is_reported(planted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").unlink()
    with pytest.raises(SourceUnavailable, match="could not read 'planted/set'"):
        list(_SOURCE.pages(planted, client=CLIENT))
    monkeypatch.setenv("COCITE_ATLAS_OFFLINE", "1")
    with pytest.raises(SourceUnavailable, match="COCITE_ATLAS_OFFLINE"):
        list(_SOURCE.pages(planted, client=CLIENT))
