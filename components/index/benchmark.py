"""Index curves: recall and query time of hnswlib graphs for each M, ef_search and corpus size, against exact search."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field
from threadpoolctl import threadpool_limits

from components.index.exact import ExactIndex, RecallQueries, Vectors, recall_queries
from components.index.hnsw import HnswIndex, HnswSettings
from corpus.errors import CociteAtlasError
from corpus.machine import machine_description, package_versions
from corpus.progress import Progress, no_progress

MEASURING = "Measuring the neighbour index"  # the stage's name; its steps are rows inserted and queries asked
TARGET_RECALL = HnswSettings().target_recall  # of the rows and out of sample: what an atlas's graph is tuned to

DEFAULT_MS = (8, 16, 32)  # half the links of an atlas's graph, as many, and twice as many
# From the least that ten neighbours need to where recall no longer rises on the default corpus.
DEFAULT_EF_SEARCHES = (11, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
MAX_K, MAX_M, MAX_EF, MAX_QUERIES, MAX_POINTS = 1_000, 256, 20_000, 10_000, 2_000
_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_WARM_UP = 20  # exact searches before the clock runs

# Pydantic checks these constraints where a curve is read back (components/evaluation/index_curve.py).
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)
Count = Annotated[int, Field(ge=0, le=10**12)]
Number = Annotated[float, Field(ge=0, le=1e12)]
Recall = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(max_length=300)]


class CurveRefused(CociteAtlasError):
    """Settings that no curve can be measured with, or too few vectors for one."""


@dataclass(frozen=True, slots=True)
class CurveSettings:
    """What is measured. Empty lists: DEFAULT_MS, the DEFAULT_EF_SEARCHES above k, `default_sizes`.

    queries: of each kind. seed: of the sample of rows, of the out-of-sample queries, and of the graphs' levels.
    threads: that build a graph: 1 gives the same one every time, −1 uses every core.
    """

    k: int = 10  # as many as the page shows
    ms: tuple[int, ...] = ()
    ef_construction: int = HnswSettings().ef_construction
    ef_searches: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    queries: int = 400  # 4,000 neighbours: a recall of 0.99 is known to ± 0.003
    seed: int = 0
    threads: int = -1


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the graph over `size` rows.

    recall: ann_recall_at_k of rows, each asked for its nearest others. recall_off_rows: of out-of-sample queries, which
    lie off the rows as pasted texts do. p50_ms, p95_ms: of one out-of-sample query alone, on one thread.
    build_seconds: of the graph, the same for all its ef_search.
    """

    size: Annotated[Count, Field(ge=2)]
    m: Annotated[int, Field(ge=2, le=MAX_M)]
    ef_construction: Count
    ef_search: Annotated[int, Field(ge=1, le=MAX_EF)]
    recall: Recall
    recall_off_rows: Recall
    p50_ms: Number
    p95_ms: Number
    build_seconds: Number

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class ExactTime:
    """The time of exact search over `size` rows, of one out-of-sample query alone, on one thread."""

    size: Annotated[Count, Field(ge=2)]
    p50_ms: Number
    p95_ms: Number

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class MeasuredAtlas:
    """The atlas whose vectors were measured; `atlas` is "" for other vectors.

    vectors: SHA-256 (hex) of its file of vectors. m, ef_search: its own; ef_search is 0 where it has no graph.
    """

    atlas: Text = ""
    encoder: Text = ""
    vectors: Text = ""
    m: Count = 0
    ef_search: Count = 0

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class Curve:
    """Recall and time of the neighbour index, by corpus size, M and ef_search.

    points: in the order of M, size, ef_search. exact: by size. planned: the number of points when all are measured.
    made: UTC, as 2026-11-22T21:40:00Z. versions: of Python and of the packages that decide a value. format: of the
    JSON file.
    """

    about: MeasuredAtlas
    rows: Count
    dimensions: Count
    k: Annotated[int, Field(ge=1, le=MAX_K)]
    queries: Annotated[int, Field(ge=1, le=MAX_QUERIES)]
    seed: Count
    points: Annotated[tuple[Point, ...], Field(max_length=MAX_POINTS)]
    exact: Annotated[tuple[ExactTime, ...], Field(max_length=MAX_POINTS)]
    planned: Annotated[int, Field(ge=1, le=MAX_POINTS)]
    made: Text
    machine: Text
    versions: Annotated[Mapping[Text, Text], Field(max_length=20)] = field(default_factory=dict)
    format: Literal[1] = 1

    __pydantic_config__ = _STRICT

    @property
    def complete(self) -> bool:
        """Whether every planned point was measured."""
        return len(self.points) >= self.planned

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that have points, ascending."""
        return tuple(sorted({point.size for point in self.points}))

    @property
    def ms(self) -> tuple[int, ...]:
        """The values of M that have points, ascending."""
        return tuple(sorted({point.m for point in self.points}))

    def line(self, *, size: int, m: int) -> tuple[Point, ...]:
        """The points of one graph, by ef_search."""
        points = (point for point in self.points if point.size == size and point.m == m)
        return tuple(sorted(points, key=lambda point: point.ef_search))

    def exact_at(self, size: int) -> ExactTime | None:
        """Exact search over that many rows; None where it was not measured."""
        return next((time for time in self.exact if time.size == size), None)


DEFAULTS = CurveSettings()
NO_ATLAS = MeasuredAtlas()


def default_sizes(rows: int) -> tuple[int, ...]:
    """1,000, 10,000 and so on below the number of rows, and all of them.

    >>> default_sizes(18_273), default_sizes(10_000), default_sizes(60)
    ((1000, 10000, 18273), (1000, 10000), (60,))
    """
    return (*(size for size in _SIZES if size < rows), rows)


def checked_settings(settings: CurveSettings, *, rows: int, about: MeasuredAtlas) -> CurveSettings:
    """The settings for that many rows, with every list filled, sorted and without repeats.

    about: an atlas whose M and ef_search are added to default lists. Raises CurveRefused.
    """
    k = settings.k
    _check_range("k", (k,), 1, MAX_K)
    if rows < k + 1:
        raise CurveRefused(
            f"{rows:,} papers are too few to find the {k} nearest others of each. Ask for fewer neighbours, or measure "
            "a larger corpus."
        )
    own_ms = (about.m,) if about.ef_search and 2 <= about.m <= MAX_M else ()
    own_efs = (about.ef_search,) if about.ef_search <= MAX_EF else ()
    ms = settings.ms or (*DEFAULT_MS, *own_ms)
    ef_searches = settings.ef_searches or tuple(ef for ef in (k + 1, *DEFAULT_EF_SEARCHES, *own_efs) if ef > k)
    sizes = settings.sizes or tuple(size for size in default_sizes(rows) if size > k)
    _check_range("M", ms, 2, MAX_M)
    _check_range("ef_construction", (settings.ef_construction,), 2, MAX_EF)
    _check_range("ef_search", ef_searches, k + 1, MAX_EF)  # a row finds itself too, so one more than k
    _check_range("the size", sizes, k + 1, rows)
    _check_range("the number of queries", (settings.queries,), 1, MAX_QUERIES)
    _check_range("the seed", (settings.seed,), 0, 2**31 - 1)
    ms, ef_searches, sizes = (tuple(sorted(set(values))) for values in (ms, ef_searches, sizes))
    if len(ms) * len(ef_searches) * len(sizes) > MAX_POINTS:
        raise CurveRefused(f"These are more than {MAX_POINTS:,} points. Name fewer values of M, ef_search or size.")
    return replace(settings, ms=ms, ef_searches=ef_searches, sizes=sizes, queries=min(settings.queries, sizes[0]))


def measure_curve(
    vectors: Vectors,
    *,
    settings: CurveSettings = DEFAULTS,
    about: MeasuredAtlas = NO_ATLAS,
    keep: Callable[[Curve], object] = lambda _: None,
    progress: Progress = no_progress,
) -> Curve:
    """Measure recall and time of hnswlib over float32 (n, d), for each M, size and ef_search.

    Sizes are nested: each is the beginning of one random order of the rows, and its graph is the smaller one's,
    extended. All sizes have the same queries. keep: called with the curve so far after each graph, since `progress`
    may raise to stop. Memory: a copy of the vectors, and one graph, which holds another.
    Raises CurveRefused, ValueError for vectors that cannot be indexed, and what `progress` and `keep` raise.
    """
    settings = checked_settings(settings, rows=len(vectors), about=about)
    order = np.random.default_rng(settings.seed).permutation(len(vectors))[: settings.sizes[-1]]
    shuffled = np.ascontiguousarray(vectors[order])
    planned = len(settings.ms) * len(settings.sizes) * len(settings.ef_searches)
    steps = _Steps(progress, len(settings.ms) * len(shuffled) + 2 * settings.queries * (len(settings.sizes) + planned))
    samples = [_measure_exact(shuffled[:size], settings, steps) for size in settings.sizes]
    points: list[Point] = []
    for m in settings.ms:
        hnsw = HnswSettings(m=m, ef_construction=settings.ef_construction, seed=settings.seed)
        graph, seconds = None, 0.0
        for size, (queries, _) in zip(settings.sizes, samples, strict=True):
            began = time.perf_counter()
            base = steps.done - (0 if graph is None else graph.rows)
            on_progress = partial(steps.insert, base)
            if graph is None:
                graph = HnswIndex.build(
                    shuffled[:size], settings=hnsw, threads=settings.threads, on_progress=on_progress
                )
            else:
                graph.extend(shuffled[:size], threads=settings.threads, on_progress=on_progress)
            seconds += time.perf_counter() - began
            points += _measure_graph(graph, queries, m=m, seconds=seconds, settings=settings, steps=steps)
            curve = Curve(
                about=about,
                rows=len(vectors),
                dimensions=vectors.shape[1],
                k=settings.k,
                queries=settings.queries,
                seed=settings.seed,
                points=tuple(points),
                exact=tuple(exact for _, exact in samples),
                planned=planned,
                made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                machine=machine_description(),
                versions=package_versions("hnswlib", "numpy"),
            )
            keep(curve)
    return curve


class _Steps:
    """Progress over all steps of a curve."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self.done, self._total = progress, 0, total
        progress(MEASURING, 0, total)

    def add(self, steps: int) -> None:
        self.done += steps
        self._progress(MEASURING, self.done, self._total)

    def insert(self, base: int, rows: int) -> None:
        """Report that a graph has `rows` rows. base: the steps done before its first row."""
        self.add(base + rows - self.done)


