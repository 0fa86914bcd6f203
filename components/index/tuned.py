"""The graph for an atlas: tuned against exact search, or none where exact search serves better."""

from collections.abc import Callable, Iterator

from components.index.base import Vectors
from components.index.exact import ExactIndex
from components.index.hnsw import HnswIndex, HnswSettings, Tuning
from components.index.neighbour_index import GRAPH_FROM


def tuned_graph(
    vectors: Vectors,
    *,
    settings: HnswSettings,
    grown: HnswIndex | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[HnswIndex, Tuning] | None:
    """A graph over float32 (n, d) that reaches the settings' target; None for few rows, or where none reaches it.

    grown: a graph over the first rows, which takes in the others (`HnswIndex.extend`); where it then misses the target,
    a fresh one takes its place. on_progress: told of the rows that the graph has; may raise to stop.
    """
    if len(vectors) < GRAPH_FROM:
        return None
    exact = ExactIndex(vectors)
    for graph in _graphs(vectors, settings, grown, on_progress):
        tuning = graph.tune(exact, settings=settings)
        if min(tuning.ann_recall_at_10, tuning.ann_recall_at_10_outside) >= settings.target_recall:
            return graph, tuning
    return None


def _graphs(
    vectors: Vectors,
    settings: HnswSettings,
    grown: HnswIndex | None,
    on_progress: Callable[[int], None] | None,
) -> Iterator[HnswIndex]:
    """The graphs to try, the quickest to come by first."""
    if grown is not None:
        grown.extend(vectors, on_progress=on_progress)
        yield grown
    yield HnswIndex.build(vectors, settings=settings, on_progress=on_progress)
