"""What a judged set is, once it has been read and checked. How it is read or made stands in the modules beside this."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from corpus.errors import CociteAtlasError

Origin = Literal["released", "constructed", "own"]

# What a set's makers left open, or what a file has that no ranking can use: each is handled in one way, and counted.
HandledKind = Literal[
    "query_without_text",  # its paper has neither title nor abstract here, or is not among the texts: left out
    "candidate_without_text",  # likewise: left out of the pool
    "title_only",  # a paper with a title and no abstract, or the other way round: ranked by what is there
    "repeated_query",  # judged more than once: the last judgement counts, as where a JSON object is read
    "repeated_candidate",  # twice in one pool: kept once, in its first place, with its last grade
    "query_in_its_pool",  # the query's own paper among its candidates: left out of the pool
    "empty_pool",  # no candidate is left: the query is left out
    "pool_under_five",  # kept; the top 20 % of it are no paper, so its NDCG%20 is 0
    "without_positive",  # kept; nothing is relevant, so its average precision is 0
    "split_without_pool",  # a split names a query that has no pool: left out
    "repeated_in_split",  # a split names a query twice: it counts once
    "in_two_splits",  # kept in both
    "query_in_no_split",  # of a set that has splits: kept, and counted in the figures of none
    "repeated_paper",  # listed more than once, or a text again in one review: one of its texts is kept
]


class SetError(CociteAtlasError):
    """A judged set that cannot be read, or is not what was asked for."""


@dataclass(frozen=True, slots=True)
class PoolPaper:
    """A paper of a set. The abstract is one text; sentences that a file lists apart are joined by a space."""

    id: str
    title: str
    abstract: str


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A query and what is ranked for it.

    query: its name in the set: the paper's id, and where a set judges one paper by facets and all of them are
        asked for, id and facet ("123_method"). row: of the query's paper among the set's papers.
    rows: int32 (n,), of the candidates, in the file's order, each once and never the query's own.
    grades: int16 (n,), one a candidate, 0 or more. group: the topic, review or facet that it belongs to, or "".
    """

    query: str
    row: int
    rows: NDArray[np.int32]
    grades: NDArray[np.int16]
    group: str = ""


@dataclass(frozen=True, slots=True)
class Handled:
    """How often something was met and handled as `HandledKind` says. examples: up to five names."""

    kind: HandledKind
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class JudgedSet:
    """A judged set, or one facet of it.

    name: as people call it, in small letters (relish, treccovid, csfcube, scidcite, or one's own). facet: "" where it
    has none. papers: those of all pools and queries. splits: name of a split → its folds → queries; one fold, but for
    sets whose figures are the mean over folds. Every query in a split has a pool. relevant_from: the lowest grade that
    is relevant. rules: how it was made from its originals, seed included; "" for a set as released.
    fingerprint: 16 hexadecimal digits of a SHA-256 over texts, pools, grades, splits and relevant_from; the order of
    papers, pools and candidates does not change it.
    """

    name: str
    facet: str
    origin: Origin
    papers: tuple[PoolPaper, ...]
    pools: tuple[Pool, ...]
    splits: Mapping[str, tuple[tuple[str, ...], ...]]
    relevant_from: int
    handled: tuple[Handled, ...]
    fingerprint: str
    rules: str = ""

    def folds(self, split: str) -> list[list[Pool]]:
        """The pools of a split, by fold. Raises SetError where the set has no such split, or it is empty."""
        if split not in self.splits:
            known = ", ".join(sorted(self.splits)) or "none"
            raise SetError(f"{self.name} has no split {split!r}. It has: {known}.")
        pool_of = {pool.query: pool for pool in self.pools}
        folds = [[pool_of[query] for query in fold] for fold in self.splits[split]]
        if not any(folds):
            raise SetError(f"The split {split!r} of {self.name} has no query with a pool. Check the set's files.")
        return folds
