"""Splits: no pair in two of them, the same for one seed, unmoved by additions; true negatives."""

import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.cocitations import pairs as module
from corpus.cocitations.pairs import PairsError, Rows, Split, SplitRules, split_pairs

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
def test_splits_are_apart_and_complete_and_negatives_are_true(
    given: Contexts, dev: float | int | None, test: float | int | None, seed: int
) -> None:
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
        assert negative in positives or found.summary["dev_without_negative"]
    # One citing paper, one split.
    where: dict[str, set[str]] = {}
    for name, split_name in zip(citing, found.names, strict=True):
        where.setdefault(name, set()).add(split_name)
    assert all(len(names) == 1 for name, names in where.items() if name)
    # All that is left out is counted.
    summary = found.summary
    assert len(found.train) + summary["left_out_of_train"] == found.names.count("train")
    assert len(found.dev) + summary["dev_without_negative"] + summary["left_out_of_dev"] == len(
        set(together(pairs[np.array(found.names) == "dev"]))
    )
    assert (summary["train"], summary["dev"], summary["test"]) == (len(found.train), len(found.dev), len(found.test))


@settings(max_examples=60)
@given(contexts, sizes, st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_numbering_of_papers_does_not_matter(
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
    assert first.names == other.names


@settings(max_examples=100)
@given(contexts, contexts, st.floats(0.05, 0.45), st.integers(0, 3))
def test_with_shares_new_citing_papers_move_no_others(given: Contexts, more: Contexts, share: float, seed: int) -> None:
    given = [(citing or "doi:10.1/none", rows) for citing, rows in given]
    added = given + [(f"new {citing}", rows) for citing, rows in more]
    before = split(given, dev=share, test=share, seed=seed)
    after = split(added, dev=share, test=share, seed=seed)
    assert before.names == after.names[: len(before.names)]


@settings(max_examples=100)
@given(contexts, contexts, st.integers(1, 20), st.integers(0, 20), st.integers(0, 3))
def test_a_number_of_pairs_comes_to_a_share_and_takes_no_pair_from_train(
    given: Contexts, more: Contexts, dev: int, test: int, seed: int
) -> None:
    given = [(citing or "doi:10.1/none", rows) for citing, rows in given]
    before = split(given, dev=dev, test=test, seed=seed)
    shares = {"dev": before.summary["dev_share"], "test": before.summary["test_share"]}
    if shares["dev"] > 0 and sum(shares.values()) < 1:
        again = split(given, seed=seed, **shares)
        assert before.names == again.names
    after = split(given + [(f"new {citing}", rows) for citing, rows in more], test=test, dev=dev, seed=seed)
    assert all(new == "train" for old, new in zip(before.names, after.names, strict=False) if old == "train")


def many(count: int = 3_000) -> Contexts:
    numbers = np.random.default_rng(0)
    return [(f"doi:10.1/{i}", numbers.choice(2_000, 2, replace=False).tolist()) for i in range(count)]


MANY_IDS = [f"p{i}" for i in range(2_000)]


@pytest.mark.parametrize(("size", "least", "most"), [(0.1, 250, 350), (None, 250, 350), (200, 190, 200), (7, 7, 7)])
def test_splits_have_the_requested_sizes(size: float | int | None, least: int, most: int) -> None:
    found = split(many(), MANY_IDS, dev=size, test=size)
    assert least <= len(found.test) <= most
    assert least - 3 <= len(found.dev) <= most
    other = split(many(), MANY_IDS, dev=size, test=size, seed=1)
    assert set(together(other.test)) != set(together(found.test))


def test_the_default_size_is_bounded_and_its_share_has_few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEFAULT_MAX_PAIRS", 100)
    found = split(many(), MANY_IDS)
    assert len(found.test) == 100
    assert 95 <= len(found.dev) <= 100
    assert found.summary["test_share"] < 0.1
    assert len(str(found.summary["test_share"])) <= 8
    again = split(many(), MANY_IDS, dev=found.summary["dev_share"], test=found.summary["test_share"])
    assert found.names == again.names


def test_negatives_are_varied() -> None:
    found = split(many(), MANY_IDS)
    assert len(set(found.dev[:, 2].tolist())) > len(found.dev) / 3
    assert found.summary["dev_without_negative"] == 0


def test_connected_pairs_without_a_citing_paper_stay_together() -> None:
    chains: Contexts = [("", [5 * chain + i, 5 * chain + i + 1]) for chain in range(8) for i in range(4)]
    for seed in range(6):
        found = split(chains, dev=0.3, test=0.3, seed=seed)
        for chain in range(8):
            assert len(set(found.names[4 * chain : 4 * chain + 4])) == 1


def test_a_large_component_is_divided_pair_by_pair() -> None:
    star: Contexts = [("", [0, i]) for i in range(1, 2_000)]
    found = split(star, MANY_IDS, dev=0.2, test=0.2)
    assert 300 < len(found.test) < 500
    assert 1_000 < len(found.train) < 1_400
    # All are cited together with the one anchor: nothing is left for a negative.
    assert len(found.dev) == 0
    assert 300 < found.summary["dev_without_negative"] < 500


def test_no_pairs_are_refused() -> None:
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
def test_invalid_sizes_are_refused(wrong: dict[str, float | int]) -> None:
    with pytest.raises(PairsError):
        SplitRules(**wrong)  # type: ignore[arg-type]
