"""The index that the atlas asks: hnswlib's graph where it is good and quicker, exact search everywhere else."""

from components.index.base import Mask, Neighbours, Vectors
from components.index.exact import ExactIndex
from components.index.hnsw import HnswIndex

# Below this many rows exact search takes under 0.2 ms, and a graph has nothing to add but its misses.
GRAPH_FROM = 1000
# hnswlib walks the graph as if there were no filter and drops what the filter refuses; where it refuses most,
# the walk ends before k are found, and few enough rows remain for exact search to be the quicker of the two.
GRAPH_SHARE = 0.25


class NeighbourIndex:
    """One answer for every query: approximate where the graph serves, exact for small corpora and narrow filters."""

    def __init__(self, exact: ExactIndex, graph: HnswIndex | None) -> None:
        self.exact = exact
        self.graph = graph

    def search(self, query: Vectors, *, k: int, allowed: Mask | None = None) -> Neighbours:
        """See `Index.search`."""
        if self.graph is None:
            return self.exact.search(query, k=k, allowed=allowed)
        if allowed is not None and allowed.sum() < max(GRAPH_FROM, GRAPH_SHARE * len(allowed)):
            return self.exact.search(query, k=k, allowed=allowed)
        try:
            return self.graph.search(query, k=k, allowed=allowed)
        except ValueError:
            # Unreached rows, or a call that is wrong in itself: exact search answers the one and names the other.
            return self.exact.search(query, k=k, allowed=allowed)
