"""Ranking pools against a plain second implementation, and its ties against trec_eval's."""

from __future__ import annotations

import math
from collections.abc import Callable

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP

from components.evaluation import ranking as under_test
from components.evaluation.metrics import average_precision
from components.evaluation.ranking import RankingError, SetVectors, TieOrder, rank_by_scores, rank_by_vectors
from corpus.judged_sets.model import JudgedSet
from corpus.progress import Cancelled

Sets = Callable[..., JudgedSet]
IDS = st.lists(st.text("a9Zäβ𝔸-", min_size=1, max_size=3), min_size=2, max_size=12, unique=True)


@st.composite
def drawn_pools(draw: st.DrawFn) -> tuple[list[str], dict[str, dict[str, int]]]:
    """Ids of papers, and pools of some of them; a query is never in its own."""
    ids = draw(IDS)
    queries = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=5, unique=True))
    return ids, {
        query: dict.fromkeys(
            draw(st.lists(st.sampled_from([one for one in ids if one != query]), min_size=1, unique=True)), 0
        )
        for query in queries
    }


def oracle(ids: list[str], scores: dict[str, float], *, ascending: bool) -> list[str]:
    """The tie rule in two sorts: by id from high to low, then by score, which leaves ties as they were."""
    falling = sorted(ids, reverse=True)
    return sorted(falling, key=lambda one: np.float32(scores[one]) * (1 if ascending else -1))


@given(drawn_pools(), st.data())
def test_order_and_distances_are_those_of_a_plain_loop(
    judged_set: Sets, drawn: tuple[list[str], dict[str, dict[str, int]]], data: st.DataObject
) -> None:
    ids, grades = drawn
    judged = judged_set(grades, ids=ids)
    d = data.draw(st.integers(1, 3))
    # Few values: many ties, and many papers with the same vector.
    vectors = np.array(
        data.draw(st.lists(st.lists(st.integers(-2, 2), min_size=d, max_size=d), min_size=len(ids), max_size=len(ids))),
        dtype=np.float32,
    )
    vector = dict(zip(ids, vectors, strict=True))
    ranking = rank_by_vectors(judged, judged.pools, vectors)
    assert ranking.ascending
    assert [pool.query for pool in ranking.pools] == list(grades)
    for pool in ranking.pools:
        distances = {one: math.dist(vector[pool.query], vector[one]) for one in grades[pool.query]}
        expected = oracle(list(distances), distances, ascending=True)
        assert [judged.papers[row].id for row in pool.rows] == expected
        assert pool.scores.tolist() == [float(np.float32(distances[one])) for one in expected]
        assert pool.rows.dtype == np.int32
        assert pool.scores.dtype == np.float32


def shared(judged_set: Sets, *, queries: int, papers: int) -> JudgedSet:
    """Queries that each have all other papers in their pool."""
    ids = [f"p{i}" for i in range(papers)]
    return judged_set({one: dict.fromkeys(ids[:i] + ids[i + 1 :], 0) for i, one in enumerate(ids[:queries])}, ids=ids)


def test_near_neighbours_far_from_the_origin_are_distinguished(judged_set: Sets) -> None:
    judged = shared(judged_set, queries=9, papers=40)
    rng = np.random.default_rng(1)
    # |v|² is 10^10, squared differences 10^-4: of |q|² + |c|² - 2qc alone, nothing would be left.
    far = (10_000 * rng.standard_normal(64)).astype(np.float32)
    vectors = far + rng.integers(0, 9, size=(40, 64)).astype(np.float32) * np.spacing(far)
    for pool, ranked in zip(judged.pools, rank_by_vectors(judged, judged.pools, vectors).pools, strict=True):
        wide = vectors.astype(np.float64)
        expected = np.linalg.norm(wide[ranked.rows] - wide[pool.row], axis=1).astype(np.float32)
        np.testing.assert_array_equal(ranked.scores, expected)
        assert (np.diff(ranked.scores) >= 0).all()


