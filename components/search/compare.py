"""Compare two encoders on one corpus: two lists of hits, and the neighbours of all papers in two atlases."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.atlas.facets import Filters
from components.atlas.store import Atlas
from components.index.exact import Vectors
from components.search.search import Query, SearchResult, first_hits, search
from corpus.errors import CociteAtlasError
from corpus.progress import Progress, no_progress

COMPARING = "Comparing neighbours"  # the stage that `agreement` reports
SAMPLE = 1000  # papers: gives the mean to ± 0.02, in about two seconds at 18,000 papers
EXTREMES = 5  # papers named that agree most, and least
_PERSISTENCE = 0.9  # the first ten ranks carry 86 % of the weight (Webber et al. 2010)
_SEED = 13
_BLOCK = 128  # papers per matrix product: 9 MB of distances at 18,000 papers
_SPARE = 16  # candidates beyond k that are measured again: rounding errors move a paper by less
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class NothingToCompare(CociteAtlasError):
    """Two atlases have fewer than two papers in common."""


# Two lists


@dataclass(frozen=True, slots=True)
class Moved:
    """A paper of one list or of both. Ranks from 1; None: not in that list."""

    id: str
    left_rank: int | None
    right_rank: int | None

    @property
    def move(self) -> int | None:
        """Ranks gained from left to right; None unless both lists have it."""
        return None if self.left_rank is None or self.right_rank is None else self.left_rank - self.right_rank


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two lists of hits side by side.

    papers: those of the left list in its order, then the others of the right list in its order.
    k: length of the longer list. common: papers in both. overlap: common / k, 0 to 1; None for two empty lists.
    rank_overlap: see `rank_biased_overlap`. rank_correlation: Kendall's tau of the papers in both, −1 to 1; None for
    fewer than two.
    """

    papers: tuple[Moved, ...]
    k: int
    common: int
    overlap: float | None
    rank_overlap: float | None
    rank_correlation: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"papers": [{**asdict(paper), "move": paper.move} for paper in self.papers]}


def compare_hits(left: Sequence[str], right: Sequence[str]) -> Comparison:
    """Compare two lists of paper ids, nearest first. Raises ValueError where a list repeats an id.

    >>> comparison = compare_hits(["a", "b", "c"], ["b", "d", "a"])
    >>> [(paper.id, paper.left_rank, paper.right_rank, paper.move) for paper in comparison.papers]
    [('a', 1, 3, -2), ('b', 2, 1, 1), ('c', 3, None, None), ('d', None, 2, None)]
    >>> comparison.common, round(comparison.overlap, 3), comparison.rank_correlation
    (2, 0.667, -1.0)
    """
    from scipy.stats import kendalltau  # slow to import

    left_ranks, right_ranks = _ranks(left), _ranks(right)
    ids = [*left, *(paper for paper in right if paper not in left_ranks)]
    both = [paper for paper in left if paper in right_ranks]
    k = max(len(left), len(right))
    return Comparison(
        papers=tuple(Moved(paper, left_ranks.get(paper), right_ranks.get(paper)) for paper in ids),
        k=k,
        common=len(both),
        overlap=len(both) / k if k else None,
        rank_overlap=rank_biased_overlap(left, right),
        rank_correlation=float(kendalltau(range(len(both)), [right_ranks[paper] for paper in both]).statistic)
        if len(both) > 1
        else None,
    )


def rank_biased_overlap(
    left: Sequence[str], right: Sequence[str], *, persistence: float = _PERSISTENCE
) -> float | None:
    """Extrapolated rank-biased overlap of two lists (RBO_ext, Webber, Moffat and Zobel 2010), 0 to 1.

    The agreement at depth d is the share of the first d papers that the lists have in common. RBO is its mean over
    all depths, weighted by persistence^(d − 1): the top counts most. The agreement is assumed to stay constant beyond
    the end of the lists. 1: the same lists; 0: nothing in common, or one list is empty. Empty case: None where both
    are empty. Raises ValueError for a persistence outside (0, 1), and where a list repeats an id.

    Two lists of two, swapped: agreement 0 at depth 1, and 1 from depth 2 on.

    >>> round(rank_biased_overlap(["a", "b"], ["b", "a"]), 3)
    0.9
    >>> rank_biased_overlap(["a"], ["b"])
    0.0
    """
    if not 0.0 < persistence < 1.0:
        raise ValueError(f"persistence = {persistence}: it must lie between 0 and 1")
    ranks = sorted((_ranks(left), _ranks(right)), key=len)
    short, long = len(ranks[0]), len(ranks[1])
    if long == 0:
        return None
    if short == 0:
        return 0.0
    # The depth at which each common paper has occurred in both lists.
    depths = np.array([max(rank, ranks[1][paper]) for paper, rank in ranks[0].items() if paper in ranks[1]], dtype=int)
    depth = np.arange(1, long + 1)
    common = np.bincount(depths, minlength=long + 1)[1:].cumsum().astype(np.float64)
    # Beyond the end of the shorter list, its unseen papers are assumed to agree as often as the seen ones.
    unseen = common[short - 1] / short * np.maximum(depth - short, 0)
    agreements = (common + unseen) / depth
    total = (1 - persistence) * float((agreements * persistence ** (depth - 1)).sum())
    return total + float(agreements[-1]) * persistence**long


