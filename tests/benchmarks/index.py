"""Vector to neighbours: hnswlib and our exact search against scikit-learn's brute force, and their recall."""

import numpy as np
from report import Row, percentiles
from search import in_turns

from components.atlas.store import Atlas

K = 10
_SEED = 6


def measure(atlas: Atlas, *, quick: bool) -> list[Row]:
    """The ten nearest of a sample of slightly moved rows, by all three in turn."""
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(_SEED)
    sample = rng.permutation(len(atlas))[: 50 if quick else 500]
    vectors = np.ascontiguousarray(atlas.vectors)
    # Queries off the rows: a row that finds itself would inflate the recall.
    noise = rng.normal(size=(len(sample), vectors.shape[1])).astype(np.float32)
    noise *= 0.2 / np.linalg.norm(noise, axis=1, keepdims=True)
    queries = vectors[sample] + noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(vectors)
    truth = brute.kneighbors(queries, return_distance=False)

    def sklearn(query: np.ndarray) -> None:
        brute.kneighbors(query[None, :])

    rows = []
    indexes = {"exact search": atlas.index.exact}
    if atlas.index.graph is not None:
        indexes["hnswlib"] = atlas.index.graph
    for name, index in indexes.items():
        ours_s, peer_s = in_turns(queries, lambda query, index=index: index.search(query, k=K), sklearn)
        peer = "scikit-learn brute NearestNeighbors"
        rows.append(
            Row("index", f"{name}, {K} nearest, median", "ms", percentiles(ours_s)[0], percentiles(peer_s)[0], peer)
        )
        found = [index.search(query, k=K).rows for query in queries]
        recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)])
        rows.append(Row("index", f"{name}, ann_recall_at_{K}", "", float(recall), 1.0, peer, more_is_better=True))
    return rows
