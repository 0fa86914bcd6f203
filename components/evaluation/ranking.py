"""Rank pools by vectors or scores: ties broken one way, many queries at a time, in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CociteAtlasError
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.progress import Progress, no_progress

RANKING = "Ranking the pools"  # the stage's name

Rows = NDArray[np.int32]
# (rows of b queries, rows of u candidates) → the score of each pair, float32 (b, u).
Scorer = Callable[[Rows, Rows], NDArray[np.float32]]

MAX_CELLS = 4_000_000  # pairs scored at a time: 16 MB of float32, and as much to compute them from
_PIECE = 16 * 2**20  # bytes of vectors in float64, or of their differences, at a time
# Below this share of |q|² + |c|², |q|² + |c|² - 2qc has lost more than half of float64's digits, and the pair is
# computed by differences. Above it, the loss is far below the last digit of float32.
_NEAR = 1e-6
_LOW_BITS = np.uint64(0xFFFFFFFF)
_SIGN = np.uint32(0x80000000)


class RankingError(CociteAtlasError):
    """Scores or vectors that cannot rank a pool, or a ranking that does not match its pool."""


@dataclass(frozen=True, slots=True, eq=False)
class RankedPool:
    """The candidates of one query, best first.

    rows: int32 (n,), among the set's papers. scores: float32 (n,).
    """

    query: str
    rows: Rows
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Ranked pools. ascending: the scores are distances, smallest first; else the highest is first."""

    pools: tuple[RankedPool, ...]
    ascending: bool


@dataclass(frozen=True, slots=True, eq=False)
class SetVectors:
    """Vectors of a set's papers, equal texts stored once.

    vectors: float32 (u, d). at: int32 (papers,), the index of each paper's vector; -1 for a paper that no pool needs.
    """

    vectors: NDArray[np.float32]
    at: NDArray[np.int32]


class TieOrder:
    """The order of equal scores in one set: by candidate id as text, from high to low, as trec_eval does.

    Not the order of a file: files often list relevant papers first, which would favour every system with ties.
    """

    def __init__(self, judged: JudgedSet) -> None:
        ids = [paper.id for paper in judged.papers]
        self._row_at = np.array(sorted(range(len(ids)), key=ids.__getitem__, reverse=True), dtype=np.int32)
        self._place = np.empty(len(ids), dtype=np.uint64)
        self._place[self._row_at] = np.arange(len(ids), dtype=np.uint64)
        self._name = judged.name

    def ranked(self, query: str, rows: Rows, scores: NDArray[np.floating[Any]], *, ascending: bool) -> RankedPool:
        """Sort a pool. rows: int32 (n,). scores: (n,), of those rows, compared as float32.

        ascending: the smallest is the best. Raises RankingError for a score that is not finite.
        """
        with np.errstate(over="ignore"):
            scores = np.asarray(scores, dtype=np.float32)
        if not np.isfinite(scores).all():
            raise RankingError(
                f"{self._name}, query {query!s:.80}: a score is not a finite number. Compute the scores again."
            )
        # Score and id order in one integer: sorting these is many times faster than sorting by two keys.
        keys = _as_integers(scores)
        if not ascending:
            keys = ~keys
        keys = keys.astype(np.uint64) << np.uint64(32) | self._place[rows]
        keys.sort()
        sorted_scores = (keys >> np.uint64(32)).astype(np.uint32)
        return RankedPool(
            query=query,
            rows=self._row_at[keys & _LOW_BITS],
            scores=_as_scores(sorted_scores if ascending else ~sorted_scores),
        )


def rank_by_vectors(
    judged: JudgedSet,
    pools: Sequence[Pool],
    vectors: NDArray[np.float32] | SetVectors,
    *,
    progress: Progress = no_progress,
) -> Ranking:
    """Rank every pool by the true L2 distance of its candidates to its query, nearest first.

    vectors: float32 (papers, d), row i of the set's paper i, or what `encode_set` returns. Equal vectors have equal
    distances, bit for bit; a candidate with the query's own vector has distance 0.
    Computed in float64 by matrix products; takes about 100 MB beyond the vectors and the ranking (8 bytes per pair).
    Raises RankingError where a paper has no vector or one that is not finite, and what `progress` raises.
    """
    given = vectors if isinstance(vectors, SetVectors) else SetVectors(vectors, np.arange(len(vectors), dtype=np.int32))
    if given.vectors.ndim != 2 or given.at.shape != (len(judged.papers),):
        raise RankingError(
            f"{judged.name} has {len(judged.papers):,} papers and the vectors are of shape {given.vectors.shape} for "
            f"{len(given.at):,}. Encode the set again."
        )
    same, at = _check_and_match(judged, pools, given), given.at

    def distances(queries: Rows, candidates: Rows) -> NDArray[np.float32]:
        return _distances(given.vectors, at[queries], at[candidates])

    return rank_by_scores(judged, pools, distances, ascending=True, same=same, progress=progress)


