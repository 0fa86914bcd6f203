"""What a curve of the neighbour index is: recall and time for each M, ef_search and size of corpus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from components.index import HnswSettings
from corpus.errors import CociteAtlasError

MS = (8, 16, 32)  # half of the links that an atlas's graph has, as many, and the double
# From what ten neighbours need at least to where recall no longer rises on the default corpus.
EF_SEARCHES = (11, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
MOST_NEIGHBOURS, MOST_LINKS, MOST_EF, MOST_QUERIES, MOST_POINTS = 1_000, 256, 20_000, 10_000, 2_000
_SIZES = (1_000, 10_000, 100_000, 1_000_000)


class CurveRefused(CociteAtlasError):
    """Settings that no curve can be measured with, or too few vectors for one."""


@dataclass(frozen=True, slots=True)
class CurveSettings:
    """What is measured. Where a list is empty: MS, those of EF_SEARCHES that k allows, `default_sizes`.

    queries: of each kind. seed: of the sample of rows, of the queries off them, and of the graphs' levels.
    threads: that build a graph: 1 gives the same one every time, −1 takes every core.
    """

    k: int = 10  # as many as the page shows
    ms: tuple[int, ...] = ()
    ef_construction: int = HnswSettings().ef_construction
    ef_searches: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    queries: int = 400  # 4,000 neighbours looked at: a recall of 0.99 is known to ± 0.003
    seed: int = 0
    threads: int = -1


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of the graph over `size` rows.

    recall: ann_recall_at_k on the rows, each asked for its nearest others; recall_off_rows: on queries moved off the
    rows, as pasted texts lie. Both 0 … 1, against exact search. p50_ms, p95_ms: of one query off the rows, asked
    alone and on one thread. build_seconds: to build the graph, the same for all its ef_search.
    """

    size: int
    m: int
    ef_construction: int
    ef_search: int
    recall: float
    recall_off_rows: float
    p50_ms: float
    p95_ms: float
    build_seconds: float


@dataclass(frozen=True, slots=True)
class ExactTime:
    """How long exact search takes over `size` rows for one query off the rows, asked alone and on one thread."""

    size: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on: `atlas` is empty where the vectors are no atlas's.

    vectors: SHA-256 (hex) of the atlas's file of vectors. m, ef_search: the atlas's own; ef_search 0: it has no graph.
    """

    atlas: str = ""
    encoder: str = ""
    vectors: str = ""
    m: int = 0
    ef_search: int = 0


@dataclass(frozen=True, slots=True)
class Curve:
    """Recall and time of the neighbour index, by size of corpus, M and ef_search.

    points: in the order of M, size, ef_search. exact: by size. planned: how many points there are when all are done.
    made: the time in UTC, as 2026-11-22T21:40:00Z. versions: of Python and of the packages that decide a figure.
    """

    about: Measured
    rows: int
    dimensions: int
    k: int
    queries: int
    seed: int
    points: tuple[Point, ...]
    exact: tuple[ExactTime, ...]
    planned: int
    made: str
    machine: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every point that was asked for is there; else the measuring was stopped."""
        return len(self.points) >= self.planned

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that have points, from small to large."""
        return tuple(sorted({point.size for point in self.points}))

    @property
    def ms(self) -> tuple[int, ...]:
        """The values of M that have points, from small to large."""
        return tuple(sorted({point.m for point in self.points}))

    def line(self, *, size: int, m: int) -> tuple[Point, ...]:
        """The points of one graph, by ef_search."""
        found = (point for point in self.points if point.size == size and point.m == m)
        return tuple(sorted(found, key=lambda point: point.ef_search))

    def exact_at(self, size: int) -> ExactTime | None:
        """Exact search over that many rows; None where it was not measured."""
        return next((time for time in self.exact if time.size == size), None)


DEFAULTS = CurveSettings()
NO_ATLAS = Measured()


def default_sizes(rows: int) -> tuple[int, ...]:
    """1,000, 10,000 and so on below the number of rows, and all of them.

    >>> default_sizes(18_273), default_sizes(10_000), default_sizes(60)
    ((1000, 10000, 18273), (1000, 10000), (60,))
    """
    return (*(size for size in _SIZES if size < rows), rows)


def checked(settings: CurveSettings, *, rows: int, own: Measured) -> CurveSettings:
    """The settings for that many rows, every list filled, in order and without repeats.

    own: whose M and ef_search are measured too, where the lists are left to us. Raises CurveRefused.
    """
    k = settings.k
    _within("k", (k,), 1, MOST_NEIGHBOURS)
    if rows < k + 1:
        raise CurveRefused(
            f"{rows:,} papers are too few to ask each for its {k} nearest others. Ask for fewer neighbours, or "
            "measure a larger corpus."
        )
    own_ms = (own.m,) if own.ef_search and 2 <= own.m <= MOST_LINKS else ()
    own_efs = (own.ef_search,) if own.ef_search <= MOST_EF else ()
    ms = settings.ms or (*MS, *own_ms)
    ef_searches = settings.ef_searches or tuple(ef for ef in (k + 1, *EF_SEARCHES, *own_efs) if ef > k)
    sizes = settings.sizes or tuple(size for size in default_sizes(rows) if size > k)
    _within("M", ms, 2, MOST_LINKS)
    _within("ef_construction", (settings.ef_construction,), 2, MOST_EF)
    _within("ef_search", ef_searches, k + 1, MOST_EF)  # a row that is asked finds itself too, so one more than k
    _within("the size", sizes, k + 1, rows)
    _within("the number of queries", (settings.queries,), 1, MOST_QUERIES)
    _within("the seed", (settings.seed,), 0, 2**31 - 1)
    ms, ef_searches, sizes = (tuple(sorted(set(values))) for values in (ms, ef_searches, sizes))
    if len(ms) * len(ef_searches) * len(sizes) > MOST_POINTS:
        raise CurveRefused(f"These are more than {MOST_POINTS:,} points. Name fewer values of M, ef_search or size.")
    return replace(settings, ms=ms, ef_searches=ef_searches, sizes=sizes, queries=min(settings.queries, sizes[0]))


def _within(what: str, values: Sequence[int], least: int, most: int) -> None:
    for value in values:
        if not least <= value <= most:
            raise CurveRefused(f"{what} is {value:,}: it lies between {least:,} and {most:,} here.")
