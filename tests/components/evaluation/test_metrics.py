"""The metrics against a plain second writing of their definitions, and against the textbook's, which must differ."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation import average_precision, ndcg_at, ndcg_at_percent

GRADES = st.lists(st.integers(0, 3), max_size=60)
RELEVANCES = st.lists(st.booleans(), max_size=60)


def oracle_average_precision(relevant: list[bool]) -> float:
    ranks = [i + 1 for i in range(len(relevant)) if relevant[i]]
    return sum(sum(relevant[:rank]) / rank for rank in ranks) / len(ranks) if ranks else 0.0


def oracle_ndcg(grades: list[int], k: int) -> float:
    def dcg(ranked: list[int]) -> float:
        whole = sum(ranked[:2])
        return whole + sum(ranked[i] / math.log2(i + 1) for i in range(2, len(ranked)))

    best = dcg(sorted(grades)[::-1][:k])
    return dcg(grades[:k]) / best if best else 0.0


def textbook_ndcg(grades: list[int], k: int) -> float:
    def dcg(ranked: list[int]) -> float:
        return sum(grade / math.log2(i + 2) for i, grade in enumerate(ranked))

    return dcg(grades[:k]) / dcg(sorted(grades)[::-1][:k])


@given(RELEVANCES)
def test_average_precision_is_its_definition(relevant: list[bool]) -> None:
    assert average_precision(relevant) == pytest.approx(oracle_average_precision(relevant))


@given(GRADES, st.integers(0, 70))
def test_ndcg_is_its_definition(grades: list[int], k: int) -> None:
    assert ndcg_at(grades, k) == pytest.approx(oracle_ndcg(grades, k))


@given(GRADES)
def test_the_cut_off_is_the_floor_of_a_fifth_of_the_pool(grades: list[int]) -> None:
    assert ndcg_at_percent(grades) == pytest.approx(oracle_ndcg(grades, int(0.20 * len(grades))))


def test_integer_cut_off_agrees_with_the_published_one_for_every_pool() -> None:
    assert all(n * 20 // 100 == int(0.20 * n) for n in range(100_000))


@given(GRADES, st.integers(1, 70))
def test_scores_stay_between_0_and_1_and_the_ideal_order_has_1(grades: list[int], k: int) -> None:
    assert 0.0 <= ndcg_at(grades, k) <= 1.0 + 1e-12
    best = sorted(grades, reverse=True)
    assert ndcg_at(best, k) == pytest.approx(1.0 if any(grades) else 0.0)
    assert average_precision([grade > 0 for grade in best]) == pytest.approx(1.0 if any(grades) else 0.0)


def test_reference_example_and_the_textbook_differ() -> None:
    grades = [2, 1, 2, 0]
    assert round(ndcg_at(grades, 4), 4) == 0.9203
    assert round(textbook_ndcg(grades, 4), 4) == 0.9652


def test_ranks_1_and_2_weigh_the_same_and_rank_3_less() -> None:
    assert ndcg_at([1, 0, 0], 3) == ndcg_at([0, 1, 0], 3) == 1.0
    assert ndcg_at([0, 0, 1], 3) == pytest.approx(1 / math.log2(3))


def test_gain_is_the_grade_and_not_its_power_of_two() -> None:
    assert ndcg_at([1, 2, 0], 1) == pytest.approx(1 / 2)  # with 2^g - 1 it would be 1 / 3


def test_ideal_is_drawn_from_the_whole_pool_and_not_from_the_cut() -> None:
    assert ndcg_at_percent([1, 0, 0, 0, 2]) == pytest.approx(1 / 2)


def test_percent_20_is_not_rank_20() -> None:
    grades = [0] * 10 + [1] * 10 + [0] * 80
    assert ndcg_at_percent(grades) == ndcg_at(grades, 20)
    assert ndcg_at_percent(grades[:50]) == 0.0 < ndcg_at(grades[:50], 20)


def test_average_precision_divides_by_the_relevant_and_not_by_the_pool() -> None:
    assert average_precision([False, True, False, False, True]) == pytest.approx((1 / 2 + 2 / 5) / 2)


@pytest.mark.parametrize("grades", [[], [0], [0, 0, 0, 0, 0], [3, 3]])
def test_empty_cases_score_0(grades: list[int]) -> None:
    assert ndcg_at_percent(grades) == 0.0
    assert average_precision([False for _ in grades]) == 0.0


@pytest.mark.parametrize("grade", [-1.0, math.nan, math.inf])
def test_a_grade_that_is_none_is_refused(grade: float) -> None:
    with pytest.raises(ValueError, match="rank 2"):
        ndcg_at([1.0, grade], 2)


def test_cut_offs_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="cut-off"):
        ndcg_at([1], -1)
    with pytest.raises(ValueError, match="percent"):
        ndcg_at_percent([1], percent=101)
