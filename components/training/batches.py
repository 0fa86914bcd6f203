"""Batches: the plan of an epoch, in which no pair is told apart from a paper that it was cited together with."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpus.cocitations.pairs import Rows

Positions = NDArray[np.int32]

# Pairs that are tried for each place of a micro-batch before it is given up, and how often one is tried, on the mean,
# before what is left is left over: keeps the time linear.
_TRIED = 64
_PIECE = 2**20  # keys that are looked up at a time: bounds memory
_REPAIRS = 5  # times that micro-batches are taken apart for pairs that fitted in nowhere
_MANY = 100  # partners of a paper, from which on they are kept as a set
_FILTER_BITS = 26  # of the numbers of the filter's cells: 64 MB, of which 1.3 million pairs fill a fiftieth


@dataclass(frozen=True, slots=True, eq=False)
class EpochPlan:
    """One epoch in micro-batches.

    micro_batches: int32 (m, micro_batch), positions in the pairs, no position twice. left_over: how many pairs are in
        none of them: what is left of a whole number of micro-batches, and what fitted in nowhere.
    """

    micro_batches: Positions
    left_over: int


class Cocited:
    """Which papers are cited together, in any order."""

    def __init__(self, pairs: Rows) -> None:
        """pairs: int32 (n, 2), rows of papers."""
        first, second = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64)
        self.papers = int(pairs.max()) + 1 if len(pairs) else 0
        self._keys = np.unique(np.minimum(first, second) * self.papers + np.maximum(first, second))
        # Most questions are answered no; this says so without a search among millions of keys.
        self._filter = np.zeros(min(2**_FILTER_BITS, max(8, 64 * len(self._keys))), dtype=np.bool_)
        self._filter[self._cells(self._keys)] = True
        low, high = np.divmod(self._keys, max(1, self.papers))
        both = np.sort(np.concatenate([self._keys, high * self.papers + low]))
        self._partners = (both % max(1, self.papers)).astype(np.int32)
        self._many: dict[int, frozenset[int]] = {}  # of papers that are cited with many, which are asked for often
        self._starts = np.searchsorted(both, np.arange(self.papers + 1, dtype=np.int64) * self.papers)

    def partners(self, paper: int) -> frozenset[int]:
        """The papers that a paper is cited together with."""
        if (known := self._many.get(paper)) is not None:
            return known
        found = frozenset(self._partners[self._starts[paper] : self._starts[paper + 1]].tolist())
        if len(found) >= _MANY:
            self._many[paper] = found
        return found

    def together(self, a: Rows, b: Rows) -> NDArray[np.bool_]:
        """Whether a[i] and b[i] are cited together, for each i, whatever the shape of both."""
        left, right = a.astype(np.int64).ravel(), b.astype(np.int64).ravel()
        keys = np.minimum(left, right) * self.papers + np.maximum(left, right)
        found = self._filter[self._cells(keys)]
        asked = np.flatnonzero(found)
        places = np.searchsorted(self._keys, keys[asked])
        found[asked] = self._keys[np.minimum(places, len(self._keys) - 1)] == keys[asked]
        return found.reshape(a.shape)

    def _cells(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        # Multiplied by a large odd number, neighbouring keys fall into cells far apart (Knuth's hash).
        mixed = (keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(24)
        return (mixed % np.uint64(len(self._filter))).astype(np.int64)


def plan_epoch(pairs: Rows, cocited: Cocited, *, micro_batch: int, seed: int, epoch: int) -> EpochPlan:
    """The micro-batches of one epoch, in the order in which they are taken.

    pairs: int32 (n, 2), anchor and positive. cocited: of the same pairs. It is a function of pairs, seed and epoch.
    Within a micro-batch no paper stands twice, and no row's positive is cited together with another row's anchor:
    such a row is kept for a later one. A micro-batch that cannot be filled is dropped.
    Takes a few seconds for a million pairs.
    """
    random = np.random.default_rng([seed, epoch, 0xE90C])
    order = random.permutation(len(pairs)).astype(np.int32)
    whole = len(order) // micro_batch * micro_batch
    drawn = order[:whole].reshape(-1, micro_batch)
    fine = ~_conflicts(pairs, drawn, cocited)
    planned, left = _placed(pairs, np.concatenate([drawn[~fine].ravel(), order[whole:]]), cocited, micro_batch)
    planned = np.concatenate([drawn[fine], planned])
    for _ in range(_REPAIRS):
        if len(left) < micro_batch or not len(planned):
            break
        # They share papers with each other: they are placed among others, which are taken apart for it.
        planned = random.permutation(planned)
        apart, kept = planned[: 2 * len(left)], planned[2 * len(left) :]
        again, still_left = _placed(pairs, np.concatenate([left, apart.ravel()]), cocited, micro_batch)
        if len(still_left) < len(left):
            planned, left = np.concatenate([kept, again]), still_left
    # Those that were put together by hand must not all come last.
    return EpochPlan(random.permutation(planned), len(left))


def _conflicts(pairs: Rows, drawn: Positions, cocited: Cocited) -> NDArray[np.bool_]:
    """Which of the micro-batches (m, micro_batch) hold a paper twice, or a negative that is none."""
    found = np.zeros(len(drawn), dtype=np.bool_)
    size = max(1, _PIECE // max(1, drawn.shape[1]))
    for start in range(0, len(drawn), size):
        rows = pairs[drawn[start : start + size]]
        papers = np.sort(rows.reshape(len(rows), -1), axis=1)
        bad = (papers[:, 1:] == papers[:, :-1]).any(axis=1)
        anchors, positives = rows[:, :, 0], rows[:, :, 1]
        for shift in range(1, drawn.shape[1]):
            bad |= cocited.together(anchors, np.roll(positives, shift, axis=1)).any(axis=1)
        found[start : start + size] = bad
    return found


def _placed(pairs: Rows, rest: Positions, cocited: Cocited, micro_batch: int) -> tuple[Positions, Positions]:
    """Full micro-batches of as many of these pairs as can be placed, one row at a time; and the others."""
    made: list[list[int]] = []
    waiting = deque(zip(rest.tolist(), *pairs[rest].T.tolist(), strict=True))
    failed, tries = 0, _TRIED * len(rest)
    # Each failure moves on what it tried; when all that waits was tried for nothing, it is left.
    while len(waiting) >= micro_batch and failed <= len(waiting) and tries > 0:
        taken: list[tuple[int, int, int]] = []
        passed: list[tuple[int, int, int]] = []
        papers: set[int] = set()
        of_anchors: list[frozenset[int]] = []
        of_positives: list[frozenset[int]] = []
        for _ in range(min(len(waiting), _TRIED * micro_batch)):
            row = waiting.popleft()
            _, anchor, positive = row
            tries -= 1
            if (
                anchor in papers
                or positive in papers
                or any(positive in partners for partners in of_anchors)
                or any(anchor in partners for partners in of_positives)
            ):
                passed.append(row)
                continue
            taken.append(row)
            if len(taken) == micro_batch:
                break
            papers |= {anchor, positive}
            of_anchors.append(cocited.partners(anchor))
            of_positives.append(cocited.partners(positive))
        if len(taken) == micro_batch:
            # In front: what had to wait is of papers that many pairs share, and must be spread over all.
            waiting.extendleft(reversed(passed))
            failed = 0
            made.append([position for position, _, _ in taken])
        else:
            waiting.extend(taken + passed)
            failed += len(taken) + len(passed)
    left = np.array([position for position, _, _ in waiting], dtype=np.int32)
    return np.array(made, dtype=np.int32).reshape(-1, micro_batch), left
