"""Negatives: whose positive each row of a micro-batch is told apart from."""

import numpy as np
from numpy.typing import NDArray

from components.training.settings import Negatives


def draw_negatives(kind: Negatives, *, rows: int, random: np.random.Generator) -> NDArray[np.intp]:
    """For each of `rows` rows, the row whose positive is its negative; every row's positive is one negative.

    derangement: uniform among the permutations that leave no row where it is, so no row meets its own positive.
    permutation: uniform among all, as the authors drew it; a row meets its own positive with probability 1/rows.
    Raises ValueError for a derangement of fewer than 2 rows: there is none.
    """
    if kind == "permutation":
        return random.permutation(rows).astype(np.intp)
    if rows < 2:
        raise ValueError(f"{rows} rows have no derangement")
    kept = np.arange(rows)
    # One permutation in e is a derangement, of however many rows: three draws, as a rule. Uniform, as each is kept
    # or thrown away whole.
    while True:
        drawn = random.permutation(rows)
        if not (drawn == kept).any():
            return drawn.astype(np.intp)
