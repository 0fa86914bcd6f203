"""Training pairs of real text: every co-cited pair of the shared data is found, and full texts give contexts."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.cli.main import main
from corpus.cocitations.pairs_folder import read_pairs

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs real co-citations: ../shared/data is not there")


def real_pairs(*, most_cited: int, acm: bool, scifact: bool) -> set[frozenset[str]]:
    """The co-cited pairs of the files, in a few lines: all their sentences pass the filters of the text."""
    found: set[frozenset[str]] = set()
    if scifact:
        with (DATA / "scifact/cocited_pairs.tsv").open() as file:
            found.update(frozenset(one.split()) for one in file)
    if acm:
        with (DATA / "acm/cocitation_sentences.jsonl").open() as file:
            cited = [{doi.lower() for doi in json.loads(one)["dois"]} for one in file]
        found.update(frozenset(pair) for dois in cited if len(dois) <= most_cited for pair in combinations(dois, 2))
    return found


@pytest.mark.parametrize(("most_cited", "acm", "scifact"), [(3, False, True), (3, True, False), (100, True, True)])
def test_real_pairs_are_joined_to_their_texts(tmp_path: Path, most_cited: int, acm: bool, scifact: bool) -> None:
    words: list[object] = [DATA / "acm/cocitation_sentences.jsonl", "--papers", DATA / "acm/docs.jsonl.gz"] * acm
    words += ["--pairs", DATA / "scifact/cocited_pairs.tsv", "--papers", DATA / "scifact/corpus.jsonl.gz"] * scifact
    out = tmp_path / "out"
    words += ["--dev", 20, "--test", 20, "--most-cited", most_cited]
    assert main(["pairs", *map(str, words), "--out", str(out)]) == 0
    pairs = read_pairs(out)
    ids = pairs.papers["id"].to_pylist()
    rows = [pair[:2] for split in (pairs.train, pairs.dev, pairs.test) for pair in split.tolist()]
    assert {frozenset(ids[row] for row in pair) for pair in rows} == real_pairs(
        most_cited=most_cited, acm=acm, scifact=scifact
    )
    assert all(pairs.papers["abstract"].to_pylist())
    assert "nothing" not in pairs.told["joined"]["references"]


def test_full_texts_alone_give_contexts_whose_papers_are_their_references(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["pairs", str(DATA / "plos/articles.tar.gz"), "--titles-alone", "--out", str(out), "--workers", "1"]
    assert main(words) == 0
    pairs = read_pairs(out)
    told = pairs.told["contexts"]
    assert pairs.told["full_texts"]["documents"] == 60
    assert (
        sum(count for name, count in told.items() if name not in ("sentences", "kept")) + told["kept"]
        == (told["sentences"])
    )
    contexts = pq.read_table(out / "contexts.parquet").to_pylist()
    assert len(contexts) == told["kept"] > 300
    for context in contexts:
        assert 2 <= len(set(context["cited"])) == len(context["cited"]) <= 3
        assert 5 <= len(context["sentence"].split()) <= 60
        assert set("()[]") & set(context["sentence"])
