"""Splits: no pair in two, the same for the same seed, unmoved by what is added; negatives that are none by chance."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.cocitations.pairs import PairsError, Rows
from corpus.cocitations.splits import Split, SplitRules, split_pairs

IDS = [f"paper {i}" for i in range(40)]
Contexts = list[tuple[str, list[int]]]

contexts = st.lists(
    st.tuples(
        st.sampled_from(["", *(f"doi:10.1/{i}" for i in range(12))]),
        st.lists(st.integers(0, len(IDS) - 1), min_size=2, max_size=4, unique=True),
    ),
    min_size=1,
    max_size=40,
)
sizes = st.one_of(st.none(), st.floats(0.05, 0.45), st.integers(1, 20))


def flat(given: Contexts) -> tuple[Rows, list[str]]:
    pairs = [(pair, citing) for citing, rows in given for pair in combinations(rows, 2)]
    return np.array([pair for pair, _ in pairs], np.int32).reshape(-1, 2), [citing for _, citing in pairs]


def split(given: Contexts, ids: list[str] = IDS, **rules: object) -> Split:
    pairs, citing = flat(given)
    return split_pairs(pairs, citing, ids=ids, rules=SplitRules(**rules))  # type: ignore[arg-type]


def named(rows: Rows, ids: list[str] = IDS) -> list[tuple[str, ...]]:
    return [tuple(ids[row] for row in pair) for pair in rows.tolist()]


def together(rows: Rows) -> list[frozenset[int]]:
    return [frozenset(pair[:2]) for pair in rows.tolist()]


@settings(max_examples=150)
@given(contexts, sizes, sizes, st.integers(0, 3))
def test_what_splits_promise(given: Contexts, dev: float | int | None, test: float | int | None, seed: int) -> None:
    found = split(given, dev=dev, test=test, seed=seed)
    pairs, citing = flat(given)
    everywhere = set(together(pairs))
    parts = [set(together(rows)) for rows in (found.train, found.dev, found.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert set().union(*parts) <= everywhere
    for rows, columns in ((found.train, 2), (found.dev, 3), (found.test, 2)):
        assert rows.dtype == np.int32 and rows.shape[1] == columns
    for rows in (found.dev, found.test):
        assert len(set(together(rows))) == len(rows)
    positives = set(found.dev[:, 1].tolist())
    for anchor, positive, negative in found.dev.tolist():
        assert negative not in (anchor, positive)
        assert frozenset((anchor, negative)) not in everywhere
        # Another dev pair's positive: of one that was left out for want of its own negative, too.
        assert negative in positives or found.told["dev_without_negative"]
    # One citing paper, one split.
    where: dict[str, set[int]] = {}
    for name, number in zip(citing, found.of.tolist(), strict=True):
        where.setdefault(name, set()).add(number)
    assert all(len(numbers) == 1 for name, numbers in where.items() if name)
    # Nothing is lost that is not told.
    told = found.told
    assert len(found.train) + told["left_out_of_train"] == int((found.of == 0).sum())
    assert len(found.dev) + told["dev_without_negative"] + told["left_out_of_dev"] == len(
        set(together(pairs[found.of == 1]))
    )
    assert (told["train"], told["dev"], told["test"]) == (len(found.train), len(found.dev), len(found.test))


@settings(max_examples=60)
@given(contexts, sizes, st.integers(0, 3), st.randoms(use_true_random=False))
def test_neither_order_nor_numbering_decides(
    given: Contexts, size: float | int | None, seed: int, random: random.Random
) -> None:
    first = split(given, dev=size, seed=seed)
    again = split(given, dev=size, seed=seed)
    np.testing.assert_array_equal(first.dev, again.dev)
    np.testing.assert_array_equal(first.train, again.train)
    order = list(range(len(IDS)))
    random.shuffle(order)
    ids = [""] * len(IDS)
    for row, new in enumerate(order):
        ids[new] = IDS[row]
    other = split([(citing, [order[row] for row in rows]) for citing, rows in given], ids=ids, dev=size, seed=seed)
    assert named(first.train) == named(other.train, ids)
    assert named(first.test) == named(other.test, ids)
    assert named(first.dev) == named(other.dev, ids)
    np.testing.assert_array_equal(first.of, other.of)


@settings(max_examples=100)
@given(contexts, contexts, st.floats(0.05, 0.45), st.integers(0, 3))
def test_with_shares_new_citing_papers_move_none(given: Contexts, more: Contexts, share: float, seed: int) -> None:
    given = [(citing or "doi:10.1/none", rows) for citing, rows in given]
    added = given + [(f"new {citing}", rows) for citing, rows in more]
    before = split(given, dev=share, test=share, seed=seed)
    after = split(added, dev=share, test=share, seed=seed)
    np.testing.assert_array_equal(before.of, after.of[: len(before.of)])


@settings(max_examples=100)
@given(contexts, contexts, st.integers(1, 20), st.integers(0, 20), st.integers(0, 3))
def test_a_number_of_pairs_comes_to_a_share_and_takes_none_from_train(
    given: Contexts, more: Contexts, dev: int, test: int, seed: int
) -> None:
    given = [(citing or "doi:10.1/none", rows) for citing, rows in given]
    before = split(given, dev=dev, test=test, seed=seed)
    shares = {"dev": before.told["dev_share"], "test": before.told["test_share"]}
    if shares["dev"] > 0 and sum(shares.values()) < 1:
        again = split(given, seed=seed, **shares)
        np.testing.assert_array_equal(before.of, again.of)
    after = split(given + [(f"new {citing}", rows) for citing, rows in more], test=test, dev=dev, seed=seed)
    trained = before.of == 0
    assert (after.of[: len(before.of)][trained] == 0).all()


def many(count: int = 3_000) -> Contexts:
    numbers = np.random.default_rng(0)
    return [(f"doi:10.1/{i}", numbers.choice(2_000, 2, replace=False).tolist()) for i in range(count)]


MANY_IDS = [f"p{i}" for i in range(2_000)]


@pytest.mark.parametrize(("size", "least", "most"), [(0.1, 250, 350), (None, 250, 350), (200, 190, 200), (7, 7, 7)])
def test_sizes_are_what_was_asked_for(size: float | int | None, least: int, most: int) -> None:
    found = split(many(), MANY_IDS, dev=size, test=size)
    assert least <= len(found.test) <= most
    assert least - 3 <= len(found.dev) <= most
    other = split(many(), MANY_IDS, dev=size, test=size, seed=1)
    assert set(together(other.test)) != set(together(found.test))


def test_a_default_that_would_be_too_large_is_cut_at_its_most(monkeypatch: pytest.MonkeyPatch) -> None:
    from corpus.cocitations import splits

    monkeypatch.setattr(splits, "DEFAULT_MOST", 100)
    found = split(many(), MANY_IDS)
    assert len(found.test) == 100
    assert 95 <= len(found.dev) <= 100
    assert found.told["test_share"] < 0.1
    # The share that is told has few digits, and gives the same again.
    assert len(str(found.told["test_share"])) <= 8
    again = split(many(), MANY_IDS, dev=found.told["dev_share"], test=found.told["test_share"])
    np.testing.assert_array_equal(found.of, again.of)


def test_the_negatives_are_many_different_ones() -> None:
    found = split(many(), MANY_IDS)
    assert len(set(found.dev[:, 2].tolist())) > len(found.dev) / 3
    assert found.told["dev_without_negative"] == 0


def test_pairs_without_a_citing_paper_go_by_the_papers_that_hang_together() -> None:
    chains: Contexts = [("", [5 * chain + i, 5 * chain + i + 1]) for chain in range(8) for i in range(4)]
    for seed in range(6):
        found = split(chains, dev=0.3, test=0.3, seed=seed)
        for chain in range(8):
            assert len(set(found.of[4 * chain : 4 * chain + 4].tolist())) == 1


def test_a_component_that_no_split_could_hold_goes_pair_by_pair() -> None:
    star: Contexts = [("", [0, i]) for i in range(1, 2_000)]
    found = split(star, MANY_IDS, dev=0.2, test=0.2)
    assert 300 < len(found.test) < 500
    assert 1_000 < len(found.train) < 1_400
    # All are cited together with the one anchor: nothing is left for a negative.
    assert len(found.dev) == 0
    assert 300 < found.told["dev_without_negative"] < 500


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(PairsError, match="No pair of papers is left"):
        split([])


@pytest.mark.parametrize(
    "wrong",
    [
        {"dev": 0},
        {"dev": -1},
        {"test": -1},
        {"dev": 1.0},
        {"dev": 0.0},
        {"test": float("nan")},
        {"dev": 0.5, "test": 0.5},
    ],
)
def test_sizes_that_leave_nothing_are_refused(wrong: dict[str, float | int]) -> None:
    with pytest.raises(PairsError):
        SplitRules(**wrong)  # type: ignore[arg-type]
