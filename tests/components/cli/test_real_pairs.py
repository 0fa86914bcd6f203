"""The verb pairs on real co-citations: they are joined to their texts, and full texts give contexts."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpus.cocitations.pairs_folder import read_pairs
from tests.components.cli.conftest import Cocite
from tests.components.cli.test_pairs import ids_of

pytestmark = pytest.mark.usefixtures("home")

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs real co-citations: ../shared/data is not there")


def real_pairs(*, most_cited: int, acm: bool, scifact: bool) -> set[frozenset[str]]:
    """The co-cited pairs of the files: all their sentences pass the filters of the text."""
    pairs: set[frozenset[str]] = set()
    if scifact:
        pairs |= {frozenset(row.split()) for row in (DATA / "scifact/cocited_pairs.tsv").read_text().splitlines()}
    if acm:
        rows = (DATA / "acm/cocitation_sentences.jsonl").read_text().splitlines()
        cited = [{doi.lower() for doi in json.loads(row)["dois"]} for row in rows]
        pairs |= {frozenset(pair) for dois in cited if len(dois) <= most_cited for pair in combinations(dois, 2)}
    return pairs


@needs_data
@pytest.mark.parametrize(
    ("most_cited", "acm", "scifact"), [(3, False, True), pytest.param(100, True, True, marks=pytest.mark.slow)]
)
def test_real_pairs_are_joined_to_their_texts(
    cocite: Cocite, tmp_path: Path, most_cited: int, acm: bool, scifact: bool
) -> None:
    files = [DATA / "acm/cocitation_sentences.jsonl", "--papers", DATA / "acm/docs.jsonl.gz"] * acm
    files += ["--pairs", DATA / "scifact/cocited_pairs.tsv", "--papers", DATA / "scifact/corpus.jsonl.gz"] * scifact
    out = tmp_path / "out"
    result = cocite("pairs", *files, "--out", out, "--dev", 20, "--test", 20, "--most-cited", most_cited)
    assert result.code == 0, result.err
    pairs = read_pairs(out)
    assert ids_of(pairs) == real_pairs(most_cited=most_cited, acm=acm, scifact=scifact)
    assert all(pairs.papers["abstract"].to_pylist())


@needs_data
def test_real_full_texts_give_contexts_that_pass_the_filters(cocite: Cocite, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = cocite("pairs", DATA / "plos/articles.tar.gz", "--titles-alone", "--out", out, "--workers", 1)
    assert result.code == 0 and "60 read" in result.out
    contexts = pq.read_table(out / "contexts.parquet").to_pylist()
    assert len(contexts) > 300
    for context in contexts:
        assert 2 <= len(set(context["cited"])) == len(context["cited"]) <= 3
        assert 5 <= len(context["sentence"].split()) <= 60
        assert set("()[]") & set(context["sentence"])