@dataclass(frozen=True, slots=True)
class ComparedSearch:
    """The results of two atlases for one query, and their comparison.

    left_ranks, right_ranks: paper id → rank from 1, to the depth that was searched.
    """

    left: SearchResult
    right: SearchResult
    comparison: Comparison
    left_ranks: dict[str, int]
    right_ranks: dict[str, int]


def compare_queries(
    left: Atlas,
    right: Atlas,
    *,
    queries: tuple[Query, Query],
    k: int,
    depth: int = 0,
    filters: Filters = Filters(),  # noqa: B008
) -> ComparedSearch:
    """Search two atlases for one text, encoded by the encoder of each, with the same filters.

    A paper that either recognises as the text itself is left out of both results. depth: ranks are known to
    max(k, depth). Raises as `search` does.
    """
    depth = max(k, depth)
    results = [
        search(atlas, query, k=depth, filters=filters) for atlas, query in zip((left, right), queries, strict=True)
    ]
    own = [_ids(left, results[0].own), _ids(right, results[1].own)]
    for side, atlas in enumerate((left, right)):
        rows = [row for paper in own[1 - side] if paper not in own[side] and (row := atlas.row_of(paper)) is not None]
        if rows:
            query = replace(queries[side], seeds=(*queries[side].seeds, *rows))
            results[side] = search(atlas, query, k=depth, filters=filters)
    left_ids, right_ids = (_ids(atlas, result.rows) for atlas, result in zip((left, right), results, strict=True))
    return ComparedSearch(
        left=first_hits(left, results[0], k=k),
        right=first_hits(right, results[1], k=k),
        comparison=compare_hits(left_ids[:k], right_ids[:k]),
        left_ranks=_ranks(left_ids),
        right_ranks=_ranks(right_ids),
    )


# Two atlases


