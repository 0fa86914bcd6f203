"""Batches for an encoder, under a budget of tokens: in the order given, or texts of like length together."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def token_budget_batches(lengths: Sequence[int], *, budget: int) -> Iterator[NDArray[np.intp]]:
    """Positions of `lengths` in batches whose padded size (count × longest) stays within `budget` tokens.

    Longest first, so that a batch that does not fit in memory fails at once and the estimate of the time left
    errs to the safe side. A single text longer than the budget is a batch of its own. Each position comes once.

    >>> [batch.tolist() for batch in token_budget_batches([3, 9, 4, 1], budget=9)]
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = max(1, budget // longest)
        yield order[start : start + size]
        start += size


def packed_batches(lengths: Sequence[int], *, budget: int) -> Iterator[NDArray[np.intp]]:
    """Positions of `lengths` in batches, in order, whose sum stays within `budget` tokens: for texts without padding.

    A single text longer than the budget is a batch of its own. Each position comes once.

    >>> [batch.tolist() for batch in packed_batches([3, 9, 4, 1], budget=9)]
    [[0], [1], [2, 3]]
    """
    batch: list[int] = []
    tokens = 0
    for position, length in enumerate(lengths):
        if batch and tokens + length > budget:
            yield np.array(batch, dtype=np.intp)
            batch, tokens = [], 0
        batch.append(position)
        tokens += length
    if batch:
        yield np.array(batch, dtype=np.intp)
