"""Exact search: every distance is computed. The oracle of the graphs, and fast enough for small corpora."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Mask = NDArray[np.bool_]

_EPSILON = float(np.finfo(np.float32).eps)
# Recall queries lie this many times the median nearest-neighbour distance from a row. On the default corpus, the
# ef_search that serves its own rows (24: 0.995) found 0.968 of the neighbours of abstracts from elsewhere (SciFact's);
# the one that serves rows moved this far (64) found 0.998.
_QUERY_OFFSET = 1.5


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of one query, nearest first; rows at the same distance by row number.

    rows: int64 (k,). l2_distances: float32 (k,), true L2 distances, not squared.
    """

    rows: NDArray[np.int64]
    l2_distances: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)


class ExactIndex:
    """Compares the query with all rows in one matrix product: 1–2 ms at 20,000 × 384 on one thread."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = check_vectors(vectors)
        self._squared_norms: NDArray[np.float32] = np.einsum("ij,ij->i", vectors, vectors)
        self._max_norm = float(np.sqrt(self._squared_norms.max(initial=0)))

    def search(self, query: Vectors, *, k: int, allowed: Mask | None = None) -> Neighbours:
        """The k nearest rows of `query` (float32 (d,)) among the rows that `allowed` (bool (n,)) admits.

        Fewer than k are returned only where fewer are allowed. Raises ValueError for a query of another shape or with
        values that are not finite, for k < 1, and for a mask of another length.
        """
        query = check_query(query, shape=self.vectors.shape, k=k, allowed=allowed)
        n, dimensions = self.vectors.shape
        rows = np.arange(n) if allowed is None else np.flatnonzero(allowed)
        # Copying rows costs more than multiplying them: it pays below half of the corpus.
        if 2 * len(rows) < n:
            approximate = self._squared_norms[rows] - 2 * (self.vectors[rows] @ query)
        else:
            approximate = (self._squared_norms - 2 * (self.vectors @ query))[rows]
        if k < len(rows):
            # ‖v‖² − 2q·v loses digits where q ≈ v. No row is off by more than `error`, so the k nearest are all within
            # two of them of the k-th; `nearest_of` computes theirs afresh. Written so that NaN (overflow) stays.
            reach = float(np.linalg.norm(query)) + self._max_norm
            error = (dimensions + 4) * _EPSILON * reach * reach
            rows = rows[~(approximate > np.partition(approximate, k - 1)[k - 1] + 2 * error)]
        return nearest_of(self.vectors, query, rows.astype(np.int64), k=k)

    def all_neighbours(self, rows: NDArray[np.int64], *, k: int, block: int = 256) -> NDArray[np.int64]:
        """The k nearest other rows of each of `rows`: int64 (len(rows), k). Needs k < n. Memory: block × n floats."""
        neighbours = np.empty((len(rows), k), dtype=np.int64)
        for start in range(0, len(rows), block):
            part = rows[start : start + block]
            squared = self._squared_norms - 2 * (self.vectors[part] @ self.vectors.T)
            squared[np.arange(len(part)), part] = np.inf  # a paper is not its own neighbour
            nearest = np.argpartition(squared, k - 1, axis=1)[:, :k]
            order = np.argsort(np.take_along_axis(squared, nearest, axis=1), axis=1, kind="stable")
            neighbours[start : start + block] = np.take_along_axis(nearest, order, axis=1)
        return neighbours


@dataclass(frozen=True, slots=True, eq=False)
class RecallQueries:
    """Queries whose true neighbours are known, to measure the recall of a graph.

    rows: int64 (q,), rows of the index that are asked for their k nearest others. row_queries: float32 (q, d), their
    vectors. row_reach: (q,), the distance of the true k-th neighbour of each. out_of_sample: float32 (p, d), the first
    p of them moved away from their row, as pasted texts lie. out_of_sample_reach: (p,).
    """

    k: int
    rows: NDArray[np.int64]
    row_queries: Vectors
    row_reach: NDArray[np.floating]
    out_of_sample: Vectors
    out_of_sample_reach: NDArray[np.floating]


def recall_queries(
    exact: ExactIndex, rows: NDArray[np.int64], *, k: int, out_of_sample: int, rng: np.random.Generator
) -> RecallQueries:
    """Queries at `rows`, and queries near the first `out_of_sample` of them. Needs 1 ≤ k < n."""
    row_queries = exact.vectors[rows]
    truth = exact.all_neighbours(rows, k=k)
    row_reach = np.linalg.norm(exact.vectors[truth[:, -1]] - row_queries, axis=1)
    step = _QUERY_OFFSET * float(np.median(np.linalg.norm(exact.vectors[truth[:, 0]] - row_queries, axis=1)))
    moves = rng.normal(size=(min(out_of_sample, len(rows)), row_queries.shape[1])).astype(np.float32)
    moved = row_queries[: len(moves)] + moves * (step / np.linalg.norm(moves, axis=1, keepdims=True))
    moved_reach = np.array([exact.search(query, k=k).l2_distances[-1] for query in moved])
    return RecallQueries(k, rows, row_queries, row_reach, moved, moved_reach)


def check_query(query: Vectors, *, shape: tuple[int, ...], k: int, allowed: Mask | None) -> Vectors:
    """The query as float32 (d,). Raises ValueError as `search` does. shape: (n, d) of the indexed vectors."""
    rows, dimensions = shape
    query = np.asarray(query, dtype=np.float32)
    if query.shape != (dimensions,):
        raise ValueError(f"query of shape {query.shape} for vectors of {dimensions} dimensions")
    if not np.isfinite(query).all():
        raise ValueError("the query has values that are not finite")
    if k < 1:
        raise ValueError(f"k = {k}: ask for at least one neighbour")
    if allowed is not None and (allowed.shape != (rows,) or allowed.dtype != np.bool_):
        raise ValueError(f"mask of shape {allowed.shape} and type {allowed.dtype} for {rows} rows")
    return query


def check_vectors(vectors: Vectors) -> Vectors:
    """Vectors as float32 (n, d), or a ValueError: hnswlib accepts NaN silently and then returns nonsense."""
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"vectors of shape {vectors.shape} and type {vectors.dtype}: float32 (n, d) is needed")
    if not np.isfinite(vectors).all():
        raise ValueError("the vectors have values that are not finite")
    return vectors


def nearest_of(vectors: Vectors, query: Vectors, rows: NDArray[np.int64], *, k: int) -> Neighbours:
    """The k nearest of a few candidate rows, their distances computed in float64, free of cancellation."""
    squared = np.square(vectors[rows].astype(np.float64) - query.astype(np.float64)).sum(axis=1)
    order = np.lexsort((rows, squared))[:k]
    return Neighbours(rows=rows[order], l2_distances=np.sqrt(squared[order]).astype(np.float32))
