"""Atlases of any papers and vectors, without a build."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from components.atlas.build import random_pair_distances
from components.atlas.manifest import EncoderRecord, IndexRecord, Manifest
from components.atlas.store import Atlas
from components.index.exact import ExactIndex
from components.index.hnsw import NeighbourIndex
from corpus.paper import Paper, to_table


def _made_atlas(papers: Sequence[Paper], vectors: np.ndarray, *, name: str = "made", normalised: bool = False) -> Atlas:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    n, dimensions = vectors.shape
    manifest = Manifest(
        format=1,
        name=name,
        folder="0" * 16,
        created="",
        papers=n,
        dimensions=dimensions,
        encoder=EncoderRecord(name, name, name, normalised),
        index=IndexRecord(16, 200, 0, 1.0, n),
        projection={},
        regions=(),
        source={},
        versions={},
    )
    return Atlas(
        manifest,
        papers=to_table(papers),
        vectors=vectors,
        coordinates=vectors[:, :2].copy(),
        region_ids=np.full(n, -1, np.int16),
        pair_distances=random_pair_distances(vectors, pairs=2000),
        index=NeighbourIndex(ExactIndex(vectors), None),
    )


@pytest.fixture(scope="session")
def made_atlas() -> Callable[..., Atlas]:
    """made_atlas(papers, vectors, name="made", normalised=False): an open atlas; its fingerprint is its name.

    The first two axes of the vectors are its map.
    """
    return _made_atlas
