"""What every neighbour index answers with, and the checks that all of them share."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of one query, nearest first; rows at the same distance in the order of their numbers.

    rows: int64 (k,). l2_distances: float32 (k,), true L2 distances, not their squares.
    """

    rows: NDArray[np.int64]
    l2_distances: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


class Index(Protocol):
    """One interface for all indexes: exact search, hnswlib, and what chooses between them."""

    def search(self, query: Vectors, *, k: int, allowed: Mask | None = None) -> Neighbours:
        """The k nearest rows of `query` (float32 (d,)) among the rows that `allowed` (bool (n,)) lets through.

        Fewer than k come back only where fewer are allowed. Raises ValueError for a query of another shape or
        with values that are not finite, for k < 1, and for a mask of another length.
        """
        ...


def checked_query(query: Vectors, *, dimensions: int, rows: int, k: int, allowed: Mask | None) -> Vectors:
    """The query as float32 (d,), or a ValueError that names what is wrong with the call."""
    query = np.asarray(query, dtype=np.float32)
    if query.shape != (dimensions,):
        raise ValueError(f"a query of shape {query.shape} for vectors of {dimensions} dimensions")
    if not np.isfinite(query).all():
        raise ValueError("a query with values that are not finite")
    if k < 1:
        raise ValueError(f"k = {k}: at least one neighbour must be asked for")
    if allowed is not None and (allowed.shape != (rows,) or allowed.dtype != np.bool_):
        raise ValueError(f"a mask of shape {allowed.shape} and type {allowed.dtype} for {rows} rows")
    return query


def checked_vectors(vectors: Vectors) -> Vectors:
    """Vectors as float32 (n, d), or a ValueError: an index accepts NaN in silence and answers nonsense."""
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"vectors of shape {vectors.shape} and type {vectors.dtype}: float32 (n, d) is needed")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors with values that are not finite")
    return vectors


def ranked(vectors: Vectors, query: Vectors, rows: NDArray[np.int64], *, k: int) -> Neighbours:
    """The k nearest of a few candidate rows, their distances computed afresh, free of cancellation."""
    squared = np.square(vectors[rows].astype(np.float64) - query.astype(np.float64)).sum(axis=1)
    order = np.lexsort((rows, squared))[:k]
    return Neighbours(rows=rows[order], l2_distances=np.sqrt(squared[order]).astype(np.float32))
