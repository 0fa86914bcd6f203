"""Metrics against plain second implementations, ir-measures, and the textbook's NDCG, which must differ."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Rprec, nDCG

from components.evaluation.metrics import (
    STANDARD_METRICS,
    average_precision,
    ndcg_at,
    ndcg_at_percent,
    standard_metrics,
)

GRADES = st.lists(st.integers(0, 3), max_size=60)
POOL = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def plain_average_precision(relevant: list[bool]) -> float:
    ranks = [i + 1 for i in range(len(relevant)) if relevant[i]]
    return sum(sum(relevant[:rank]) / rank for rank in ranks) / len(ranks) if ranks else 0.0


def plain_ndcg(grades: list[int], k: int) -> float:
    def dcg(ranked: list[int]) -> float:
        return sum(ranked[:2]) + sum(ranked[i] / math.log2(i + 1) for i in range(2, len(ranked)))

    best = dcg(sorted(grades)[::-1][:k])
    return dcg(grades[:k]) / best if best else 0.0


def by_ir_measures(measure: ir_measures.Measure, grades: list[int]) -> float:
    """ir-measures on the whole pool, with scores as a system gives them."""
    qrels = {"q": {f"d{rank}": grade for rank, grade in enumerate(grades)}}
    run = {"q": {f"d{rank}": 1 / (1 + rank) for rank in range(len(grades))}}
    return float(ir_measures.calc_aggregate([measure], qrels, run)[measure])


def standard(grades: list[int], *, relevant_from: int = 1) -> dict[str, float]:
    return standard_metrics([np.array(grades, dtype=np.int16)], relevant_from=relevant_from)[0]


@given(st.lists(st.booleans(), max_size=60))
def test_average_precision_is_its_definition(relevant: list[bool]) -> None:
    assert average_precision(relevant) == pytest.approx(plain_average_precision(relevant))


@given(POOL, st.integers(1, 3))
def test_average_precision_is_that_of_ir_measures(grades: list[int], rel: int) -> None:
    assert average_precision([grade >= rel for grade in grades]) == pytest.approx(by_ir_measures(AP(rel=rel), grades))


@given(GRADES, st.integers(0, 70))
def test_ndcg_is_its_definition(grades: list[int], k: int) -> None:
    assert ndcg_at(grades, k) == pytest.approx(plain_ndcg(grades, k))
    assert ndcg_at_percent(grades) == pytest.approx(plain_ndcg(grades, int(0.20 * len(grades))))
    ideal = ndcg_at(sorted(grades, reverse=True), k)
    assert ideal == pytest.approx(1.0 if k and any(grades) else 0.0)


def test_the_integer_cut_off_is_the_published_one_for_every_pool() -> None:
    assert all(n * 20 // 100 == int(0.20 * n) for n in range(100_000))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(2, 40))
def test_our_discount_is_the_textbook_s_one_rank_later(grades: list[int], k: int) -> None:
    def textbook_dcg(rest: list[int]) -> float:
        best = sorted(rest, reverse=True)[: k - 1]
        return by_ir_measures(nDCG @ (k - 1), rest) * sum(grade / math.log2(i + 2) for i, grade in enumerate(best))

    best = sorted(grades, reverse=True)
    ideal = best[0] + textbook_dcg(best[1:])
    assert ndcg_at(grades, k) == pytest.approx((grades[0] + textbook_dcg(grades[1:])) / ideal if ideal else 0.0)


def test_the_reference_example_differs_from_the_textbook() -> None:
    assert round(ndcg_at([2, 1, 2, 0], 4), 4) == 0.9203
    assert round(standard([2, 1, 2, 0])["nDCG@10"], 4) == 0.9652


def test_the_gain_is_the_grade_and_the_ideal_is_of_the_whole_pool() -> None:
    assert ndcg_at([1, 2, 0], 1) == pytest.approx(1 / 2)  # with 2^g - 1 it would be 1 / 3
    assert ndcg_at_percent([1, 0, 0, 0, 2]) == pytest.approx(1 / 2)


def test_ndcg_20_percent_is_neither_ndcg_at_20_nor_ndcg_at_10() -> None:
    grades = [0, 1, 2, 0, 1, *[0] * 9, 1, *[0] * 34, 2]  # 20 % of 50 are the first 10
    ideal = 2 + 2 + 1 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)
    assert ndcg_at_percent(grades) == pytest.approx((1 + 2 / math.log2(3) + 1 / math.log2(5)) / ideal)
    values = sorted([ndcg_at_percent(grades), standard(grades)["nDCG@10"], standard(grades)["nDCG@20"]])
    assert values[0] + 0.01 < values[1] < values[2] - 0.01


@pytest.mark.parametrize("grades", [[], [0], [0, 0, 0, 0, 0], [3, 3]])
def test_empty_cases_are_0(grades: list[int]) -> None:
    assert ndcg_at_percent(grades) == 0.0
    assert average_precision([False for _ in grades]) == 0.0


def test_invalid_arguments_are_refused() -> None:
    for grade in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="rank 2"):
            ndcg_at([1.0, grade], 2)
    with pytest.raises(ValueError, match="cut-off"):
        ndcg_at([1], -1)
    with pytest.raises(ValueError, match="percent"):
        ndcg_at_percent([1], percent=101)
    with pytest.raises(ValueError, match="relevant_from is 0"):
        standard([1, 0], relevant_from=0)


@given(st.lists(POOL, min_size=1, max_size=4), st.integers(1, 3))
def test_standard_metrics_are_those_of_ir_measures(pools: list[list[int]], rel: int) -> None:
    values = standard_metrics([np.array(grades, dtype=np.int16) for grades in pools], relevant_from=rel)
    measures = (nDCG @ 10, nDCG @ 20, P(rel=rel) @ 20, R(rel=rel) @ 20, RR(rel=rel), Rprec(rel=rel))
    for grades, ours in zip(pools, values, strict=True):
        assert tuple(ours) == STANDARD_METRICS
        for name, measure in zip(STANDARD_METRICS, measures, strict=True):
            assert ours[name] == pytest.approx(by_ir_measures(measure, grades)), name


@given(st.integers(0, 2**32), st.integers(100, 3000), st.sampled_from([0.0, 0.001, 0.02, 0.9]))
def test_standard_metrics_of_long_pools_are_those_of_ir_measures(seed: int, n: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    grades = np.where(rng.random(n) < share, rng.integers(1, 4, size=n), 0).tolist()
    ours = standard(grades, relevant_from=2)
    for name, measure in {"nDCG@20": nDCG @ 20, "R@20": R(rel=2) @ 20, "RR": RR(rel=2), "Rprec": Rprec(rel=2)}.items():
        assert ours[name] == pytest.approx(by_ir_measures(measure, grades)), name
    assert standard([0] * 30_000 + [0, 1, 0])["RR"] == pytest.approx(1 / 30_002)


def test_without_a_relevant_candidate_standard_metrics_are_0() -> None:
    assert standard([0] * 500) == dict.fromkeys(STANDARD_METRICS, 0.0)
    below = standard([1, 0, 1], relevant_from=2)
    assert below.pop("nDCG@10") == below.pop("nDCG@20") > 0  # grades that are not relevant are gains all the same
    assert set(below.values()) == {0.0}
    assert standard_metrics([], relevant_from=1) == []
