"""Evaluations on disk: what one system reached on one split of one judged set, query by query, and how it ranked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from corpus.pools import Handled

SystemKind = Literal["encoder", "tfidf", "bm25", "rankings"]
MAP, NDCG_20_PERCENT = "MAP", "NDCG%20"  # the two that the paper reports; all others are called as ir-measures does


@dataclass(frozen=True, slots=True)
class System:
    """What ranked. name: as it stands in tables. fingerprint: the encoder's; a hash of a peer's settings, or of a file.

    source: what loads the encoder again (a catalogue name, or the path of a folder or zip); "" for others.
    precision: of an encoder ("float32", "bfloat16"); "" for others.
    """

    kind: SystemKind
    name: str
    fingerprint: str
    source: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RankedPool:
    """One query's pool, best first.

    rows: int32 (n,), of the candidates among the set's papers. scores: float32 (n,).
    """

    query: str
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """All pools that were ranked. ascending: the scores are distances, smallest first; else the highest is first."""

    pools: tuple[RankedPool, ...]
    ascending: bool


@dataclass(frozen=True, slots=True)
class QueryScores:
    """One query's scores, as fractions 0 … 1. fold: from 0. group: as in its pool.

    metrics: MAP's part (its average precision) under "MAP", "NDCG%20", and the usual ones under ir-measures' names.
    """

    query: str
    paper: str
    title: str
    group: str
    fold: int
    candidates: int
    relevant: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one system reached on one split of one set. All scores are fractions 0 … 1; papers print percent.

    id: 16 hexadecimal digits of a SHA-256 over system, set and split: doing the same again replaces it.
    made: the time in UTC, as 2026-11-22T21:40:00Z. folds: number of queries of each. pool_sizes: of the candidates.
    means: of each metric, the mean over a fold's queries, and over folds where there are two. intervals: 95 %
    bootstrap intervals of MAP and NDCG%20. handled: what was met in the set. without_positive, pools_under_five: among
    the queries that were scored. not_comparable: why the figures may not be set beside published ones; empty where
    they may. seconds: by stage. versions: of Python and of the packages that decide a figure.
    """

    id: str
    made: str
    system: System
    set_name: str
    facet: str
    split: str
    origin: str
    set_fingerprint: str
    rules: str
    relevant_from: int
    papers: int
    folds: tuple[int, ...]
    pool_sizes: Mapping[Literal["smallest", "median", "mean", "largest"], float]
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    handled: tuple[Handled, ...]
    without_positive: int
    pools_under_five: int
    not_comparable: tuple[str, ...]
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    machine: str

    @property
    def queries(self) -> int:
        """How many queries count."""
        return sum(self.folds)

    @property
    def comparable(self) -> bool:
        """Whether the figures may be set beside the published ones."""
        return not self.not_comparable
