"""Batches against plain sets: no paper twice, no co-cited negative, every pair once; and negatives."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.training.batches import Cocited, draw_negatives, plan_epoch, plan_run
from components.training.settings import TrainingError, TrainingSettings
from tests.components.training.training_toys import toy_pairs

PAIRS = st.lists(
    st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=60
).map(lambda pairs: np.array(pairs, dtype=np.int32))


def fits(rows: list[tuple[int, int]], together: set[frozenset[int]]) -> bool:
    """Whether rows may stand in one micro-batch, said as plainly as can be."""
    papers = [paper for row in rows for paper in row]
    if len(set(papers)) < len(papers):
        return False
    return not any(
        frozenset((anchor, positive)) in together
        for (i, (anchor, _)), (j, (_, positive)) in itertools.product(enumerate(rows), repeat=2)
        if i != j
    )


@given(pairs=PAIRS, micro_batch=st.integers(2, 6), seed=st.integers(0, 3))
@settings(max_examples=150)
def test_no_micro_batch_repeats_a_paper_or_has_a_cocited_negative(
    pairs: np.ndarray, micro_batch: int, seed: int
) -> None:
    together = {frozenset(pair) for pair in pairs.tolist()}
    plan = plan_epoch(pairs, Cocited(pairs), micro_batch=micro_batch, seed=seed, epoch=0)
    assert plan.micro_batches.dtype == np.int32
    assert plan.micro_batches.shape[1:] == (micro_batch,)
    positions = plan.micro_batches.ravel().tolist()
    assert len(set(positions)) == len(positions)
    assert plan.left_over == len(pairs) - len(positions)
    for rows in plan.micro_batches:
        assert fits([tuple(pair) for pair in pairs[rows].tolist()], together)
    # What is left over makes no micro-batch of its own: none was given up that could have been.
    left = sorted(set(range(len(pairs))) - set(positions))
    if len(left) <= 12:
        for some in itertools.combinations(left, micro_batch):
            if fits([tuple(pairs[i].tolist()) for i in some], together):
                # One at a time does not find every one; but with room to spare it must.
                assert len(left) < 4 * micro_batch + 2


@given(pairs=PAIRS)
@settings(max_examples=50)
def test_cocited_equals_plain_sets(pairs: np.ndarray) -> None:
    cocited, together = Cocited(pairs), {frozenset(pair) for pair in pairs.tolist()}
    papers = np.arange(cocited.papers, dtype=np.int32)
    a, b = np.meshgrid(papers, papers)
    expected = [[frozenset((x, y)) in together for x in papers.tolist()] for y in papers.tolist()]
    assert cocited.together(a, b).tolist() == expected
    for paper in papers.tolist():
        assert cocited.partners(paper) == {next(iter(pair - {paper})) for pair in together if paper in pair}


def test_with_many_papers_nearly_all_pairs_are_placed() -> None:
    random = np.random.default_rng(3)
    pairs = np.unique(random.integers(0, 3_000, (2_000, 2)), axis=0).astype(np.int32)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    for micro_batch in (3, 30):
        plan = plan_epoch(pairs, Cocited(pairs), micro_batch=micro_batch, seed=0, epoch=0)
        assert plan.left_over == len(pairs) % micro_batch


def test_a_paper_in_every_pair_leaves_no_micro_batch() -> None:
    star = np.array([[0, i] for i in range(1, 200)], dtype=np.int32)
    plan = plan_epoch(star, Cocited(star), micro_batch=2, seed=0, epoch=0)
    assert (len(plan.micro_batches), plan.left_over) == (0, 199)


def test_the_pairs_of_a_frequent_paper_are_spread_over_the_epoch() -> None:
    # 100 pairs of one paper, 300 of others: each micro-batch of 4 can take one of the hub's.
    hub = [[0, i] for i in range(1, 101)]
    others = [[1000 + 2 * i, 1001 + 2 * i] for i in range(300)]
    pairs = np.array(hub + others, dtype=np.int32)
    plan = plan_epoch(pairs, Cocited(pairs), micro_batch=4, seed=1, epoch=0)
    with_hub = (plan.micro_batches < 100).sum(axis=1)
    assert with_hub.max() == 1
    assert plan.left_over <= 12
    halves = with_hub[: len(with_hub) // 2].sum(), with_hub[len(with_hub) // 2 :].sum()
    assert abs(int(halves[0]) - int(halves[1])) < 20


def test_a_plan_is_a_function_of_seed_and_epoch() -> None:
    pairs = toy_pairs().train
    cocited = Cocited(pairs)

    def planned(**chance: int) -> list[list[int]]:
        return plan_epoch(pairs, cocited, micro_batch=3, **chance).micro_batches.tolist()

    assert planned(seed=1, epoch=0) == planned(seed=1, epoch=0)
    assert planned(seed=1, epoch=0) != planned(seed=1, epoch=1) != planned(seed=2, epoch=1)


def test_a_run_takes_epoch_after_epoch() -> None:
    pairs = toy_pairs(train=50)
    asked = TrainingSettings(micro_batch=3, batch=12, epochs=3, warmup_steps=2)
    plan = plan_run(pairs, asked)
    assert len(plan.micro_batches) == plan.epoch_ends[-1] == (3 * 50 - sum(plan.left_over)) // 3
    assert plan.total_steps == len(plan.micro_batches) // 4
    taken = [place for step in range(1, plan.total_steps + 1) for place in plan.places(step)]
    assert taken == list(range(4 * plan.total_steps))
    done = [plan.epochs_done(step) for step in range(1, plan.total_steps + 1)]
    assert done == sorted(done)
    first = int(plan.epoch_ends[0])
    assert done[0] == pytest.approx(4 / first)
    assert 2 < done[-1] <= 3


def test_a_short_run_plans_no_more_epochs_than_it_needs() -> None:
    stages: list[tuple[str, int, int]] = []
    asked = TrainingSettings(micro_batch=3, batch=12, epochs=100, max_steps=5, warmup_steps=2)
    plan = plan_run(toy_pairs(train=50), asked, progress=lambda *words: stages.append(words))
    assert (plan.total_steps, len(plan.epoch_ends)) == (5, 2)
    assert stages[-1] == ("Planning the batches", 100, 100)


def test_too_few_pairs_and_too_long_a_warm_up_are_explained() -> None:
    with pytest.raises(TrainingError, match=r"^toy: its 20 training pairs make \d micro-batches of 3 .* takes 10\."):
        plan_run(toy_pairs(train=20), TrainingSettings())
    with pytest.raises(TrainingError, match=r"^warmup_steps is 1,000 and the whole run has 6 steps, .*--warmup-steps"):
        plan_run(toy_pairs(), TrainingSettings())


# Negatives.


@pytest.mark.parametrize("rows", [2, 3, 4, 5])
def test_derangements_are_uniform(rows: int) -> None:
    random = np.random.default_rng(5)
    possible = [p for p in itertools.permutations(range(rows)) if all(i != x for i, x in enumerate(p))]
    draws = 200 * len(possible)
    counts = Counter(tuple(draw_negatives("derangement", rows=rows, random=random).tolist()) for _ in range(draws))
    assert set(counts) == set(possible)
    # Pearson's statistic has as many degrees of freedom as there are others: far in its tail it is a fault.
    surprise = sum((counts[one] - 200) ** 2 / 200 for one in possible)
    assert surprise < len(possible) + 6 * (2 * len(possible)) ** 0.5


@given(rows=st.integers(2, 50), seed=st.integers(0, 10**9))
@settings(max_examples=50)
def test_a_derangement_leaves_no_row_where_it_is(rows: int, seed: int) -> None:
    drawn = draw_negatives("derangement", rows=rows, random=np.random.default_rng(seed))
    assert sorted(drawn.tolist()) == list(range(rows))
    assert all(i != x for i, x in enumerate(drawn.tolist()))


def test_a_permutation_has_one_self_negative_per_micro_batch_on_average() -> None:
    random = np.random.default_rng(5)
    drawn = np.array([draw_negatives("permutation", rows=3, random=random) for _ in range(3_000)])
    assert (drawn == np.arange(3)).sum() / 3_000 == pytest.approx(1.0, abs=0.07)
    assert len({tuple(one) for one in drawn.tolist()}) == 6
