"""Error analysis: wrongly ranked candidates, distinctive words, sorted queries; each against a plain oracle."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation.error_analysis import analyse_query, paired_by_fold, sort_queries, words_mislead
from components.evaluation.ranking import RankedPool
from components.evaluation.results import QueryScores
from corpus.judged_sets.model import JudgedSet, Pool, PoolPaper, SetError


def judged(texts: list[tuple[str, str]], grades: list[int], *, relevant_from: int = 1) -> JudgedSet:
    """A set with one query, the first text, and all others as its candidates."""
    papers = tuple(PoolPaper(f"p{i}", *text) for i, text in enumerate(texts))
    rows = np.arange(1, len(papers), dtype=np.int32)
    return JudgedSet(
        name="planted",
        facet="",
        origin="own",
        papers=papers,
        pools=(Pool("p0", 0, rows, np.array(grades, dtype=np.int16)),),
        splits={"all": (("p0",),)},
        relevant_from=relevant_from,
        handled=(),
        fingerprint="f" * 16,
    )


def ranked(order: list[int], scores: list[float] | None = None) -> RankedPool:
    given = scores if scores is not None else [float(i) for i in range(len(order))]
    return RankedPool("p0", np.array(order, dtype=np.int32), np.array(given, dtype=np.float32))


@given(st.data())
@settings(max_examples=60)
def test_wrong_candidates_are_those_of_a_plain_scan(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    grades = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    least = data.draw(st.integers(1, 3))
    order = data.draw(st.permutations(range(1, n + 1)))
    scores = sorted(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n)))
    made = judged([("query", "")] + [("", "")] * n, grades, relevant_from=least)
    found = analyse_query(made, made.pools[0], ranked(list(order), scores), shown=3)

    listed = [(row, grades[row - 1]) for row in order]
    right = [rank for rank, (_, grade) in enumerate(listed, start=1) if grade >= least]
    wrong = [rank for rank, (_, grade) in enumerate(listed, start=1) if grade < least]
    assert found.relevant_ranks == tuple(right)
    assert [one.rank for one in found.ahead] == [rank for rank in wrong if right and rank < max(right)][:3]
    assert [one.rank for one in found.behind] == [rank for rank in reversed(right) if wrong and rank > min(wrong)][:3]
    assert found.ties == sum(a == b for a, b in pairwise(scores))
    assert found.perfect == (listed == sorted(listed, key=lambda one: one[1] < least))
    for one in (*found.ahead, *found.behind):
        row, grade = listed[one.rank - 1]
        assert (one.paper.id, one.grade, one.score) == (f"p{row}", grade, scores[one.rank - 1])


def test_words_are_shared_lacking_or_other_and_rare_ones_come_first() -> None:
    made = judged(
        [
            ("Sepsis in wards", "Lactate, lactate and fever. The study of a patient."),
            ("Sepsis and lactate", "A patient."),
            ("Fever", "Study of patients, in galaxies. Galaxy galaxy."),
            ("A patient", "Study"),
            ("Patients", "Study 12 3.5"),
        ],
        [0, 1, 0, 0],
    )
    found = analyse_query(made, made.pools[0], ranked([1, 2, 3, 4]))
    (first,) = found.ahead
    assert first.paper.id == "p1"
    assert set(first.shared) == {"sepsis", "lactate", "patient"}
    assert first.shared[-1] == "patient"  # in every paper: it tells least
    assert set(first.lacking) == {"wards", "fever", "study"}
    assert first.other == ()
    (last,) = found.behind
    assert set(last.shared) == {"fever", "study", "patient"}  # "patients" is the query's word
    assert last.other == ("galaxies",)  # one word in three forms, as it stood first
    assert first.overlap > last.overlap > 0
    assert words_mislead(found) is True
    found = analyse_query(made, made.pools[0], ranked([4, 2, 1, 3]))
    assert words_mislead(found) is False


def test_the_overlap_is_weighted_by_rarity() -> None:
    made = judged([("rare common", ""), ("rare", ""), ("common", ""), ("common", "")], [0, 0, 1])
    found = analyse_query(made, made.pools[0], ranked([1, 2, 3]))
    by_rarity = {one.paper.title: one.overlap for one in (*found.ahead, *found.behind)}
    weight = {"rare": np.log(1 + 4 / 3), "common": np.log(1 + 4 / 4)}  # of four papers, two and three have them
    for word, overlap in by_rarity.items():
        assert overlap == pytest.approx(weight[word] / sum(weight.values()))
    assert by_rarity["rare"] > by_rarity["common"]


def test_papers_without_words_share_nothing() -> None:
    made = judged([("", ""), ("", "")], [0])
    found = analyse_query(made, made.pools[0], ranked([1]))
    assert found.ahead == found.behind == ()
    assert found.relevant_ranks == ()
    assert words_mislead(found) is None
    made = judged([("", ""), ("x y", ""), ("", "")], [0, 1])
    found = analyse_query(made, made.pools[0], ranked([1, 2]))
    assert [one.overlap for one in (*found.ahead, *found.behind)] == [0.0, 0.0]


def test_a_ranking_of_another_pool_is_refused() -> None:
    made = judged([("q", ""), ("a", ""), ("b", "")], [0, 1])
    for order in ([1], [1, 1], [1, 2, 2]):
        with pytest.raises(SetError, match="the ranking is not of this pool"):
            analyse_query(made, made.pools[0], ranked(order))


# Many queries


def scores(query: str, value: float, *, fold: int = 0, relevant: int = 1) -> QueryScores:
    return QueryScores(query, query, "", "", fold, 9, relevant, {"MAP": value})


def test_queries_are_sorted_by_each_order() -> None:
    first = [scores("a", 0.5), scores("b", 0.125), scores("c", 0.125, relevant=5), scores("d", 0.875)]
    second = [scores("a", 0.9), scores("b", 0.0), scores("d", 0.75)]
    names = {
        order: [one.scores.query for one in sort_queries(first, second, metric="MAP", order=order)]
        for order in ("worst", "best", "lost", "won")
    }
    assert names == {
        "worst": ["c", "b", "a", "d"],  # of two that are equal, the one that had more to find
        "best": ["d", "a", "c", "b"],
        "lost": ["a", "b", "d"],  # the second has no c
        "won": ["b", "d", "a"],
    }
    assert [one.other for one in sort_queries(first, None, metric="MAP", order="worst")] == [None] * 4
    (lost, *_) = sort_queries(first, second, metric="MAP", order="lost")
    assert lost.difference == pytest.approx(-0.4)


def test_pairs_are_of_the_same_query_and_fold() -> None:
    first = [scores("a", 0.1, fold=1), scores("a", 0.2), scores("b", 0.3), scores("only", 0.4)]
    second = [scores("b", 0.7), scores("a", 0.6), scores("a", 0.5, fold=1)]
    assert paired_by_fold(first, second, metric="MAP") == ([[0.2, 0.3], [0.1]], [[0.6, 0.7], [0.5]])