def test_equal_vectors_have_equal_distances(judged_set: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = shared(judged_set, queries=60, papers=333)
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(333, 97)).astype(np.float32)
    copies = rng.choice(333, size=80, replace=False)
    vectors[copies] = vectors[7]
    computed = []
    distances = under_test._distances
    monkeypatch.setattr(
        under_test, "_distances", lambda *given: (computed.append(given[0][given[2]]), distances(*given))[1]
    )
    ranking = rank_by_vectors(judged, judged.pools, vectors)
    # A product of matrices may round two equal columns apart, too rarely to be met here: each is computed once.
    assert all(len(np.unique(part, axis=0)) == len(part) for part in computed)
    for pool in ranking.pools:
        same = np.isin(pool.rows, copies) | (pool.rows == 7)
        assert len(set(pool.scores[same].tolist())) == 1
        ids = [judged.papers[row].id for row in pool.rows[same]]
        assert ids == sorted(ids, reverse=True)
    own = next(pool for pool in ranking.pools if pool.query == judged.papers[7].id)
    assert (own.scores == 0).sum() == len(copies[copies != 7])


def test_distances_are_those_of_float64_within_one_unit(judged_set: Sets) -> None:
    judged = shared(judged_set, queries=30, papers=120)
    vectors = (5 + np.random.default_rng(3).normal(size=(120, 384))).astype(np.float32)
    for pool, ranked in zip(judged.pools, rank_by_vectors(judged, judged.pools, vectors).pools, strict=True):
        wide = vectors.astype(np.float64)
        expected = np.linalg.norm(wide[ranked.rows] - wide[pool.row], axis=1).astype(np.float32)
        np.testing.assert_array_max_ulp(ranked.scores, expected, maxulp=1)


@given(drawn_pools(), st.integers(1, 40), st.integers(0, 3))
def test_blocks_do_not_change_the_ranking(
    judged_set: Sets, drawn: tuple[list[str], dict[str, dict[str, int]]], cells: int, alike: int
) -> None:
    ids, grades = drawn
    judged = judged_set(grades, ids=ids)
    stand_in = np.arange(len(ids), dtype=np.int32) // (1 + alike) * (1 + alike)
    vectors = np.arange(len(ids), dtype=np.float32)[stand_in][:, None] % 5
    whole = rank_by_vectors(judged, judged.pools, vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(under_test, "MAX_CELLS", cells)
        found = list(under_test.blocks(judged.pools, stand_in))
        parts = rank_by_vectors(judged, judged.pools, vectors)
    assert [pool for block, _ in found for pool in block] == list(judged.pools)
    for block, candidates in found:
        assert candidates.tolist() == sorted({int(stand_in[row]) for pool in block for row in pool.rows})
        assert len(block) == 1 or len(block) * len(candidates) <= cells
    for a, b in zip(whole.pools, parts.pools, strict=True):
        assert a.rows.tolist() == b.rows.tolist()
        assert a.scores.tolist() == b.scores.tolist()


FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**-149, -(2.0**-149)]), st.floats(width=32, allow_nan=False)
)


@given(IDS, st.data(), st.booleans())
def test_scores_of_either_sign_are_sorted_and_returned(
    judged_set: Sets, ids: list[str], data: st.DataObject, ascending: bool
) -> None:
    judged = judged_set({ids[0]: dict.fromkeys(ids[1:], 0)}, ids=ids)
    numbers = FLOATS.filter(math.isfinite)
    scores = dict(zip(ids[1:], data.draw(st.lists(numbers, min_size=len(ids) - 1, max_size=len(ids) - 1)), strict=True))
    pool = judged.pools[0]
    ranked = TieOrder(judged).ranked(
        "q", pool.rows, np.array([scores[judged.papers[row].id] for row in pool.rows], np.float32), ascending=ascending
    )
    expected = oracle(list(scores), scores, ascending=ascending)
    assert [judged.papers[row].id for row in ranked.rows] == expected
    assert ranked.scores.tolist() == [scores[one] for one in expected]


