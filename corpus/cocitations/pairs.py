"""Training pairs: papers that were cited together, and their division into train, dev and test."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import CociteAtlasError

DEFAULT_SHARE, DEFAULT_MAX_PAIRS = 0.1, 10_000
FEW_DEV = 2_000  # pairs; the authors' frozen dev sets have 2,000 to 10,000
_MAX_COMPONENT = 100  # pairs without a citing paper that are kept together
_NAMES = ("train", "dev", "test")
_TRAIN, _DEV, _TEST = range(3)

Rows = NDArray[np.int32]
Keys = NDArray[np.int64]


class PairsError(CociteAtlasError):
    """Training pairs cannot be made, written or read. The message names the file and the place."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPairs:
    """Pairs of co-cited papers, as rows of `papers`.

    name: of the folder, for people. fingerprint: SHA-256 (hex) of all that training reads: texts, pairs and splits.
    papers: a table with `corpus.paper.SCHEMA`; each has a title, and unless titles alone were requested an abstract.
    train: int32 (n, 2), anchor and positive, never equal. dev: int32 (m, 3), anchor, positive and the fixed negative,
        which is co-cited with the anchor in no split. test: int32 (t, 2), pairs that are in neither of the others.
    provenance: how the pairs were made, for the model card: settings, sources and counts; JSON values.
    """

    name: str
    fingerprint: str
    papers: pa.Table
    train: Rows
    dev: Rows
    test: Rows
    provenance: dict[str, Any]


def pair_keys(rows: Rows, *, papers: int) -> Keys:
    """One number per pair, whatever its order. rows: int32 (n, 2 or more), below `papers`; two columns count."""
    first, second = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    keys: Keys = np.minimum(first, second) * papers + np.maximum(first, second)
    return keys


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRules:
    """The sizes of dev and test, and the seed. Raises PairsError for sizes that leave nothing.

    dev, test: a float is a share of the citing papers, an int a number of pairs; None is a share of 10 %, but at most
    10,000 pairs; test may be 0.
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
        sizes = [DEFAULT_SHARE if size is None else size for size in (self.dev, self.test)]
        if sum(size for size in sizes if isinstance(size, float)) >= 1:
            raise PairsError(
                f"dev and test are {self.dev} and {self.test} of the citing papers; nothing is left to train on. Give "
                "smaller shares."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Pairs in their splits.

    train, dev, test: as in TrainingPairs. names: of the split of each given pair's citing paper, (n,).
    summary: seed, shares, sizes, and how many pairs were left out for which reason.
    """

    train: Rows
    dev: Rows
    test: Rows
    names: list[str]
    summary: dict[str, Any]


def split_pairs(pairs: Rows, citing: Sequence[str], *, ids: Sequence[str], rules: SplitRules) -> Split:
    """Divide pairs of rows by their citing papers; a pair of papers is in one split only.

    pairs: int32 (n, 2). citing: identifies the citing paper of each, "" where it is unknown: then connected pairs stay
    together, up to 100 of them. ids: of the papers, by row.

    A hash of the citing paper's name and the seed decides: the lowest go to test, the highest to dev. So with shares no
    citing paper moves when others are added. A number of pairs is reached by whole citing papers: when others are
    added, some may move to train, and none from it; the summary gives the share that the number came to, with which
    none would move.
    In dev and test a pair occurs once, in train as often as it was cited. Pairs of test are left out of dev and train,
    pairs of dev out of train. The negative of a dev pair is another pair's positive that is never cited together with
    its anchor.
    Raises PairsError where no pair is given.
    """
    if not len(pairs):
        raise PairsError("No pair of papers is left. See what the filters dropped, and give more full texts or papers.")
    keys = pair_keys(pairs, papers=len(ids))
    hashes = _hashes(_units(pairs, citing, ids), seed=rules.seed)
    low, high = _fractions(hashes), _fractions(~hashes)
    test_share = _share(low, keys, rules.test)
    split = np.full(len(pairs), _TRAIN, np.int8)
    split[low < test_share] = _TEST
    rest = split != _TEST
    dev_share = _share(high[rest], keys[rest], rules.dev)
    split[rest & (high < dev_share)] = _DEV

    test = _distinct(np.flatnonzero(split == _TEST), keys)
    all_dev = _distinct(np.flatnonzero(split == _DEV), keys)
    dev = all_dev[~np.isin(keys[all_dev], keys[test])]
    all_train = np.flatnonzero(split == _TRAIN)
    train = all_train[~np.isin(keys[all_train], np.concatenate([keys[dev], keys[test]]))]
    negatives = _negatives(pairs[dev], ids, known=np.unique(keys), seed=rules.seed)
    has_negative = negatives >= 0
    return Split(
        train=pairs[train],
        dev=np.column_stack([pairs[dev], negatives])[has_negative].astype(np.int32),
        test=pairs[test],
        names=[_NAMES[number] for number in split.tolist()],
        summary={
            "seed": rules.seed,
            "dev_share": dev_share,
            "test_share": test_share,
            "train": len(train),
            "dev": int(has_negative.sum()),
            "test": len(test),
            "left_out_of_train": len(all_train) - len(train),
            "left_out_of_dev": len(all_dev) - len(dev),
            "dev_without_negative": int((~has_negative).sum()),
        },
    )


