"""hnswlib over L2: build, tune against exact search, save, load. The graph that answers the queries."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from components.index.base import Mask, Neighbours, Vectors, checked_query, checked_vectors, ranked
from components.index.exact import ExactIndex
from components.index.recall_queries import Questions, questions


@dataclass(frozen=True, slots=True)
class HnswSettings:
    """hnswlib's parameters, and what ef_search is tuned to reach."""

    m: int = 16  # links a node: 32 gained under 0.5 % of recall on the default corpus for twice the memory
    ef_construction: int = 200  # past it recall no longer rose on the default corpus
    target_recall: float = 0.99  # ann_recall_at_10 against exact search
    seed: int = 20  # of the levels of the graph, and of the sample of rows that tunes it


@dataclass(frozen=True, slots=True)
class Tuning:
    """The ef_search chosen, and what it reached.

    ann_recall_at_10: on `sample` of the index's own rows. ann_recall_at_10_outside: on queries that lie off the rows,
    as pasted texts do.
    """

    ef_search: int
    ann_recall_at_10: float
    ann_recall_at_10_outside: float
    sample: int


_INSERTED_AT_ONCE = 2000  # rows between two words of progress
_TUNING_ROWS = 1000  # recall of 0.99 known to ±0.001 (10,000 neighbours looked at)
_OUTSIDE_QUERIES = 400  # each costs an exact search; ±0.0015
_TUNING_K = 10
_EF_STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


