"""hnswlib over L2: build, tune against exact search, save, load. The graph that answers the queries."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np

from components.index.base import Mask, Neighbours, Vectors, checked_query, checked_vectors, ranked
from components.index.exact import ExactIndex


@dataclass(frozen=True, slots=True)
class HnswSettings:
    """hnswlib's parameters, and what ef_search is tuned to reach."""

    m: int = 16  # links a node: 32 gained under 0.5 % of recall on the default corpus for twice the memory
    ef_construction: int = 200  # past it recall no longer rose on the default corpus
    target_recall: float = 0.99  # ann_recall_at_10 against exact search
    seed: int = 20  # of the levels of the graph, and of the sample of rows that tunes it


@dataclass(frozen=True, slots=True)
class Tuning:
    """The ef_search chosen, and the ann_recall_at_10 that it reached on `sample` of the index's own rows."""

    ef_search: int
    ann_recall_at_10: float
    sample: int


_TUNING_ROWS = 1000  # recall of 0.99 known to ±0.001 (10,000 neighbours looked at)
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
        graph.set_num_threads(1)  # one query has nothing to share out; sessions bring the parallelism

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
        step = 2000
        for start in range(0, len(vectors), step):
            stop = min(start + step, len(vectors))
            graph.add_items(vectors[start:stop], np.arange(start, stop), num_threads=threads)
            if on_progress is not None:
                on_progress(stop)
        return cls(graph, vectors, ef_search=_EF_STEPS[0])

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
        """Set ef_search to the smallest step that reaches the target on the index's own rows, and say what it reached.

        Each of a sample of rows is asked for its 10 nearest others (fewer in a corpus of fewer), so the row that
        finds itself does not flatter the recall.
        """
        n = len(self._vectors)
        k = min(_TUNING_K, n - 1)
        if k == 0:
            return Tuning(ef_search=self._ef_search, ann_recall_at_10=1.0, sample=0)
        sample = np.random.default_rng(settings.seed).permutation(n)[:_TUNING_ROWS].astype(np.int64)
        truth = exact.all_neighbours(sample, k=k)
        # Rows at the very distance of the k-th neighbour are as good as it: duplicates must not count as misses.
        limits = np.linalg.norm(self._vectors[truth[:, -1]] - self._vectors[sample], axis=1) * (1 + 1e-5) + 1e-6
        for ef in _EF_STEPS:
            self._graph.set_ef(max(ef, k + 1))
            rows, squared = self._graph.knn_query(self._vectors[sample], k=k + 1, num_threads=-1)
            near = (np.sqrt(np.maximum(squared, 0)) <= limits[:, None]) & (rows.astype(np.int64) != sample[:, None])
            recall = float(np.minimum(near.sum(axis=1), k).mean() / k)
            if recall >= settings.target_recall:
                break
        self._ef_search = max(ef, k + 1)
        self._graph.set_ef(self._ef_search)
        return Tuning(ef_search=self._ef_search, ann_recall_at_10=round(recall, 4), sample=len(sample))

    def search(self, query: Vectors, *, k: int, allowed: Mask | None = None) -> Neighbours:
        """See `Index.search`; approximate. Raises ValueError where the graph cannot reach k of the allowed rows."""
        n, dimensions = self._vectors.shape
        query = checked_query(query, dimensions=dimensions, rows=n, k=k, allowed=allowed)
        k = min(k, n if allowed is None else int(allowed.sum()))
        if k == 0:
            return Neighbours(rows=np.empty(0, np.int64), l2_distances=np.empty(0, np.float32))
        admits = None if allowed is None else allowed.item
        try:
            with self._ef_lock:  # ef belongs to the whole graph: a larger one for a large k must not leak
                self._graph.set_ef(max(self._ef_search, 2 * k))
                rows, _ = self._graph.knn_query(query[None, :], k=k, filter=admits)
                self._graph.set_ef(self._ef_search)
        except RuntimeError as error:
            raise ValueError(f"the graph did not reach {k} of the rows that the filter allows") from error
        return ranked(self._vectors, query, rows[0].astype(np.int64), k=k)
