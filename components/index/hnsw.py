"""hnswlib graphs over L2: build, extend, tune against exact search, save, load. The index that an atlas searches."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hnswlib
import numpy as np
from numpy.typing import NDArray

from components.index.exact import (
    ExactIndex,
    Mask,
    Neighbours,
    RecallQueries,
    Vectors,
    check_query,
    check_vectors,
    nearest_of,
    recall_queries,
)

# Below this many rows exact search takes under 0.2 ms, and a graph would only add its misses.
GRAPH_FROM = 1000
# hnswlib drops the rows that a filter excludes after it has walked the graph as if there were none. Where a filter
# excludes most rows, the walk ends before k are found, and exact search over the few that remain is faster.
MIN_GRAPH_SHARE = 0.25

_INSERT_BATCH = 2000  # rows between two progress reports
_TUNING_ROWS = 1000  # recall of 0.99 known to ±0.001 (10,000 neighbours)
_TUNING_OUT_OF_SAMPLE = 400  # each costs an exact search; ±0.0015
_TUNING_K = 10
_EF_STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)

RowsProgress = Callable[[int], None]  # called with the number of rows that the graph has; may raise to stop


@dataclass(frozen=True, slots=True)
class HnswSettings:
    """hnswlib's parameters, and the recall that ef_search is tuned to."""

    m: int = 16  # links per node: 32 gained under 0.5 % of recall on the default corpus for twice the memory
    ef_construction: int = 200  # recall no longer rose beyond it on the default corpus
    target_recall: float = 0.99  # ann_recall_at_10 against exact search
    seed: int = 20  # of the levels of the graph, and of the sample of rows that tunes it


@dataclass(frozen=True, slots=True)
class Tuning:
    """The chosen ef_search, and the recall it reached.

    ann_recall_at_10: on `sample` of the index's own rows. ann_recall_at_10_outside: on queries that are not rows, as
    pasted texts.
    """

    ef_search: int
    ann_recall_at_10: float
    ann_recall_at_10_outside: float
    sample: int

    @property
    def lowest_recall(self) -> float:
        """The lower of both recalls."""
        return min(self.ann_recall_at_10, self.ann_recall_at_10_outside)


