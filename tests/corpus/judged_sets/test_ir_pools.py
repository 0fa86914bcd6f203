"""Judged sets of ir_datasets: the package's own classes over files of this test; nothing is fetched."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from corpus.judged_sets.ir_pools import read_ir_dataset
from corpus.judged_sets.model import DataIssue, SetError

ir_datasets = pytest.importorskip("ir_datasets")


class Doc(NamedTuple):
    doc_id: str
    title: str
    abstract: str


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """planted/judged: 12 documents, 3 queries of which one has no judgement; planted/docs has documents alone."""
    from ir_datasets.datasets.base import Dataset
    from ir_datasets.formats import JsonlDocs, TrecQrels, TrecXmlQueries
    from ir_datasets.util import LocalDownload

    monkeypatch.delenv("COCITE_ATLAS_OFFLINE", raising=False)
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "ir_datasets"))
    documents = [Doc(f"{i}", f"Title {i}", f"Abstract {i} &lt; 7.") for i in range(12)]
    documents[3] = Doc("3", "", "")
    lines = [json.dumps(document._asdict()) for document in [*documents, documents[5]]]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    (tmp_path / "queries.xml").write_text(
        "<topics>"
        '<topic number="1"><query>heart failure</query><question>What helps?</question><narrative>n</narrative></topic>'
        '<topic number="2"><query>galaxies</query><question></question><narrative></narrative></topic>'
        '<topic number="3"><query>nobody judged</query><question>x</question><narrative>y</narrative></topic>'
        "</topics>"
    )
    rows = ["1 0 1 2", "1 0 2 -1", "1 0 3 1", "1 0 4 0", "1 0 5 1", "1 0 6 0", "2 0 1 1", "2 0 gone 1", "9 0 1 1"]
    (tmp_path / "qrels.txt").write_text("\n".join(rows) + "\n")
    docs = JsonlDocs([LocalDownload(tmp_path / "docs.jsonl")], Doc)
    queries = TrecXmlQueries(
        LocalDownload(tmp_path / "queries.xml"),
        qtype_map={"query": "title", "question": "description", "narrative": "narrative"},
    )
    qrels = TrecQrels(LocalDownload(tmp_path / "qrels.txt"), {0: "no", 1: "partly", 2: "yes"})
    ir_datasets.registry.register("planted/judged", Dataset(docs, queries, qrels))
    ir_datasets.registry.register("planted/docs", Dataset(docs))
    yield tmp_path
    for name in ("planted/judged", "planted/docs"):
        ir_datasets.registry._registered.pop(name, None)


def test_a_querys_pool_is_what_was_judged_for_it(planted: Path) -> None:
    seen: list[str] = []
    found = read_ir_dataset("planted/judged", progress=lambda stage, done, total: seen.append(stage))
    assert (found.name, found.origin, found.relevant_from) == ("ir:planted/judged", "own", 1)
    pools = {
        pool.query: dict(zip((found.papers[row].id for row in pool.rows), pool.grades.tolist(), strict=True))
        for pool in found.pools
    }
    assert pools == {"query-1": {"1": 2, "2": 0, "4": 0, "5": 1, "6": 0}, "query-2": {"1": 1}}
    query = found.papers[found.pools[0].row]
    assert (query.title, query.abstract) == ("heart failure", "What helps?")
    assert next(paper for paper in found.papers if paper.id == "1").abstract == "Abstract 1 < 7."
    assert found.handled == (
        DataIssue("query_without_text", 1, ("query-9",)),
        DataIssue("candidate_without_text", 2, ("3", "gone")),
        DataIssue("title_only", 1, ("query-2",)),
        DataIssue("pool_under_five", 1, ("query-2",)),
        DataIssue("repeated_paper", 1, ("5",)),
    )
    assert "planted/judged" in found.rules
    assert "below 0 count as 0" in found.rules


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("planted/docs", "has no queries with judgements"),
        ("planted/nothing", "no dataset with the id 'planted/nothing'"),
        ("", "."),
    ],
)
def test_a_set_that_is_none_is_refused(planted: Path, id: str, message: str) -> None:
    with pytest.raises(SetError, match=message):
        read_ir_dataset(id)


def test_a_damaged_set_is_refused(planted: Path) -> None:
    (planted / "qrels.txt").write_text("1 0 1 two\n")
    with pytest.raises(SetError, match="could not read 'planted/judged'"):
        read_ir_dataset("planted/judged")


def test_nothing_is_fetched_where_that_is_forbidden(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCITE_ATLAS_OFFLINE", "1")
    with pytest.raises(SetError, match="COCITE_ATLAS_OFFLINE is set"):
        read_ir_dataset("planted/judged")


def test_without_the_package_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delenv("COCITE_ATLAS_OFFLINE", raising=False)
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(SetError, match="not installed. Run: pip install ir-datasets"):
        read_ir_dataset("beir/scifact")