def rank_by_scores(
    judged: JudgedSet,
    pools: Sequence[Pool],
    scorer: Scorer,
    *,
    ascending: bool,
    same: Rows | None = None,
    progress: Progress = no_progress,
) -> Ranking:
    """Rank every pool, once, by the scores of pairs. Pools that share most of their candidates are scored together.

    same: int32 (papers,), the row that is scored in place of each, where several are equal to the scorer.
    Raises RankingError where a score is not finite, and what `progress` raises.
    """
    unique = list({pool.query: pool for pool in pools}.values())  # a query may be in two folds
    stand_in = np.arange(len(judged.papers), dtype=np.int32) if same is None else same
    ties = TieOrder(judged)
    ranked: list[RankedPool] = []
    column = np.zeros(len(judged.papers), dtype=np.int32)
    progress(RANKING, 0, len(unique))
    for block, candidates in blocks(unique, stand_in):
        column[candidates] = np.arange(len(candidates), dtype=np.int32)
        scores = scorer(stand_in[[pool.row for pool in block]], candidates)
        for pool, line in zip(block, scores, strict=True):
            pool_scores = line[column[stand_in[pool.rows]]]
            ranked.append(ties.ranked(pool.query, pool.rows, pool_scores, ascending=ascending))
        progress(RANKING, len(ranked), len(unique))
    return Ranking(pools=tuple(ranked), ascending=ascending)


def blocks(pools: Sequence[Pool], stand_in: Rows) -> Iterator[tuple[list[Pool], Rows]]:
    """Consecutive pools with all of their candidates (sorted, each once), to be scored as one matrix.

    stand_in: as `same` in `rank_by_scores`. A block ends where over half of the matrix would be wasted, or where it
    would exceed MAX_CELLS; a single pool may exceed it.
    """
    seen = np.full(len(stand_in), -1, dtype=np.int32)
    block: list[Pool] = []
    number = needed = union = 0
    for pool in pools:
        rows = stand_in[pool.rows]
        new = int(np.count_nonzero(seen[rows] != number))
        cells = (len(block) + 1) * (union + new)
        if block and (cells > MAX_CELLS or cells > 2 * (needed + len(rows))):
            yield block, np.flatnonzero(seen == number).astype(np.int32)
            block, number, needed, union, new = [], number + 1, 0, 0, len(rows)
        seen[rows] = number
        block.append(pool)
        needed += len(rows)
        union += new
    if block:
        yield block, np.flatnonzero(seen == number).astype(np.int32)


def needed_rows(judged: JudgedSet, pools: Sequence[Pool]) -> Rows:
    """The rows of the queries and candidates of pools, sorted, each once: int32."""
    needed = np.zeros(len(judged.papers), dtype=bool)
    for pool in pools:
        needed[pool.rows] = needed[pool.row] = True
    return np.flatnonzero(needed).astype(np.int32)


def _check_and_match(judged: JudgedSet, pools: Sequence[Pool], given: SetVectors) -> Rows:
    """For each needed paper the first one with an equal vector, for others itself: int32 (papers,).

    A matrix product may round equal columns differently, so that equal vectors are computed once.
    """
    rows = needed_rows(judged, pools)
    at = given.at[rows]
    absent = (at < 0) | (at >= len(given.vectors))
    if absent.any():
        raise _unusable(judged, rows[absent][0], "has no vector")
    factors = np.random.default_rng(0).integers(0, 2**63, size=given.vectors.shape[1], dtype=np.uint64) * 2 + 1
    hashes = np.empty(len(rows), dtype=np.uint64)
    step = max(1, _PIECE // (8 * max(1, given.vectors.shape[1])))
    for start in range(0, len(rows), step):
        part = np.ascontiguousarray(given.vectors[at[start : start + step]], dtype=np.float32)
        broken = ~np.isfinite(part).all(axis=1)
        if broken.any():
            raise _unusable(judged, rows[start:][broken.argmax()], "has a vector with a value that is not finite")
        hashes[start : start + step] = (part.view(np.uint32) * factors).sum(axis=1)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    same = np.arange(len(judged.papers), dtype=np.int32)
    for i in np.flatnonzero(first[group] != np.arange(len(rows))):  # few, except for odd encoders
        if np.array_equal(given.vectors[at[i]], given.vectors[at[first[group[i]]]]):
            same[rows[i]] = rows[first[group[i]]]
    return same


def _unusable(judged: JudgedSet, row: int, what: str) -> RankingError:
    return RankingError(f"{judged.name}: the paper {judged.papers[row].id!s:.80} {what}. Encode the set again.")


def _distances(vectors: NDArray[np.float32], queries: Rows, candidates: Rows) -> NDArray[np.float32]:
    """The L2 distance of each pair: float32 (b, u). queries, candidates: rows of `vectors`."""
    query_vectors = vectors[queries].astype(np.float64)
    query_norms = np.einsum("ij,ij->i", query_vectors, query_vectors)
    distances = np.empty((len(queries), len(candidates)), dtype=np.float32)
    step = max(1, _PIECE // (8 * max(1, vectors.shape[1])))
    for start in range(0, len(candidates), step):
        part = candidates[start : start + step]
        candidate_vectors = vectors[part].astype(np.float64)
        sums = query_norms[:, None] + np.einsum("ij,ij->i", candidate_vectors, candidate_vectors)
        squared = query_vectors @ candidate_vectors.T
        squared *= -2.0
        squared += sums
        sums *= _NEAR
        near_query, near = np.nonzero(squared <= sums)
        for first in range(0, len(near), step):
            some = slice(first, first + step)
            differences = query_vectors[near_query[some]] - candidate_vectors[near[some]]
            squared[near_query[some], near[some]] = np.einsum("ij,ij->i", differences, differences)
        with np.errstate(over="ignore"):  # too far for float32: infinite, and refused later
            distances[:, start : start + step] = np.sqrt(squared, out=squared)
    return distances


def _as_integers(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Integers in the order of the scores. IEEE 754 numbers of one sign order as their bits do."""
    bits = (scores + np.float32(0.0)).view(np.uint32)  # -0.0 becomes 0.0: the two are equal
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _as_scores(integers: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The inverse of `_as_integers`."""
    return np.where(integers & _SIGN, integers & ~_SIGN, ~integers).view(np.float32)
