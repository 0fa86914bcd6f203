"""The neighbour index over parts of a corpus: built for each M, asked at each ef_search, held against exact search."""

import contextlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from components.atlas.store import VECTORS, Atlas
from components.evaluation.index_curve.kept import read_curve_if_whole, save_curve, sole_measurer
from components.evaluation.index_curve.records import (
    DEFAULTS,
    NO_ATLAS,
    Curve,
    CurveSettings,
    ExactTime,
    Measured,
    Point,
    checked,
)
from components.index import ExactIndex, HnswIndex, HnswSettings, Questions, Vectors, questions
from corpus.progress import Progress, no_progress

MEASURING = "Measuring the neighbour index"  # the stage, in rows inserted and queries asked
_WARM = 20  # queries of exact search before the clock runs


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The first `size` rows, what is asked of them, and how long exact search takes."""

    size: int
    asked: Questions
    exact: ExactTime


class _Steps:
    """Progress over all that there is to do."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total
        progress(MEASURING, 0, total)

    def add(self, steps: int) -> None:
        self._done += steps
        self._progress(MEASURING, self._done, self._total)


def curve(
    vectors: Vectors,
    *,
    settings: CurveSettings = DEFAULTS,
    about: Measured = NO_ATLAS,
    keep: Callable[[Curve], None] = lambda _: None,
    progress: Progress = no_progress,
) -> Curve:
    """Recall and time of hnswlib over float32 (n, d), for each M, size and ef_search.

    The sizes are nested: each is the beginning of one random order of the rows, and its graph is the smaller one's,
    extended. The same rows are asked at every size. keep: given the curve so far after each graph, since `progress` may
    raise to stop. Memory: a copy of the vectors, and one graph, which holds another.
    Raises CurveRefused, ValueError for what cannot be indexed, and what `progress` and `keep` do.
    """
    settings = checked(settings, rows=len(vectors), own=about)
    order = np.random.default_rng(settings.seed).permutation(len(vectors))[: settings.sizes[-1]]
    shuffled = np.ascontiguousarray(vectors[order])
    each = 2 * settings.queries
    graphs = len(settings.ms) * len(settings.sizes)
    planned = graphs * len(settings.ef_searches)
    steps = _Steps(progress, len(settings.sizes) * each + len(settings.ms) * len(shuffled) + planned * each)
    parts = []
    for size in settings.sizes:
        parts.append(_part(shuffled[:size], settings, steps))
    points: list[Point] = []

    def so_far() -> Curve:
        return Curve(
            about=about,
            rows=len(vectors),
            dimensions=vectors.shape[1],
            k=settings.k,
            queries=settings.queries,
            seed=settings.seed,
            points=tuple(points),
            exact=tuple(part.exact for part in parts),
            planned=planned,
            made=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            machine=machine_words(),
            versions=_versions(),
        )

    for m in settings.ms:
        graph, there, seconds = None, 0, 0.0
        for part in parts:
            began = time.perf_counter()
            graph = _grown(graph, there, shuffled[: part.size], m=m, settings=settings, steps=steps)
            seconds += time.perf_counter() - began
            there = part.size
            points += _points(graph, part, m=m, seconds=seconds, settings=settings, steps=steps)
            found = so_far()
            keep(found)
    return found


def curve_of(atlas: Atlas, *, settings: CurveSettings = DEFAULTS, progress: Progress = no_progress) -> Curve:
    """The curve of an atlas's vectors, its own M and ef_search among those measured by default.

    A graph's points are kept when it was measured (see `read_curve`), whatever stops the next one; but half a curve
    never takes the place of a whole one of the same vectors.
    Raises CurveRefused, CurveBusy where another process measures the same atlas, and what `progress` does.
    """
    manifest = atlas.manifest
    about = Measured(
        atlas=atlas.name,
        encoder=manifest.encoder.name,
        vectors=manifest.files[VECTORS].sha256,
        m=manifest.index.m,
        ef_search=manifest.index.ef_search,
    )
    with sole_measurer(atlas.name):
        whole = read_curve_if_whole(atlas.name, vectors=about.vectors)

        def keep(found: Curve) -> None:
            if found.complete or whole is None:
                save_curve(found)

        return curve(atlas.vectors, settings=settings, about=about, keep=keep, progress=progress)


