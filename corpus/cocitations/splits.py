"""Splits: which pairs are trained on, which choose the checkpoint, and which nobody sees before the end."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.cocitations.pairs import Keys, PairsError, Rows, pair_keys

DEFAULT_SHARE, DEFAULT_MOST = 0.1, 10_000
FEW_DEV = 2_000  # pairs; the authors' frozen dev sets have 2,000 to 10,000
_LARGEST_COMPONENT = 100  # pairs without a citing paper that are kept together
_TRAIN, _DEV, _TEST = 0, 1, 2
_NAMES = ("train", "dev", "test")

Places = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRules:
    """How large dev and test are, each a share of the citing papers or a number of pairs, and the seed of it all.

    dev, test: a float is a share, an int a number of pairs; None is a share of 10 %, but 10,000 pairs at most; test
    may be 0. Raises PairsError for what leaves nothing.
    """

    dev: float | int | None = None
    test: float | int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, size in (("dev", self.dev), ("test", self.test)):
            if isinstance(size, float) and not (0 < size < 1 or (name == "test" and size == 0)):
                raise PairsError(
                    f"{name} is {size}; a share lies between 0 and 1. Give one, or a whole number of pairs."
                )
            if isinstance(size, int) and size < (name == "dev"):
                raise PairsError(f"{name} is {size}; a number of pairs is {int(name == 'dev')} or more.")
        shares = [
            DEFAULT_SHARE if size is None else size for size in (self.dev, self.test) if not isinstance(size, int)
        ]
        if sum(shares) >= 1:
            raise PairsError(
                f"dev and test are {self.dev} and {self.test} of the citing papers; nothing is left to train on."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The pairs, parted.

    train, dev, test: as in TrainingPairs. of: int8 (n,), where the citing paper of each pair given went: 0 train,
    1 dev, 2 test. told: sizes, shares, and how many pairs were left out for what reason.
    """

    train: Rows
    dev: Rows
    test: Rows
    of: NDArray[np.int8]
    told: dict[str, Any]

    def name_of(self, pair: int) -> str:
        """The split that a pair's citing paper is in."""
        return _NAMES[self.of[pair]]


def split_pairs(pairs: Rows, citing: Sequence[str], *, ids: Sequence[str], rules: SplitRules) -> Split:
    """Part pairs of rows by their citing papers; a pair of papers stands in one split alone.

    pairs: int32 (n, 2). citing: what tells the citing paper of each, "" where nobody knows: then the pairs whose papers
    hang together go together, but 100 of them at most. ids: of the papers, by row.

    Where a citing paper goes is told by a hash of its name and the seed: the lowest go to test, the highest to dev. So
    with shares no paper moves when others are added. A number of pairs is reached from the ends, by whole citing
    papers: when others are added some may go over to train, and none from train; `told` gives the share that it came
    to, with which none would move.
    In dev and test a pair stands once, in train as often as it was cited. One that is in test is left out of dev and
    train, one in dev of train. A dev pair's negative is another's positive, never cited together with its anchor.
    Raises PairsError where no pair is given.
    """
    if not len(pairs):
        raise PairsError("No pair of papers is left. See what the filters dropped, and give more full texts or papers.")
    keys = pair_keys(pairs, papers=len(ids))
    hashes = _hashes(_units(pairs, citing, ids), seed=rules.seed)
    low, high = _fractions(hashes), _fractions(~hashes)
    test_share = _share(low, keys, rules.test)
    of = np.full(len(pairs), _TRAIN, np.int8)
    of[low < test_share] = _TEST
    rest = of != _TEST
    dev_share = _share(high[rest], keys[rest], rules.dev)
    of[rest & (high < dev_share)] = _DEV

    test = _once(np.flatnonzero(of == _TEST), keys)
    dev = _once(np.flatnonzero(of == _DEV), keys)
    dev_alone = dev[~np.isin(keys[dev], keys[test])]
    train = np.flatnonzero(of == _TRAIN)
    train_alone = train[~np.isin(keys[train], np.concatenate([keys[dev_alone], keys[test]]))]
    negatives = _negatives(pairs[dev_alone], ids, known=np.unique(keys), seed=rules.seed)
    found = negatives >= 0
    told: dict[str, Any] = {
        "seed": rules.seed,
        "dev_share": dev_share,
        "test_share": test_share,
        "train": len(train_alone),
        "dev": int(found.sum()),
        "test": len(test),
        "left_out_of_train": len(train) - len(train_alone),
        "left_out_of_dev": len(dev) - len(dev_alone),
        "dev_without_negative": int((~found).sum()),
    }
    return Split(
        train=pairs[train_alone],
        dev=np.column_stack([pairs[dev_alone], negatives])[found].astype(np.int32),
        test=pairs[test],
        of=of,
        told=told,
    )


