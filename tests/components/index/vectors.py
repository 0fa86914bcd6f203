"""Vectors for tests of indexes, and brute-force search in float64 as the oracle."""

from __future__ import annotations

import numpy as np


def clustered(n: int = 3000, d: int = 24, *, seed: int = 3) -> np.ndarray:
    """Vectors of length 1 in thirty clusters, whose centres are the same for every seed."""
    centres = np.random.default_rng(0).normal(size=(30, d))
    random = np.random.default_rng(seed)
    vectors = centres[random.integers(0, 30, size=n)] + 0.4 * random.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def noise(n: int, d: int, *, seed: int = 1) -> np.ndarray:
    """Noise in many dimensions: hard enough for a small graph to miss neighbours."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def brute_force(
    vectors: np.ndarray, query: np.ndarray, *, k: int, allowed: np.ndarray | None = None
) -> list[tuple[float, int]]:
    """(distance, row), nearest first, rows at the same distance by row number."""
    distances = np.sqrt(np.square(vectors.astype(np.float64) - query.astype(np.float64)).sum(axis=1))
    rows = range(len(vectors)) if allowed is None else np.flatnonzero(allowed).tolist()
    return sorted((float(distances[row]), row) for row in rows)[:k]
