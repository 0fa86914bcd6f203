"""Published scores: whose they are, and that only sets of the published shape are comparable."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from components.evaluation.published import not_comparable, published_rows, published_scores
from components.evaluation.results import System
from corpus.judged_sets.model import DataIssue, JudgedSet, Pool, PoolPaper
from corpus.judged_sets.released import relevant_grade


def released(
    name: str,
    *,
    folds: Sequence[int],
    rest: int,
    candidates: int,
    facet: str = "",
    topics: int = 0,
) -> JudgedSet:
    """A set of a shape: `folds` queries in its test split, `rest` in dev, all with the same pool."""
    rows, grades = np.arange(1, candidates + 1, dtype=np.int32), np.ones(candidates, dtype=np.int16)
    total = sum(folds) + rest
    pools = [Pool(str(i), 0, rows, grades, f"{i % topics}" if topics else "") for i in range(total)]
    names = [pool.query for pool in pools]
    starts = np.cumsum([0, *folds])
    test = tuple(tuple(names[a:b]) for a, b in itertools.pairwise(starts))
    papers = tuple(PoolPaper(str(i), "t", "a") for i in range(candidates + 1))
    splits = {"test": test, "dev": (tuple(names[sum(folds) :]),)}
    return JudgedSet(name, facet, "released", papers, tuple(pools), splits, relevant_grade(name), (), "0" * 16)


RELISH = released("relish", folds=[1595], rest=1595, candidates=58)
CSF = released("csfcube", folds=[26, 24], rest=26, candidates=120, facet="all")


def trec(*, queries: int = 24, candidates: int = 9_000) -> JudgedSet:
    """25 topics in either split, that of a query being its number within its split."""
    found = released("treccovid", folds=[25 * queries], rest=25 * queries, candidates=candidates)
    pools = tuple(replace(pool, group=str(i % 25 + 25 * (i >= 25 * queries))) for i, pool in enumerate(found.pools))
    return replace(found, pools=pools)


@pytest.mark.parametrize("judged", [RELISH, CSF, trec()], ids=["relish", "csfcube", "treccovid"])
def test_a_set_of_the_published_shape_is_comparable_on_its_test_split_alone(judged: JudgedSet) -> None:
    assert not_comparable(judged, "test") == ()
    assert any("split 'test'" in reason for reason in not_comparable(judged, "dev"))
    for origin in ("constructed", "own"):
        assert not_comparable(replace(judged, origin=origin), "test")


@pytest.mark.parametrize(
    "kind",
    [
        "query_without_text",
        "candidate_without_text",
        "repeated_candidate",
        "query_in_its_pool",
        "empty_pool",
        "query_in_no_split",
    ],
)
def test_what_was_left_out_is_a_reason(kind: str) -> None:
    judged = replace(RELISH, handled=(DataIssue(kind, 3), DataIssue("title_only", 7)))  # type: ignore[arg-type]
    (reason,) = not_comparable(judged, "test")
    assert reason.startswith("Left out: 3 ")
    assert "7" not in reason
    assert not_comparable(replace(RELISH, handled=(DataIssue("title_only", 7),)), "test") == ()


@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        (replace(RELISH, relevant_from=1), "from grade 2"),
        (replace(CSF, relevant_from=1), "from grade 2"),
        (replace(trec(), relevant_from=2), "from grade 1"),
        (released("relish", folds=[1595], rest=1594, candidates=58), "3,189 queries"),
        (released("relish", folds=[1800], rest=1390, candidates=58), "1,800 queries"),
        (released("relish", folds=[1595], rest=1595, candidates=30), "30 candidates on average"),
        (released("csfcube", folds=[26, 23], rest=1, candidates=9, facet="all"), "26 and 23 queries"),
        (released("csfcube", folds=[50], rest=1, candidates=9, facet="all"), "50 queries"),
        (trec(candidates=310), "310 candidates"),
        (trec(queries=51), "51 queries"),
        (released("treccovid", folds=[1200], rest=1200, candidates=9_000), "cannot be checked"),
        (released("treccovid", folds=[1200], rest=1200, candidates=9_000, topics=40), "40 topics"),
        (released("csfcube", folds=[8, 8], rest=8, candidates=9, facet="method"), "Nothing is published"),
        (released("csfcube", folds=[26, 24], rest=8, candidates=9), "Nothing is published"),
        (released("my-relish", folds=[1595], rest=1595, candidates=58), "Nothing is published here for my-relish"),
        (released("scidcite", folds=[100], rest=100, candidates=30), "Nothing is published"),
    ],
)
def test_another_shape_is_not_comparable(judged: JudgedSet, reason: str) -> None:
    assert any(reason in given for given in not_comparable(judged, "test")), not_comparable(judged, "test")


def test_figures_are_those_of_the_paper() -> None:
    figures = {(row.encoder, name): row.scores for name in ("treccovid", "relish") for row in published_rows(name, "")}
    assert figures["specter", "treccovid"] == pytest.approx({"MAP": 0.2824, "NDCG%20": 0.5928})
    assert figures["specter", "relish"] == pytest.approx({"MAP": 0.6062, "NDCG%20": 0.7720})
    assert figures["aspire-biencoder-biomed-spec", "treccovid"] == pytest.approx({"MAP": 0.2607, "NDCG%20": 0.5489})
    assert figures["aspire-biencoder-biomed-spec", "relish"] == pytest.approx({"MAP": 0.6147, "NDCG%20": 0.7834})
    full = "aspire-biencoder-biomed-spec-full"
    assert figures[full, "treccovid"] == pytest.approx({"MAP": 0.2887, "NDCG%20": 0.6047})
    assert figures[full, "relish"] == pytest.approx({"MAP": 0.6169, "NDCG%20": 0.7822})
    assert published_rows("csfcube", "all")
    assert published_rows("csfcube", "") == published_rows("sysrev", "") == []


def test_figures_belong_to_the_released_encoder_and_not_to_a_folder_of_its_name() -> None:
    own = System("encoder", "specter", "f", source="/somewhere/specter", precision="float32")
    assert published_scores(own, "relish", "") == {}
    assert published_scores(replace(own, source="specter"), "relish", "")["MAP"] == pytest.approx(0.6062)
    assert published_scores(replace(own, source="specter", kind="rankings"), "relish", "") == {}
    assert published_scores(System("bm25", "BM25", "f"), "relish", "") == {}