@given(st.lists(st.text("a9Zäβ𝔸-", min_size=1, max_size=3), min_size=2, max_size=12, unique=True), st.data())
def test_ties_are_broken_as_trec_eval_breaks_them(judged_set: Sets, ids: list[str], data: st.DataObject) -> None:
    n = len(ids) - 1
    grades = dict(zip(ids[1:], data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), strict=True))
    scores = dict(
        zip(ids[1:], data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n)), strict=True)
    )
    judged = judged_set({ids[0]: grades}, ids=ids)
    ranked = rank_by_scores(
        judged,
        judged.pools,
        lambda queries, rows: np.array([[scores[judged.papers[row].id] for row in rows] for _ in queries], np.float32),
        ascending=False,
    ).pools[0]
    theirs = ir_measures.calc_aggregate([AP], {"q": grades}, {"q": scores})[AP]  # trec_eval's own code
    relevant = [grades[judged.papers[row].id] > 0 for row in ranked.rows]
    assert average_precision(relevant) == pytest.approx(theirs)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e39])
def test_a_score_that_is_not_finite_is_refused(judged_set: Sets, score: float) -> None:
    judged = judged_set({"q": {"a": 0, "b": 0}})
    with pytest.raises(RankingError, match="planted, query q: .* not a finite number"):
        TieOrder(judged).ranked("q", judged.pools[0].rows, np.array([score, 1]), ascending=True)


def test_unneeded_vectors_may_be_missing(judged_set: Sets) -> None:
    judged = judged_set({"q": {"a": 0, "b": 0}, "r": {"a": 0}})
    given = SetVectors(np.array([[4.0], [1.0], [2.0]], np.float32), np.array([1, -1, 0, 2], np.int32))
    ranked = rank_by_vectors(judged, judged.pools[:1], given).pools
    assert [judged.papers[row].id for row in ranked[0].rows] == ["b", "a"]
    assert ranked[0].scores.tolist() == [1.0, 3.0]
    with pytest.raises(RankingError, match="the paper r has no vector"):
        rank_by_vectors(judged, judged.pools, given)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_invalid_vectors_are_refused(judged_set: Sets, value: float) -> None:
    judged = judged_set({"q": {"a": 0, "b": 0}})
    vectors = np.ones((3, 2), np.float32)
    vectors[2, 1] = value
    with pytest.raises(RankingError, match="the paper b has a vector with a value that is not finite"):
        rank_by_vectors(judged, judged.pools, vectors)
    with pytest.raises(RankingError, match="not a finite number"):  # too far for float32
        rank_by_vectors(judged, judged.pools, np.array([[-3e38], [3e38], [2e38]], np.float32))
    for shape in ((2, 2), (4, 2), (3,)):
        with pytest.raises(RankingError, match="Encode the set again"):
            rank_by_vectors(judged, judged.pools, np.ones(shape, np.float32))


def test_progress_reaches_the_end_and_a_query_in_two_folds_is_ranked_once(judged_set: Sets) -> None:
    judged = judged_set({f"q{i}": {f"c{i}-{j}": 0 for j in range(5)} for i in range(6)})
    pools = [*judged.pools, judged.pools[0]]
    progress: list[tuple[str, int, int]] = []
    vectors = np.ones((len(judged.papers), 2), np.float32)
    ranking = rank_by_vectors(judged, pools, vectors, progress=lambda *step: progress.append(step))
    assert [pool.query for pool in ranking.pools] == [pool.query for pool in judged.pools]
    assert {stage for stage, _, _ in progress} == {under_test.RANKING}
    assert (progress[0][1:], progress[-1][1:]) == ((0, 6), (6, 6))

    def stop(stage: str, done: int, total: int) -> None:
        if done:
            raise Cancelled(stage)

    with pytest.raises(Cancelled):
        rank_by_vectors(judged, judged.pools, vectors, progress=stop)