class HnswIndex:
    """An hnswlib graph over the rows of `vectors`; label i is row i.

    hnswlib crashes the process on a damaged file and returns wrong results for one of other dimensions, so give `load`
    only files whose hash was checked (components/atlas/store.py does).
    """

    def __init__(self, graph: hnswlib.Index, vectors: Vectors, *, ef_search: int) -> None:
        self._graph = graph
        self._vectors = vectors
        self._ef_search = ef_search
        self._ef_lock = threading.Lock()
        graph.set_ef(ef_search)
        graph.set_num_threads(1)  # one query takes about 1 ms and has nothing to parallelise

    @property
    def rows(self) -> int:
        """The number of rows in the graph."""
        return len(self._vectors)

    @classmethod
    def build(
        cls, vectors: Vectors, *, settings: HnswSettings, threads: int = -1, on_progress: RowsProgress | None = None
    ) -> "HnswIndex":
        """A graph over float32 (n, d), n ≥ 1. threads: 1 gives the same graph every time; −1 uses every core."""
        vectors = check_vectors(vectors)
        if len(vectors) == 0:
            raise ValueError("no vectors to index: hnswlib crashes on a query to an empty graph")
        graph = hnswlib.Index(space="l2", dim=vectors.shape[1])
        graph.init_index(
            max_elements=len(vectors),
            M=settings.m,
            ef_construction=settings.ef_construction,
            random_seed=settings.seed,
        )
        index = cls(graph, vectors[:0], ef_search=_EF_STEPS[0])
        index.extend(vectors, threads=threads, on_progress=on_progress)
        return index

    def extend(self, vectors: Vectors, *, threads: int = -1, on_progress: RowsProgress | None = None) -> None:
        """Insert the rows that `vectors` (float32 (n, d)) has beyond those of this graph, which are its first ones.

        Do not search meanwhile, and tune again afterwards. Raises ValueError for fewer rows than the graph has, or
        other dimensions.
        """
        vectors = check_vectors(vectors)
        before = len(self._vectors)
        if len(vectors) < before or vectors.shape[1] != self._vectors.shape[1]:
            raise ValueError(f"vectors of shape {vectors.shape} for a graph over {self._vectors.shape}")
        if len(vectors) > self._graph.get_max_elements():
            self._graph.resize_index(len(vectors))
        for start in range(before, len(vectors), _INSERT_BATCH):
            stop = min(start + _INSERT_BATCH, len(vectors))
            self._graph.add_items(vectors[start:stop], np.arange(start, stop), num_threads=threads)
            if on_progress is not None:
                on_progress(stop)
        self._vectors = vectors

    @classmethod
    def load(cls, path: Path, vectors: Vectors, *, ef_search: int) -> "HnswIndex":
        """The graph in a file that was saved over these vectors. Raises ValueError where it is not that."""
        graph = hnswlib.Index(space="l2", dim=vectors.shape[1])
        try:
            graph.load_index(str(path))
        except RuntimeError as error:  # such damage as hnswlib detects, and a missing file
            raise ValueError(f"{path.name} could not be read as a graph ({error})") from error
        if graph.get_current_count() != len(vectors):
            raise ValueError(f"{path.name} holds {graph.get_current_count()} rows; the atlas has {len(vectors)}")
        return cls(graph, vectors, ef_search=ef_search)

    def save(self, path: Path) -> None:
        """Write the graph to `path`. Raises OSError where it is incomplete on disk, which hnswlib does not report."""
        self._graph.save_index(str(path))
        expected = self._graph.index_file_size()
        if not path.is_file() or path.stat().st_size != expected:
            raise OSError(f"{path.name}: not all of its {expected} bytes could be written. Is the disk full?")

    def tune(self, exact: ExactIndex, *, settings: HnswSettings) -> Tuning:
        """Set ef_search to the smallest step that reaches the target recall, for rows and for other queries.

        A sample of rows are asked for their 10 nearest others (fewer in a small corpus), so that a row that finds
        itself does not raise the recall. A graph finds the neighbours of its own rows more easily than those of other
        texts, so queries that are not rows are measured too.
        """
        n = len(self._vectors)
        k = min(_TUNING_K, n - 1)
        if k == 0:
            return Tuning(ef_search=self._ef_search, ann_recall_at_10=1.0, ann_recall_at_10_outside=1.0, sample=0)
        rng = np.random.default_rng(settings.seed)
        sample = rng.permutation(n)[:_TUNING_ROWS].astype(np.int64)
        queries = recall_queries(exact, sample, k=k, out_of_sample=_TUNING_OUT_OF_SAMPLE, rng=rng)
        for step in _EF_STEPS:
            ef_search = max(step, k + 1)
            recall, out_of_sample_recall = self.recall(queries, ef_search=ef_search)
            if min(recall, out_of_sample_recall) >= settings.target_recall:
                break
        self._ef_search = ef_search
        self._graph.set_ef(ef_search)
        return Tuning(
            ef_search=ef_search,
            ann_recall_at_10=round(recall, 4),
            ann_recall_at_10_outside=round(out_of_sample_recall, 4),
            sample=len(sample),
        )

    def recall(self, queries: RecallQueries, *, ef_search: int) -> tuple[float, float]:
        """ann_recall_at_k at this ef_search (more than k), 0 … 1: of the rows, and of the out-of-sample queries.

        A row no farther than the true k-th neighbour counts as found, whichever of several at one distance it is.
        """
        k = queries.k
        with self._ef_lock:
            self._graph.set_ef(ef_search)
            rows, distances = self._nearest(queries.row_queries, k=k + 1)
            _, other_distances = self._nearest(queries.out_of_sample, k=k)
            self._graph.set_ef(self._ef_search)
        found = _within(distances, queries.row_reach) & (rows.astype(np.int64) != queries.rows[:, None])
        found_others = _within(other_distances, queries.out_of_sample_reach)
        recalls = [float(np.minimum(near.sum(axis=1), k).mean() / k) for near in (found, found_others)]
        return recalls[0], recalls[1]

    def _nearest(self, queries: Vectors, *, k: int) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """The nearest rows of each query and their distances: (q, k); infinite for a query that does not reach k."""
        try:
            rows, squared = self._graph.knn_query(queries, k=k, num_threads=-1)
        except RuntimeError:  # one of them reaches too few rows; hnswlib does not say which
            rows = np.zeros((len(queries), k), dtype=np.uint64)
            squared = np.full((len(queries), k), np.inf, dtype=np.float32)
            for i, query in enumerate(queries):
                try:
                    rows[i], squared[i] = (result[0] for result in self._graph.knn_query(query[None, :], k=k))
                except RuntimeError:
                    continue
        return rows, np.sqrt(np.maximum(squared, 0))

    def search(
        self, query: Vectors, *, k: int, allowed: Mask | None = None, ef_search: int | None = None
    ) -> Neighbours:
        """As `ExactIndex.search`, but approximate. Raises ValueError where it cannot reach k allowed rows.

        ef_search: for measurements, k or more; None uses the tuned one, more for a large k.
        """
        query = check_query(query, shape=self._vectors.shape, k=k, allowed=allowed)
        k = min(k, len(self._vectors) if allowed is None else int(allowed.sum()))
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
        return nearest_of(self._vectors, query, rows[0].astype(np.int64), k=k)


class NeighbourIndex:
    """The index of an atlas: the graph where it serves well, exact search for small corpora and narrow filters."""

    def __init__(self, exact: ExactIndex, graph: HnswIndex | None) -> None:
        self.exact = exact
        self.graph = graph

    def search(self, query: Vectors, *, k: int, allowed: Mask | None = None) -> Neighbours:
        """As `ExactIndex.search`."""
        narrow = allowed is not None and allowed.sum() < max(GRAPH_FROM, MIN_GRAPH_SHARE * len(allowed))
        if self.graph is not None and not narrow:
            try:
                return self.graph.search(query, k=k, allowed=allowed)
            except ValueError:
                pass  # unreachable rows, which exact search finds, or a wrong call, which it names
        return self.exact.search(query, k=k, allowed=allowed)


def tuned_graph(
    vectors: Vectors,
    *,
    settings: HnswSettings,
    grown: HnswIndex | None = None,
    on_progress: RowsProgress | None = None,
) -> tuple[HnswIndex, Tuning] | None:
    """A graph over float32 (n, d) that reaches the target recall; None for few rows, or where none reaches it.

    grown: a graph over the first rows, which is extended; where it then misses the target, a new one is built.
    """
    if len(vectors) < GRAPH_FROM:
        return None
    exact = ExactIndex(vectors)
    if grown is not None:
        grown.extend(vectors, on_progress=on_progress)
        tuning = grown.tune(exact, settings=settings)
        if tuning.lowest_recall >= settings.target_recall:
            return grown, tuning
    graph = HnswIndex.build(vectors, settings=settings, on_progress=on_progress)
    tuning = graph.tune(exact, settings=settings)
    return (graph, tuning) if tuning.lowest_recall >= settings.target_recall else None


def _within(distances: NDArray[np.floating], reach: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which distances (q, k) are at most `reach` (q,), but for rounding."""
    near: NDArray[np.bool_] = distances <= reach[:, None] * (1 + 1e-5) + 1e-6
    return near