def _measure_exact(vectors: Vectors, settings: CurveSettings, steps: _Steps) -> tuple[RecallQueries, ExactTime]:
    """The queries of one size, and how long exact search takes for them."""
    exact, k = ExactIndex(vectors), settings.k
    rng = np.random.default_rng(settings.seed)
    rows = np.arange(settings.queries, dtype=np.int64)
    queries = recall_queries(exact, rows, k=k, out_of_sample=settings.queries, rng=rng)
    steps.add(settings.queries)
    seconds = []
    with threadpool_limits(limits=1):
        for query in queries.out_of_sample[:_WARM_UP]:
            exact.search(query, k=k)
        for query in queries.out_of_sample:
            began = time.perf_counter()
            exact.search(query, k=k)
            seconds.append(time.perf_counter() - began)
            steps.add(1)
    p50, p95 = _percentiles_ms(seconds)
    return queries, ExactTime(size=len(vectors), p50_ms=p50, p95_ms=p95)


def _measure_graph(
    graph: HnswIndex, queries: RecallQueries, *, m: int, seconds: float, settings: CurveSettings, steps: _Steps
) -> list[Point]:
    """All points of one graph, which took `seconds` to build."""
    ef_searches = settings.ef_searches
    recalls = []
    for ef_search in ef_searches:
        recalls.append(graph.recall(queries, ef_search=ef_search))
        steps.add(settings.queries)
    times: list[list[float]] = [[] for _ in ef_searches]
    # Each query is asked once at every ef_search, in random order: after a large ef_search, or the same query, the
    # processor's cache is in another state. What slows the machine for a while slows all settings alike.
    rng = np.random.default_rng(settings.seed)
    for turn in range(len(ef_searches)):
        with threadpool_limits(limits=1):
            for i in rng.permutation(len(queries.out_of_sample)).tolist():
                setting = (turn + i) % len(ef_searches)
                began = time.perf_counter()
                # A starved graph that does not reach k rows takes its time too; its recall says the rest.
                with contextlib.suppress(ValueError):
                    graph.search(queries.out_of_sample[i], k=settings.k, ef_search=ef_searches[setting])
                times[setting].append(time.perf_counter() - began)
        steps.add(settings.queries)
    points = []
    for ef_search, (recall, recall_off_rows), measured in zip(ef_searches, recalls, times, strict=True):
        p50, p95 = _percentiles_ms(measured)
        points.append(
            Point(
                size=graph.rows,
                m=m,
                ef_construction=settings.ef_construction,
                ef_search=ef_search,
                recall=round(recall, 6),
                recall_off_rows=round(recall_off_rows, 6),
                p50_ms=p50,
                p95_ms=p95,
                build_seconds=round(seconds, 3),
            )
        )
    return points


def _percentiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    """The median and the 95th percentile, in milliseconds."""
    p50, p95 = np.percentile(seconds, (50, 95))
    return round(1000 * float(p50), 4), round(1000 * float(p95), 4)


def _check_range(name: str, values: Sequence[int], low: int, high: int) -> None:
    for value in values:
        if not low <= value <= high:
            raise CurveRefused(f"{name} is {value:,}. Use a value from {low:,} to {high:,}.")
