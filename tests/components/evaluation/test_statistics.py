"""The bootstrap and the randomisation test against SciPy's, and against all samples where they can be enumerated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from components.evaluation.statistics import bootstrap_interval, paired_test

VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), min_size=1, max_size=7)


def test_the_interval_is_scipy_s() -> None:
    values = np.random.default_rng(1).beta(2, 3, size=150)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    low, high = bootstrap_interval([values])
    assert low == pytest.approx(theirs.low, abs=0.05 * (theirs.high - theirs.low))
    assert high == pytest.approx(theirs.high, abs=0.05 * (theirs.high - theirs.low))
    assert low < values.mean() < high


def test_the_interval_of_all_samples_of_two_folds() -> None:
    first, second = [0.0, 0.3, 1.0], [0.5, 0.8]
    means = [
        (np.mean(a) + np.mean(b)) / 2
        for a in itertools.product(first, repeat=3)
        for b in itertools.product(second, repeat=2)
    ]
    expected = np.quantile(means, [0.1, 0.9])
    found = bootstrap_interval([first, second], samples=200_000, level=0.8)
    assert found == pytest.approx(expected, abs=0.02)
    # Resampled together, the means would lie between 0 and 1.
    assert bootstrap_interval([[0.0] * 10, [1.0] * 10]) == (0.5, 0.5)


@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(0, 9))
@settings(max_examples=25)
def test_the_interval_lies_within_the_values_and_a_seed_repeats_it(folds: list[list[float]], seed: int) -> None:
    low, high = bootstrap_interval(folds, samples=300, seed=seed)
    assert min(map(min, folds)) - 1e-9 <= low <= high <= max(map(max, folds)) + 1e-9
    assert bootstrap_interval([*folds, []], samples=300, seed=seed) == (low, high)


def exact_p(first: list[list[float]], second: list[list[float]]) -> float:
    """The share of all swaps of the two systems that give as large a difference."""
    shares = [
        (x - y) / len(a) / len(first) for a, b in zip(first, second, strict=True) for x, y in zip(a, b, strict=True)
    ]
    sums = [abs(sum(map(float.__mul__, shares, signs))) for signs in itertools.product((1.0, -1.0), repeat=len(shares))]
    return float(np.mean([one >= abs(sum(shares)) - 1e-9 for one in sums]))


@given(st.lists(st.tuples(VALUES, st.randoms()), min_size=1, max_size=2))
@settings(max_examples=25)
def test_p_is_the_share_of_all_swaps(drawn: list[tuple[list[float], object]]) -> None:
    first = [values for values, _ in drawn]
    second = [[random.choice([0.0, 0.25, 0.6]) for _ in values] for values, random in drawn]  # type: ignore[attr-defined]
    found = paired_test(first, second, samples=20_000)
    assert found.p_value == pytest.approx(exact_p(first, second), abs=0.02)  # over five standard errors
    differences = [x - y for a, b in zip(first, second, strict=True) for x, y in zip(a, b, strict=True)]
    assert found.wins == sum(one > 0 for one in differences)
    assert found.losses == sum(one < 0 for one in differences)
    assert found.ties == sum(one == 0 for one in differences)
    means = [np.mean(a) - np.mean(b) for a, b in zip(first, second, strict=True)]
    assert found.difference == pytest.approx(np.mean(means))


def test_p_is_scipy_s() -> None:
    rng = np.random.default_rng(4)
    first = rng.random(60)
    second = first - rng.normal(0.02, 0.1, size=60)
    theirs = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", n_resamples=20_000, rng=5
    )
    found = paired_test([first], [second])
    assert 0.01 < found.p_value < 0.9
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.02)


def test_swapping_the_systems_changes_only_the_sign() -> None:
    rng = np.random.default_rng(6)
    first, second = [rng.random(30), rng.random(9)], [rng.random(30), rng.random(9)]
    one, other = paired_test(first, second), paired_test(second, first)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value
    assert (one.wins, one.losses) == (other.losses, other.wins)
    assert paired_test(first, second) == one


def test_p_is_1_without_a_difference_and_never_0() -> None:
    same = paired_test([[0.5, 0.7]], [[0.5, 0.7]])
    assert (same.difference, same.p_value, same.ties) == (0.0, 1.0, 2)
    assert paired_test([[0.1, 0.2]], [[0.2, 0.1]]).p_value == 1.0
    better = paired_test([[1.0] * 500], [[0.0] * 500], samples=1_000)
    assert (better.p_value, better.wins, better.samples) == (1 / 1_001, 500, 1_000)


def test_equal_sums_in_another_order_are_hits() -> None:
    # Differences of one size: a quarter of the swaps give as large a sum, which rounding must not hide.
    first = [[0.1] * 3]
    assert paired_test(first, [[0.0] * 3], samples=50_000).p_value == pytest.approx(0.25, abs=0.01)


def test_invalid_values_are_refused() -> None:
    for folds in ([], [[]], [[0.1, float("nan")]]):
        with pytest.raises(ValueError, match="no queries|not a finite number"):
            bootstrap_interval(folds)
    with pytest.raises(ValueError, match="level is 1;"):
        bootstrap_interval([[0.1]], level=1)
    for second in ([[0.1]], [[0.1], [0.2]], []):
        with pytest.raises(ValueError, match="same queries"):
            paired_test([[0.1, 0.2]], second)
