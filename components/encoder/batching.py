"""Batches for an encoder: texts of like length together, under a budget of tokens."""

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
