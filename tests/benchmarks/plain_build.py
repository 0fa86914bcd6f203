"""The obvious script that makes papers searchable, as the peer of `cocite build`.

    python plain_build.py PAPERS.jsonl FOLDER

Prints one JSON line per stage with its name and seconds. Holds everything in memory, as such scripts do.
"""

import json
import sys
import time
from pathlib import Path


def main(papers: Path, folder: Path) -> None:
    """Read, encode, lay out, index, write."""
    import hnswlib
    import numpy as np
    import pandas as pd
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from umap import UMAP

    began = time.perf_counter()

    def ended(stage: str) -> None:
        nonlocal began
        now = time.perf_counter()
        print(json.dumps({"stage": stage, "seconds": now - began}), flush=True)
        began = now

    frame = pd.read_json(papers, lines=True, dtype=False)
    frame = frame.dropna(subset=["title", "abstract"]).drop_duplicates("doi")
    ended("read")
    texts = frame["title"] + " " + frame["abstract"]
    weights = TfidfVectorizer(stop_words="english", min_df=2, max_features=50_000, sublinear_tf=True).fit_transform(
        texts
    )
    vectors = TruncatedSVD(256, random_state=0).fit_transform(weights)
    vectors = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    ended("encode")
    coordinates = UMAP(random_state=0, n_jobs=1).fit_transform(vectors)
    ended("map")
    graph = hnswlib.Index(space="l2", dim=vectors.shape[1])
    graph.init_index(max_elements=len(vectors), M=16, ef_construction=200)
    graph.add_items(vectors, np.arange(len(vectors)))
    ended("index")
    frame.to_parquet(folder / "papers.parquet")
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "coordinates.npy", coordinates)
    graph.save_index(str(folder / "index.hnsw"))
    ended("write")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