def _units(pairs: Rows, citing: Sequence[str], ids: Sequence[str]) -> list[str]:
    """The name that all pairs of one citing paper, or of one component of pairs without citing papers, share."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while (above := parent.get(row, row)) != row:
            parent[row] = parent.get(above, above)
            row = above
        return row

    unknown = [number for number, name in enumerate(citing) if not name]
    for number in unknown:
        # The lowest id names a component, so that the order of its pairs does not matter.
        least, other = sorted((root(int(row)) for row in pairs[number]), key=lambda row: ids[row])
        parent[other] = least
    roots = {number: root(int(pairs[number, 0])) for number in unknown}
    sizes = Counter(roots.values())
    units = [f"citing {name}" for name in citing]
    for number, row in roots.items():
        if sizes[row] <= _MAX_COMPONENT:
            units[number] = f"papers {ids[row]}"
        else:  # no split could hold it
            units[number] = "pair {}\x00{}".format(*sorted(ids[row] for row in pairs[number].tolist()))
    return units


def _hashes(units: Sequence[str], *, seed: int) -> NDArray[np.uint64]:
    known: dict[str, int] = {}
    for unit in units:
        if unit not in known:
            text = f"{seed}\x00{unit}".encode("utf-8", "surrogatepass")
            known[unit] = int.from_bytes(hashlib.sha256(text).digest()[:8])
    return np.fromiter((known[unit] for unit in units), np.uint64, len(units))


def _fractions(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Numbers from 0 to below 1, of 53 bits, which a float holds exactly."""
    return (hashes >> np.uint64(11)).astype(np.float64) / 2.0**53


def _share(fractions: NDArray[np.float64], keys: Keys, size: float | int | None) -> float:
    """The fraction below which citing papers are taken."""
    if isinstance(size, float):
        return size
    if size is None:
        share = _share(fractions, keys, DEFAULT_MAX_PAIRS) if len(keys) > DEFAULT_MAX_PAIRS else DEFAULT_SHARE
        return min(share, DEFAULT_SHARE)
    if size == 0 or not len(fractions):
        return 0.0
    order = np.argsort(fractions, kind="stable")
    ordered = fractions[order]
    # The number of distinct pairs up to the end of each one's citing paper.
    new = np.zeros(len(keys), np.int64)
    new[np.unique(keys[order], return_index=True)[1]] = 1
    last = np.searchsorted(ordered, ordered, side="right") - 1
    taken = np.cumsum(new)[last]
    fits = np.flatnonzero(taken <= size)
    end = int(last[fits[-1]] if len(fits) else last[0])  # at least one citing paper
    following = float(ordered[end + 1]) if end + 1 < len(ordered) else 1.0
    return _shortest_between(float(ordered[end]), following)


def _shortest_between(low: float, high: float) -> float:
    """The number above `low` and up to `high` with the fewest digits, which people can type."""
    for digits in range(1, 18):
        number: float = (math.floor(low * 10**digits) + 1) / 10**digits
        if low < number <= high:
            return number
    return high


def _distinct(numbers: NDArray[np.intp], keys: Keys) -> NDArray[np.intp]:
    """The numbers of the pairs that are the first with their key, in order."""
    return numbers[np.sort(np.unique(keys[numbers], return_index=True)[1])]


def _negatives(dev: Rows, ids: Sequence[str], *, known: Keys, seed: int) -> Rows:
    """The negative of each dev pair; -1 where all positives of others are cited together with its anchor.

    known: the keys of all pairs, sorted.
    """
    count = len(dev)
    negatives = np.full(count, -1, np.int32)
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
        negatives[pending[fits]] = candidates[fits]
        pending = pending[~fits]
    return negatives