# Where a pair goes


def _units(pairs: Rows, citing: Sequence[str], ids: Sequence[str]) -> list[str]:
    """What the pairs that go together have in common, and others have not."""
    above: dict[int, int] = {}

    def top(row: int) -> int:
        while (next_up := above.get(row, row)) != row:
            above[row] = above.get(next_up, next_up)
            row = next_up
        return row

    alone = [place for place, name in enumerate(citing) if not name]
    for place in alone:
        first, second = (top(int(row)) for row in pairs[place])
        if first != second:
            # The one with the lesser id, so that the name of a component does not rest on the order of its pairs.
            least, other = sorted((first, second), key=lambda row: ids[row])
            above[other] = least
    tops = {place: top(int(pairs[place, 0])) for place in alone}
    sizes: dict[int, int] = {}
    for row in tops.values():
        sizes[row] = sizes.get(row, 0) + 1
    units = [f"citing {name}" for name in citing]
    for place, row in tops.items():
        if sizes[row] <= _LARGEST_COMPONENT:
            units[place] = f"papers {ids[row]}"
        else:
            # No split could hold it: its pairs go each for itself.
            units[place] = "pair {}\x00{}".format(*sorted(ids[row] for row in pairs[place].tolist()))
    return units


def _hashes(units: Sequence[str], *, seed: int) -> NDArray[np.uint64]:
    known: dict[str, int] = {}
    for unit in units:
        if unit not in known:
            text = f"{seed}\x00{unit}".encode("utf-8", "surrogatepass")
            known[unit] = int.from_bytes(hashlib.sha256(text).digest()[:8])
    return np.fromiter((known[unit] for unit in units), np.uint64, len(units))


def _fractions(hashes: NDArray[np.uint64]) -> Places:
    """Of 53 bits, which a float holds exactly: 0 ≤ fraction < 1."""
    return (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53


def _share(places: Places, keys: Keys, size: float | int | None) -> float:
    """The share below which citing papers are taken."""
    if isinstance(size, float):
        return size
    if size is None:
        share = _share(places, keys, DEFAULT_MOST) if len(keys) > DEFAULT_MOST else DEFAULT_SHARE
        return min(share, DEFAULT_SHARE)
    if size == 0 or not len(places):
        return 0.0
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    # How many different pairs stand at or before each, and how many when its whole citing paper is taken.
    new = np.zeros(len(keys), np.int64)
    new[np.unique(keys[order], return_index=True)[1]] = 1
    last = np.searchsorted(ordered, ordered, side="right") - 1
    taken = np.cumsum(new)[last]
    fits = np.flatnonzero(taken <= size)
    end = int(last[fits[-1]] if len(fits) else last[0])  # one citing paper at the least
    following = float(ordered[end + 1]) if end + 1 < len(ordered) else 1.0
    return _short_between(float(ordered[end]), following)


def _short_between(low: float, high: float) -> float:
    """The number of the fewest digits above `low` that is not above `high`, so that people can give it again."""
    for digits in range(1, 18):
        number: float = (math.floor(low * 10**digits) + 1) / 10**digits
        if low < number <= high:
            return number
    return high


def _once(places: NDArray[np.intp], keys: Keys) -> NDArray[np.intp]:
    """Those of the places that are the first with their key, in order."""
    return places[np.sort(np.unique(keys[places], return_index=True)[1])]


# Negatives


def _negatives(dev: Rows, ids: Sequence[str], *, known: Keys, seed: int) -> Rows:
    """Of each dev pair the negative; −1 where every other pair's positive is cited together with its anchor.

    known: the keys of all pairs, sorted.
    """
    count = len(dev)
    found = np.full(count, -1, np.int32)
    names = [f"negative {ids[anchor]}\x00{ids[positive]}" for anchor, positive in dev.tolist()]
    starts = (_hashes(names, seed=seed) % np.uint64(max(count, 1))).astype(np.int64)
    pending = np.arange(count)
    for step in range(count):
        if not len(pending):
            break
        candidates = dev[(starts[pending] + step) % count, 1]
        anchors = dev[pending, 0]
        fits = candidates != anchors
        against = pair_keys(np.column_stack([anchors, candidates]), papers=len(ids))
        fits &= known[np.minimum(np.searchsorted(known, against), len(known) - 1)] != against
        found[pending[fits]] = candidates[fits]
        pending = pending[~fits]
    return found
