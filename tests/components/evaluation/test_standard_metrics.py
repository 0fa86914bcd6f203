"""The usual measures against ir-measures on whole pools and plain definitions; where ours and theirs meet, and not."""

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Rprec, nDCG

from components.evaluation import USUAL, average_precision, ndcg_at, ndcg_at_percent, usual_metrics

GRADES = st.lists(st.integers(0, 3), min_size=1, max_size=60)
POOLS = st.lists(GRADES, min_size=1, max_size=4)


def theirs(measure: ir_measures.Measure, grades: list[int]) -> float:
    """ir-measures on the whole pool, with scores as a system would give them."""
    qrels = {"q": {f"d{rank}": grade for rank, grade in enumerate(grades)}}
    run = {"q": {f"d{rank}": 1 / (1 + rank) for rank in range(len(grades))}}
    return float(ir_measures.calc_aggregate([measure], qrels, run)[measure])


def usual(grades: list[int], *, relevant_from: int = 1) -> dict[str, float]:
    return usual_metrics([np.array(grades, dtype=np.int16)], relevant_from=relevant_from)[0]


@given(POOLS, st.integers(1, 3))
def test_measures_are_those_of_ir_measures_on_the_whole_pool(pools: list[list[int]], rel: int) -> None:
    found = usual_metrics([np.array(grades, dtype=np.int16) for grades in pools], relevant_from=rel)
    measures = (nDCG @ 10, nDCG @ 20, P(rel=rel) @ 20, R(rel=rel) @ 20, RR(rel=rel), Rprec(rel=rel))
    for grades, mine in zip(pools, found, strict=True):
        assert tuple(mine) == USUAL
        for name, measure in zip(USUAL, measures, strict=True):
            assert mine[name] == pytest.approx(theirs(measure, grades)), name


@given(st.integers(0, 2**32), st.integers(100, 3000), st.sampled_from([0.0, 0.001, 0.02, 0.9]))
def test_nothing_is_lost_of_a_long_pool(seed: int, n: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    grades = np.where(rng.random(n) < share, rng.integers(1, 4, size=n), 0).tolist()
    mine = usual(grades, relevant_from=2)
    for name, measure in {"nDCG@20": nDCG @ 20, "R@20": R(rel=2) @ 20, "RR": RR(rel=2), "Rprec": Rprec(rel=2)}.items():
        assert mine[name] == pytest.approx(theirs(measure, grades)), name


@given(GRADES, st.integers(1, 3))
def test_measures_are_their_plain_definitions(grades: list[int], rel: int) -> None:
    mine = usual(grades, relevant_from=rel)
    ranks = [rank for rank, grade in enumerate(grades, start=1) if grade >= rel]
    assert mine["P@20"] == pytest.approx(sum(rank <= 20 for rank in ranks) / 20)
    assert mine["R@20"] == pytest.approx(sum(rank <= 20 for rank in ranks) / len(ranks) if ranks else 0)
    assert mine["RR"] == pytest.approx(1 / ranks[0] if ranks else 0)
    assert mine["Rprec"] == pytest.approx(sum(rank <= len(ranks) for rank in ranks) / len(ranks) if ranks else 0)


@given(GRADES, st.integers(1, 3))
def test_average_precision_is_that_of_ir_measures(grades: list[int], rel: int) -> None:
    assert average_precision([grade >= rel for grade in grades]) == pytest.approx(theirs(AP(rel=rel), grades))


@given(GRADES)
def test_ndcg_at_rank_1_is_that_of_ir_measures(grades: list[int]) -> None:
    assert ndcg_at(grades, 1) == pytest.approx(theirs(nDCG @ 1, grades))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(2, 40))
def test_our_discount_is_the_textbook_s_from_rank_2_on_a_rank_later(grades: list[int], k: int) -> None:
    def textbook_dcg(rest: list[int]) -> float:
        """As ir-measures has it: its nDCG, times the ideal that it divides by."""
        best = sorted(rest, reverse=True)[: k - 1]
        return theirs(nDCG @ (k - 1), rest) * sum(grade / math.log2(i + 2) for i, grade in enumerate(best))

    best = sorted(grades, reverse=True)
    ideal = best[0] + textbook_dcg(best[1:])
    assert ndcg_at(grades, k) == pytest.approx((grades[0] + textbook_dcg(grades[1:])) / ideal if ideal else 0.0)


def test_the_two_ndcgs_differ_on_the_reference_example() -> None:
    assert round(ndcg_at([2, 1, 2, 0], 4), 4) == 0.9203
    assert round(usual([2, 1, 2, 0])["nDCG@10"], 4) == 0.9652


def test_ndcg_20_percent_is_neither_ndcg_at_20_nor_ndcg_at_10() -> None:
    grades = [0, 1, 2, 0, 1, *[0] * 9, 1, *[0] * 34, 2]  # of 50: 20 % are the first 10
    ideal = 2 + 2 + 1 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)
    assert ndcg_at_percent(grades) == pytest.approx((1 + 2 / math.log2(3) + 1 / math.log2(5)) / ideal)
    mine = usual(grades)
    found = sorted([ndcg_at_percent(grades), mine["nDCG@10"], mine["nDCG@20"]])
    assert found[0] + 0.01 < found[1] < found[2] - 0.01


def test_a_pool_without_anything_relevant_has_0_everywhere() -> None:
    assert usual([0, 0, 0]) == dict.fromkeys(USUAL, 0.0)
    assert usual([0] * 500) == dict.fromkeys(USUAL, 0.0)
    below = usual([1, 0, 1], relevant_from=2)
    assert below.pop("nDCG@10") == below.pop("nDCG@20") > 0  # grades that are not relevant are gains still
    assert set(below.values()) == {0.0}


def test_no_pools_have_no_measures() -> None:
    assert usual_metrics([], relevant_from=1) == []


def test_grade_0_cannot_be_relevant() -> None:
    with pytest.raises(ValueError, match="relevant_from is 0"):
        usual([1, 0], relevant_from=0)


def test_ranks_below_ten_thousand_others_keep_their_order() -> None:
    grades = [0] * 30_000 + [0, 1, 0]
    assert usual(grades)["RR"] == pytest.approx(1 / 30_002)