class HnswIndex:
    """An hnswlib graph over the rows of `vectors`; label i is row i.

    The library crashes the process on a damaged file and answers in silence from one of another dimension, so
    `load` must be given only files whose hash was checked (components/atlas.py does).
    """

    def __init__(self, graph: hnswlib.Index, vectors: Vectors, *, ef_search: int) -> None:
        self._graph = graph
        self._vectors = vectors
        self._ef_search = ef_search
        self._ef_lock = threading.Lock()
        graph.set_ef(ef_search)
        graph.set_num_threads(1)  # a query has nothing to share out: it takes about 1 ms, and waits its turn

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        *,
        settings: HnswSettings,
        threads: int = -1,
        on_progress: Callable[[int], None] | None = None,
    ) -> "HnswIndex":
        """A graph over float32 (n, d), n ≥ 1. `threads` 1 gives the same graph every time; −1 takes every core."""
        vectors = checked_vectors(vectors)
        if len(vectors) == 0:
            raise ValueError("an index over no vectors: hnswlib crashes on a query to one")
        graph = hnswlib.Index(space="l2", dim=vectors.shape[1])
        graph.init_index(
            max_elements=len(vectors),
            M=settings.m,
            ef_construction=settings.ef_construction,
            random_seed=settings.seed,
        )
        _insert(graph, vectors, start=0, threads=threads, on_progress=on_progress)
        return cls(graph, vectors, ef_search=_EF_STEPS[0])

    def extend(self, vectors: Vectors, *, threads: int = -1, on_progress: Callable[[int], None] | None = None) -> None:
        """Take in the rows that `vectors` (float32 (n, d)) has beyond those of this graph, whose first ones they are.

        Not while others search in it. It is to be tuned again afterwards. on_progress: told of the rows it then has.
        Raises ValueError for fewer rows than it has, or of other dimensions.
        """
        vectors = checked_vectors(vectors)
        there = len(self._vectors)
        if len(vectors) < there or vectors.shape[1] != self._vectors.shape[1]:
            raise ValueError(f"vectors of shape {vectors.shape} for a graph over {self._vectors.shape}")
        if len(vectors) > self._graph.get_max_elements():
            self._graph.resize_index(len(vectors))
        _insert(self._graph, vectors, start=there, threads=threads, on_progress=on_progress)
        self._vectors = vectors

    @classmethod
    def load(cls, path: Path, vectors: Vectors, *, ef_search: int) -> "HnswIndex":
        """The graph in a file that was saved over these very vectors. Raises ValueError where it is not that."""
        graph = hnswlib.Index(space="l2", dim=vectors.shape[1])
        try:
            graph.load_index(str(path))
        except RuntimeError as error:  # such damage as the library sees, and a file that is gone
            raise ValueError(f"{path.name} could not be read as a graph ({error})") from error
        if graph.get_current_count() != len(vectors):
            raise ValueError(f"{path.name} holds {graph.get_current_count()} rows; the atlas has {len(vectors)}")
        return cls(graph, vectors, ef_search=ef_search)

    def save(self, path: Path) -> None:
        """Write the graph to `path`. Raises OSError where fewer bytes arrived than were written: hnswlib is silent."""
        self._graph.save_index(str(path))
        expected = self._graph.index_file_size()
        if not path.is_file() or path.stat().st_size != expected:
            raise OSError(f"{path.name}: not all of its {expected} bytes could be written. Is the disk full?")

    def tune(self, exact: ExactIndex, *, settings: HnswSettings) -> Tuning:
        """Set ef_search to the smallest step that reaches the target, on the rows and off them; say what it reached.

        Each of a sample of rows is asked for its 10 nearest others (fewer in a corpus of fewer), so the row that
        finds itself does not flatter the recall. A graph finds the neighbours of its own rows more easily than those
        of other texts, so rows moved away from their place are asked for, too.
        """
        n = len(self._vectors)
        k = min(_TUNING_K, n - 1)
        if k == 0:
            return Tuning(ef_search=self._ef_search, ann_recall_at_10=1.0, ann_recall_at_10_outside=1.0, sample=0)
        rng = np.random.default_rng(settings.seed)
        sample = rng.permutation(n)[:_TUNING_ROWS].astype(np.int64)
        asked = questions(exact, sample, k=k, off_rows=_OUTSIDE_QUERIES, rng=rng)
        for ef in _EF_STEPS:
            recall, recall_outside = self.shares_found(asked, ef_search=max(ef, k + 1))
            if min(recall, recall_outside) >= settings.target_recall:
                break
        self._ef_search = max(ef, k + 1)
        self._graph.set_ef(self._ef_search)
        return Tuning(
            ef_search=self._ef_search,
            ann_recall_at_10=round(recall, 4),
            ann_recall_at_10_outside=round(recall_outside, 4),
            sample=len(sample),
        )

    def shares_found(self, asked: Questions, *, ef_search: int) -> tuple[float, float]:
        """ann_recall_at_k at this very ef_search (more than k), 0 to 1: on the rows, and on the queries off them."""
        with self._ef_lock:
            self._graph.set_ef(ef_search)
            found = (
                self._share_found(asked.on, asked.on_reach, k=asked.k, own=asked.rows),
                self._share_found(asked.off, asked.off_reach, k=asked.k, own=None),
            )
            self._graph.set_ef(self._ef_search)
        return found

    def _share_found(
        self, queries: Vectors, reach: NDArray[np.floating], *, k: int, own: NDArray[np.int64] | None
    ) -> float:
        """Which share of k neighbours of each query the graph finds: rows no farther than `reach` (q,), the distance
        of its true k-th. By distance, so that one of several rows at the same place is as good as the other.
        """
        wanted = k if own is None else k + 1
        try:
            rows, squared = self._graph.knn_query(queries, k=wanted, num_threads=-1)
        except RuntimeError:  # one of them reaches too few rows: what it reached is not told, and counts as nothing
            rows, squared = self._one_by_one(queries, k=wanted)
        near = np.sqrt(np.maximum(squared, 0)) <= reach[:, None] * (1 + 1e-5) + 1e-6
        if own is not None:
            near &= rows.astype(np.int64) != own[:, None]
        return float(np.minimum(near.sum(axis=1), k).mean() / k)

    def _one_by_one(self, queries: Vectors, *, k: int) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """The nearest rows of each query and their squared distances: (q, k); infinite where k are not reached."""
        rows = np.zeros((len(queries), k), dtype=np.uint64)
        squared = np.full((len(queries), k), np.inf, dtype=np.float32)
        for place, query in enumerate(queries):
            with contextlib.suppress(RuntimeError):
                rows[place], squared[place] = self._graph.knn_query(query[None, :], k=k)
        return rows, squared

    def search(
        self, query: Vectors, *, k: int, allowed: Mask | None = None, ef_search: int | None = None
    ) -> Neighbours:
        """See `Index.search`; approximate. Raises ValueError where the graph cannot reach k of the allowed rows.

        ef_search: to measure with, k or more; None takes the tuned one, more of it for a large k.
        """
        n, dimensions = self._vectors.shape
        query = checked_query(query, dimensions=dimensions, rows=n, k=k, allowed=allowed)
        k = min(k, n if allowed is None else int(allowed.sum()))
        if k == 0:
            return Neighbours(rows=np.empty(0, np.int64), l2_distances=np.empty(0, np.float32))
        admits = None if allowed is None else allowed.item
        try:
            with self._ef_lock:  # ef belongs to the whole graph: a larger one for a large k must not leak
                self._graph.set_ef(max(self._ef_search, 2 * k) if ef_search is None else ef_search)
                rows, _ = self._graph.knn_query(query[None, :], k=k, filter=admits)
                self._graph.set_ef(self._ef_search)
        except RuntimeError as error:
            raise ValueError(f"the graph did not reach {k} of the rows that the filter allows") from error
        return ranked(self._vectors, query, rows[0].astype(np.int64), k=k)


def _insert(
    graph: hnswlib.Index, vectors: Vectors, *, start: int, threads: int, on_progress: Callable[[int], None] | None
) -> None:
    """Rows of `vectors` from `start` on, each under its own number."""
    for first in range(start, len(vectors), _INSERTED_AT_ONCE):
        stop = min(first + _INSERTED_AT_ONCE, len(vectors))
        graph.add_items(vectors[first:stop], np.arange(first, stop), num_threads=threads)
        if on_progress is not None:
            on_progress(stop)