@dataclass(frozen=True, slots=True)
class Agreeing:
    """A paper, its rows, and the number of its k nearest neighbours that are the same in both atlases."""

    id: str
    left_row: int
    right_row: int
    common: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two atlases agree on which papers are neighbours.

    k: neighbours per paper. papers: in both atlases; only_left, only_right: left out. sample: papers compared.
    mean: share of a paper's k nearest neighbours that are the same in both, 0 to 1. interval: 95 % interval of the
    mean over all papers; of width 0 where all were compared. quantiles: of the papers' shares, at 0.05 … 0.95.
    counts: papers by their number of common neighbours, 0 … k. none: share of papers without any.
    chance: the mean of unrelated atlases, k / (papers − 1).
    most, least: the papers that agree most and least; of equal ones those of lower row.
    """

    left: str
    right: str
    k: int
    papers: int
    only_left: int
    only_right: int
    sample: int
    mean: float
    interval: tuple[float, float]
    quantiles: dict[float, float]
    counts: tuple[int, ...]
    none: float
    chance: float
    most: tuple[Agreeing, ...]
    least: tuple[Agreeing, ...]

    def summary(self) -> str:
        """In a few sentences."""
        low, high = self.interval
        compared = "all" if self.sample == self.papers else f"{self.sample:,} of {self.papers:,}"
        text = (
            f"{self.left} and {self.right} share {100 * self.mean:.1f} % of the {self.k} nearest neighbours "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}; by chance {100 * self.chance:.2f} %), "
            f"over {compared} papers. {100 * self.none:.1f} % of them share none."
        )
        if self.only_left or self.only_right:
            text += (
                f" Left out: {self.only_left:,} papers only in {self.left}, {self.only_right:,} only in {self.right}."
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"quantiles": {str(place): share for place, share in self.quantiles.items()}}


def agreement(
    left: Atlas, right: Atlas, *, k: int = 10, sample: int = SAMPLE, progress: Progress = no_progress
) -> Agreement:
    """Measure how many of a paper's k nearest neighbours two atlases have in common, over a sample of common papers.

    Papers are joined by id. Neighbours are exact (L2), without the paper itself, among the common papers only. The
    sample is the same each time. k is at most the number of common papers less one. progress: (COMPARING, papers
    done, papers to do). Raises NothingToCompare; ValueError for k or sample below 1.
    """
    if k < 1 or sample < 1:
        raise ValueError(f"k = {k}, sample = {sample}: both must be at least 1")
    rows = _common_rows(left, right)
    n = len(rows)
    if n < 2:
        raise NothingToCompare(
            f"{left.name} and {right.name} have {n} papers in common; a comparison takes 2. "
            "Choose atlases of the same corpus."
        )
    k = min(k, n - 1)
    places = np.sort(np.random.default_rng(_SEED).permutation(n)[:sample])
    sides = [_Neighbours(atlas.vectors, rows[:, side]) for side, atlas in enumerate((left, right))]
    common = np.empty(len(places), dtype=np.int64)
    for start in range(0, len(places), _BLOCK):
        progress(COMPARING, start, len(places))
        part = places[start : start + _BLOCK]
        near = np.sort(np.hstack([side.nearest(part, k=k) for side in sides]), axis=1)
        common[start : start + len(part)] = (near[:, 1:] == near[:, :-1]).sum(axis=1)
    progress(COMPARING, len(places), len(places))
    ids = left.papers["id"].take(rows[places, 0])

    def extremes(key: NDArray[np.int64]) -> tuple[Agreeing, ...]:
        first = np.lexsort((places, key))[:EXTREMES].tolist()
        return tuple(
            Agreeing(ids[i].as_py(), int(rows[places[i], 0]), int(rows[places[i], 1]), int(common[i])) for i in first
        )

    shares = common / k
    counts = np.bincount(common, minlength=k + 1)
    return Agreement(
        left=left.name,
        right=right.name,
        k=k,
        papers=n,
        only_left=len(left) - n,
        only_right=len(right) - n,
        sample=len(places),
        mean=float(shares.mean()),
        interval=_interval(shares, of=n),
        quantiles={place: float(np.quantile(shares, place)) for place in _QUANTILES},
        counts=tuple(counts.tolist()),
        none=float(counts[0] / len(places)),
        chance=k / (n - 1),
        most=extremes(-common),
        least=extremes(common),
    )


class _Neighbours:
    """Exact neighbours among some rows of an atlas's vectors, float32 (n, d)."""

    def __init__(self, vectors: Vectors, rows: NDArray[np.int64]) -> None:
        # Without a copy where they are all rows in order.
        self._vectors = vectors if np.array_equal(rows, np.arange(len(vectors))) else vectors[rows]
        self._squared_norms: NDArray[np.float32] = np.einsum("ij,ij->i", self._vectors, self._vectors)

    def nearest(self, places: NDArray[np.int64], *, k: int) -> NDArray[np.int64]:
        """The k nearest others of some papers: int64 (len(places), k); of equal distances the first ones."""
        n = len(self._vectors)
        squared = self._squared_norms - 2 * (self._vectors[places] @ self._vectors.T)
        squared[np.arange(len(places)), places] = np.inf
        nearest = np.argpartition(squared, min(k + _SPARE, n - 1) - 1, axis=1)[:, : min(k + _SPARE, n - 1)]
        # ‖v‖² − 2q·v loses digits where q ≈ v: the nearest few are measured again.
        exact = np.empty(nearest.shape)
        for i, place in enumerate(places):
            apart = self._vectors[nearest[i]].astype(np.float64) - self._vectors[place]
            exact[i] = np.einsum("ij,ij->i", apart, apart)
        order = np.lexsort((nearest, exact), axis=1)[:, :k]
        return np.take_along_axis(nearest, order, axis=1)


def _interval(shares: NDArray[np.float64], *, of: int) -> tuple[float, float]:
    """A 95 % interval of the mean over `of` papers, from a sample drawn without replacement."""
    m, mean = len(shares), float(shares.mean())
    if m < 2 or m == of:
        return (mean, mean) if m == of else (0.0, 1.0)
    error = float(shares.std(ddof=1)) / math.sqrt(m) * math.sqrt((of - m) / (of - 1))
    return max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error)


def _common_rows(left: Atlas, right: Atlas) -> NDArray[np.int64]:
    """Rows of the papers that both have, int64 (n, 2), in the order of the left; the first row of a repeated id."""
    places: dict[str, int] = {}
    for row, paper in enumerate(right.papers["id"].to_pylist()):
        places.setdefault(paper, row)
    pairs = [
        (row, place)
        for row, paper in enumerate(left.papers["id"].to_pylist())
        if (place := places.pop(paper, None)) is not None
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _ids(atlas: Atlas, rows: Sequence[int]) -> list[str]:
    return [atlas.papers["id"][row].as_py() for row in rows]


def _ranks(papers: Sequence[str]) -> dict[str, int]:
    ranks = {paper: rank for rank, paper in enumerate(papers, start=1)}
    if len(ranks) != len(papers):
        raise ValueError("a list of hits has a paper twice")
    return ranks
