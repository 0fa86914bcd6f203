"""Queries whose true neighbours are known: rows of an index, and queries beside them, as pasted texts lie."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.index.base import Vectors
from components.index.exact import ExactIndex

# Rows moved any way by this many times the median distance to a row's nearest. On the default corpus the ef_search that
# serves its own rows (24: 0.995) found 0.968 of the neighbours of abstracts from elsewhere (SciFact's); the one that
# serves rows moved so far (64) found 0.998.
_OUTSIDE = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """What an index is asked, and how far the k-th true neighbour of each lies.

    rows: int64 (q,). on: float32 (q, d), their vectors, asked for their k nearest others. on_reach: (q,).
    off: float32 (p, d), the first p of them moved off their place. off_reach: (p,).
    """

    k: int
    rows: NDArray[np.int64]
    on: Vectors
    on_reach: NDArray[np.floating]
    off: Vectors
    off_reach: NDArray[np.floating]


def questions(
    exact: ExactIndex, rows: NDArray[np.int64], *, k: int, off_rows: int, rng: np.random.Generator
) -> Questions:
    """Ask exact search about `rows`, and about the first `off_rows` of them moved off their place. Needs 1 ≤ k < n."""
    on = exact.vectors[rows]
    truth = exact.all_neighbours(rows, k=k)
    on_reach = np.linalg.norm(exact.vectors[truth[:, -1]] - on, axis=1)
    step = _OUTSIDE * float(np.median(np.linalg.norm(exact.vectors[truth[:, 0]] - on, axis=1)))
    moves = rng.normal(size=(min(off_rows, len(on)), on.shape[1])).astype(np.float32)
    off = on[: len(moves)] + moves * (step / np.linalg.norm(moves, axis=1, keepdims=True))
    off_reach = np.array([exact.search(query, k=k).l2_distances[-1] for query in off])
    return Questions(k=k, rows=rows, on=on, on_reach=on_reach, off=off, off_reach=off_reach)
