"""Ranking and scoring of judged pools: ours beside a plain loop over queries, and beside ir-measures on whole pools.

Planted vectors in 768 dimensions: pools as large as TRECCOVID-RF's, all of the same papers, and as small as RELISH's,
each of its own. The plain loop does what a short script does: differences, norms and argsort by NumPy for one query
after the other, MAP and NDCG%20 in Python. Every measurement is in a process of its own, whose memory is watched.
"""

import math
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from report import Row

from components.evaluation.ranking import rank_by_vectors
from components.evaluation.results import means, score
from corpus.judged_sets.model import JudgedSet, Pool, PoolPaper

DIMENSIONS = 768
LARGE, SMALL = "large", "small"
_SEED = 8
_TOPICS = 50


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of each step, what the process took up beyond its data in bytes, and what came out."""

    rank: float
    score: float
    memory: int
    map: float
    ndcg: float


def measure(*, quick: bool) -> list[Row]:
    """Ours and the plain loop in turn, three times each; ir-measures once."""
    rows = []
    for kind in (LARGE, SMALL):
        ours, plain = [], []
        for _ in range(1 if quick else 3):
            ours.append(_alone(_ours, kind, quick=quick))
            plain.append(_alone(_plain, kind, quick=quick))
        first, second = ours[0], plain[0]
        # Planted vectors have no ties, so that the two must agree but for what float32 does not tell apart.
        assert math.isclose(first.map, second.map, abs_tol=1e-5), (first, second)
        assert math.isclose(first.ndcg, second.ndcg, abs_tol=1e-5), (first, second)
        queries, candidates = _sizes(kind, quick=quick)
        what = f"{queries:,} queries, pools of {candidates:,}"
        peer = "NumPy loop over queries"
        ours_s, plain_s = (statistics.median(one.rank for one in found) for found in (ours, plain))
        rows.append(Row("evaluation", f"{what}: rank", "s", ours_s, plain_s, peer))
        ours_mb, plain_mb = (max(one.memory for one in found) / 1e6 for found in (ours, plain))
        rows.append(
            Row("evaluation", f"{what}: memory beyond the data", "MB", ours_mb, plain_mb, f"{peer}, keeps none")
        )
        ours_s, plain_s = (statistics.median(one.rank + one.score for one in found) for found in (ours, plain))
        peer = "NumPy loop, MAP and NDCG%20 alone, in Python"
        rows.append(Row("evaluation", f"{what}: rank, all eight measures", "s", ours_s, plain_s, peer))
        theirs = _alone(_ir_measures, kind, quick=quick)
        scored = statistics.median(one.score for one in ours)
        peer = "ir-measures on whole pools, seven of them"
        rows.append(Row("evaluation", f"{what}: all eight measures", "s", scored, theirs.score, peer))
    return rows


def _sizes(kind: str, *, quick: bool) -> tuple[int, int]:
    """Queries, and candidates of each."""
    if kind == LARGE:
        return (100, 2_000) if quick else (1_200, 9_000)
    return (200, 60) if quick else (3_190, 60)


def _planted(kind: str, *, quick: bool) -> tuple[JudgedSet, np.ndarray]:
    """A set whose papers lie around the centres of fifty topics, and their vectors; relevant is the query's topic."""
    rng = np.random.default_rng(_SEED)
    queries, candidates = _sizes(kind, quick=quick)
    n = candidates + 1 if kind == LARGE else 20_000
    topics = rng.integers(0, _TOPICS, size=n)
    vectors = rng.standard_normal((_TOPICS, DIMENSIONS), dtype=np.float32)[topics]
    vectors += 4 * rng.standard_normal((n, DIMENSIONS), dtype=np.float32)
    ids = rng.permutation(10 * n)[:n]
    papers = tuple(PoolPaper(f"p{one:07}", f"Title {one}", "") for one in ids)
    pools = []
    for query in range(queries):
        if kind == LARGE:
            rows = np.delete(np.arange(n, dtype=np.int32), query)
        else:
            rows = rng.permutation(np.delete(np.arange(n, dtype=np.int32), query))[:candidates]
        pools.append(Pool(f"q{query}", query, rows, (topics[rows] == topics[query]).astype(np.int16)))
    split = {"test": (tuple(pool.query for pool in pools),)}
    return JudgedSet("planted", "", "own", papers, tuple(pools), split, 1, (), "0" * 16), vectors


def _ours(judged: JudgedSet, vectors: np.ndarray) -> tuple[float, float, float, float]:
    folds = judged.folds("test")
    start = time.perf_counter()
    ranking = rank_by_vectors(judged, judged.pools, vectors)
    ranked = time.perf_counter()
    found = means(score(judged, folds, ranking), folds)
    return ranked - start, time.perf_counter() - ranked, found["MAP"], found["NDCG%20"]


def _plain(judged: JudgedSet, vectors: np.ndarray) -> tuple[float, float, float, float]:
    ranking = scoring = 0.0
    precisions, gains = [], []
    for pool in judged.pools:
        start = time.perf_counter()
        order = np.argsort(np.linalg.norm(vectors[pool.rows] - vectors[pool.row], axis=1), kind="stable")
        ranked = time.perf_counter()
        grades = pool.grades[order].tolist()
        found, total = 0, 0.0
        for rank, grade in enumerate(grades, start=1):
            if grade >= 1:
                found += 1
                total += found / rank
        precisions.append(total / found if found else 0.0)
        cut = int(0.20 * len(grades))
        ideal = _dcg(sorted(grades, reverse=True)[:cut])
        gains.append(_dcg(grades[:cut]) / ideal if ideal else 0.0)
        ranking += ranked - start
        scoring += time.perf_counter() - ranked
    return ranking, scoring, statistics.fmean(precisions), statistics.fmean(gains)


def _dcg(grades: list[int]) -> float:
    return sum(grade if rank < 3 else grade / math.log2(rank) for rank, grade in enumerate(grades, start=1))


def _ir_measures(judged: JudgedSet, vectors: np.ndarray) -> tuple[float, float, float, float]:
    import ir_measures
    from ir_measures import AP, RR, P, R, Rprec, nDCG

    ranking = rank_by_vectors(judged, judged.pools, vectors)
    start = time.perf_counter()
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for pool, ranked in zip(judged.pools, ranking.pools, strict=True):
        ids = [judged.papers[row].id for row in pool.rows.tolist()]
        qrels[pool.query] = dict(zip(ids, pool.grades.tolist(), strict=True))
        ids = [judged.papers[row].id for row in ranked.rows.tolist()]
        run[pool.query] = dict(zip(ids, (-ranked.scores).tolist(), strict=True))
    found = ir_measures.calc_aggregate([nDCG @ 10, nDCG @ 20, P @ 20, R @ 20, RR, Rprec, AP], qrels, run)
    return 0.0, time.perf_counter() - start, float(found[AP]), 0.0


Work = Callable[[JudgedSet, np.ndarray], tuple[float, float, float, float]]


def _alone(work: Work, kind: str, *, quick: bool) -> Measured:
    """What work takes in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_watched, work, kind, quick).result()


def _watched(work: Work, kind: str, quick: bool) -> Measured:
    import psutil

    judged, vectors = _planted(kind, quick=quick)
    process, done = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        rank, scored, mean_precision, gain = work(judged, vectors)
    finally:
        done.set()
        watcher.join()
    return Measured(rank, scored, max(most, process.memory_info().rss) - before, mean_precision, gain)