def _part(vectors: Vectors, settings: CurveSettings, steps: _Steps) -> _Part:
    exact = ExactIndex(vectors)
    rows = np.arange(settings.queries, dtype=np.int64)
    rng = np.random.default_rng(settings.seed)
    asked = questions(exact, rows, k=settings.k, off_rows=settings.queries, rng=rng)
    steps.add(settings.queries)
    seconds = []
    with threadpool_limits(limits=1):
        for query in asked.off[:_WARM]:
            exact.search(query, k=settings.k)
        for query in asked.off:
            seconds.append(_seconds(_exactly(exact, query, k=settings.k)))
            steps.add(1)
    p50, p95 = _percentiles(seconds)
    return _Part(size=len(vectors), asked=asked, exact=ExactTime(size=len(vectors), p50_ms=p50, p95_ms=p95))


def _exactly(exact: ExactIndex, query: Vectors, *, k: int) -> Callable[[], object]:
    return lambda: exact.search(query, k=k)


def _grown(
    graph: HnswIndex | None, there: int, vectors: Vectors, *, m: int, settings: CurveSettings, steps: _Steps
) -> HnswIndex:
    """The graph over all of `vectors`; there: the rows that it has already."""

    def told(rows: int) -> None:
        nonlocal there
        steps.add(rows - there)
        there = rows

    if graph is not None:
        graph.extend(vectors, threads=settings.threads, on_progress=told)
        return graph
    wanted = HnswSettings(m=m, ef_construction=settings.ef_construction, seed=settings.seed)
    return HnswIndex.build(vectors, settings=wanted, threads=settings.threads, on_progress=told)


def _points(
    graph: HnswIndex, part: _Part, *, m: int, seconds: float, settings: CurveSettings, steps: _Steps
) -> list[Point]:
    """All points of one graph, which took so many seconds to build."""
    efs = settings.ef_searches
    recalls = []
    for ef_search in efs:
        recalls.append(graph.shares_found(part.asked, ef_search=ef_search))
        steps.add(settings.queries)
    times: list[list[float]] = [[] for _ in efs]
    # Each query comes once at every ef_search; and in random order, since after a large one, or after the same query,
    # the processor's cache is another. What slows the machine for a while slows all of them alike.
    rng = np.random.default_rng(settings.seed)
    for start in range(len(efs)):
        with threadpool_limits(limits=1):
            for place in rng.permutation(len(part.asked.off)).tolist():
                turn = (start + place) % len(efs)
                query = part.asked.off[place]
                times[turn].append(_seconds(_search(graph, query, k=settings.k, ef_search=efs[turn])))
        steps.add(settings.queries)
    found = []
    for ef_search, (on, off), taken in zip(efs, recalls, times, strict=True):
        p50, p95 = _percentiles(taken)
        found.append(
            Point(
                size=part.size,
                m=m,
                ef_construction=settings.ef_construction,
                ef_search=ef_search,
                recall=round(on, 6),
                recall_off_rows=round(off, 6),
                p50_ms=p50,
                p95_ms=p95,
                build_seconds=round(seconds, 3),
            )
        )
    return found


def _search(graph: HnswIndex, query: Vectors, *, k: int, ef_search: int) -> Callable[[], object]:
    return lambda: graph.search(query, k=k, ef_search=ef_search)


def _seconds(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    # A starved graph that does not reach k rows takes its time for that, too; its recall says the rest.
    with contextlib.suppress(ValueError):
        ask()
    return time.perf_counter() - began


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    """The median and the 95th percentile, in milliseconds."""
    p50, p95 = np.percentile(seconds, (50, 95))
    return round(1000 * float(p50), 4), round(1000 * float(p95), 4)


def machine_words() -> str:
    """The processor and its cores."""
    return f"{_processor()}, {os.cpu_count()} cores"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _versions() -> dict[str, str]:
    packages = ("hnswlib", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
