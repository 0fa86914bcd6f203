"""Looking at one query: what was ranked wrongly, and in which words that lies; and queries put in order for that.

Works on what `results` keeps and on the set's texts. Computes no metric and draws nothing.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.evaluation.results import QueryScores, RankedPool
from components.mapping.region_names import key
from corpus.judged_sets.model import JudgedSet, Pool, PoolPaper, SetError

Order = Literal["worst", "best", "lost", "won"]

_WORD = re.compile(r"[^\W\d_][\w'’-]*[^\W_]")  # two letters at least; a number by itself tells nothing
_COUNTED = 1_000  # papers of a pool that say how rare a word is; a pool may have 9,000
_NAMED = 8  # words of each kind
_SHOWN = 5  # candidates of each kind


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate as it was ranked. rank: from 1. score: its distance, or its similarity.

    overlap: 0 … 1, how much of the query's words it has, each word counting as much as it is rare in the pool.
    shared, lacking, other: words that both have, that the query alone has, and that it alone has; the most telling
    first, a few of each.
    """

    paper: PoolPaper
    rank: int
    score: float
    grade: int
    overlap: float
    shared: tuple[str, ...]
    lacking: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """One query's ranking, looked at. relevant_ranks: those of the relevant candidates, from 1.

    ahead: candidates that are not relevant and stand before a relevant one, from the first on. behind: relevant ones
    that stand behind one that is not, from the last on. ties: candidates that have the score of the one before them.
    """

    query: PoolPaper
    candidates: int
    relevant_ranks: tuple[int, ...]
    ties: int
    ahead: tuple[Candidate, ...]
    behind: tuple[Candidate, ...]

    @property
    def perfect(self) -> bool:
        """Whether every relevant candidate stands before all others."""
        return not self.ahead


def look(judged: JudgedSet, pool: Pool, ranked: RankedPool, *, shown: int = _SHOWN) -> Looked:
    """What was ranked wrongly for a query, and which words stand on either side.

    shown: candidates of each kind. Raises SetError where the ranking is of other candidates than the pool's.
    """
    if not np.array_equal(np.sort(ranked.rows), np.sort(pool.rows)):
        raise SetError(
            f"{judged.name}, query {pool.query}: the ranking is not of this pool. The set has changed since it was "
            "ranked: evaluate it again."
        )
    grades = _grades(pool, ranked.rows)
    relevant = grades >= judged.relevant_from
    ranks = np.flatnonzero(relevant)
    wrong = np.flatnonzero(~relevant)
    ahead = wrong[wrong < ranks[-1]][:shown] if len(ranks) else wrong[:0]
    behind = ranks[ranks > wrong[0]][::-1][:shown] if len(wrong) else ranks[:0]
    query = judged.papers[pool.row]
    words = _Words(query, [judged.papers[row] for row in pool.rows.tolist()])

    def candidate(place: int) -> Candidate:
        paper = judged.papers[int(ranked.rows[place])]
        overlap, shared, lacking, other = words.beside(paper)
        return Candidate(
            paper=paper,
            rank=place + 1,
            score=float(ranked.scores[place]),
            grade=int(grades[place]),
            overlap=overlap,
            shared=shared,
            lacking=lacking,
            other=other,
        )

    return Looked(
        query=query,
        candidates=len(grades),
        relevant_ranks=tuple((ranks + 1).tolist()),
        ties=int(np.count_nonzero(ranked.scores[1:] == ranked.scores[:-1])),
        ahead=tuple(candidate(place) for place in ahead.tolist()),
        behind=tuple(candidate(place) for place in behind.tolist()),
    )


def words_mislead(looked: Looked) -> bool | None:
    """Whether those in front have more of the query's words than the relevant ones at the end; None of neither kind.

    True says that counting words errs here in the same way; False, that words alone would have known better.
    """
    if not looked.ahead or not looked.behind:
        return None
    front = sum(one.overlap for one in looked.ahead) / len(looked.ahead)
    end = sum(one.overlap for one in looked.behind) / len(looked.behind)
    return front > end


def _grades(pool: Pool, rows: NDArray[np.int32]) -> NDArray[np.int16]:
    """The grades of a pool's candidates in the order of `rows`, which are the same candidates."""
    order = np.argsort(pool.rows)
    found: NDArray[np.int16] = pool.grades[order[np.searchsorted(pool.rows, rows, sorter=order)]]
    return found


class _Words:
    """The words of a query, and how rare each word is in its pool."""

    def __init__(self, query: PoolPaper, candidates: Sequence[PoolPaper]) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        self._skipped = ENGLISH_STOP_WORDS
        counted = [query, *candidates[:: -(-len(candidates) // _COUNTED) or 1]]
        self._papers = len(counted)
        self._with: Counter[str] = Counter()
        for paper in counted:
            self._with.update(self._of(paper)[0].keys())
        self._query, self._called = self._of(query)

    def beside(self, paper: PoolPaper) -> tuple[float, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Of a candidate: its overlap, and the words that both have, that the query has, and that it has."""
        theirs, called = self._of(paper)
        shared = {word: min(count, theirs[word]) for word, count in self._query.items() if word in theirs}
        lacking = {word: count for word, count in self._query.items() if word not in theirs}
        other = {word: count for word, count in theirs.items() if word not in self._query}
        whole = sum(map(self._rarity, self._query))
        return (
            sum(map(self._rarity, shared)) / whole if whole else 0.0,
            self._telling(shared, self._called),
            self._telling(lacking, self._called),
            self._telling(other, called),
        )

    def _of(self, paper: PoolPaper) -> tuple[Counter[str], dict[str, str]]:
        """How often each word stands in a paper, by its key, and how it is written there first."""
        called: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for form in _WORD.findall(f"{paper.title} {paper.abstract}"):
            if form.casefold() in self._skipped or not (word := key(form)):
                continue
            called.setdefault(word, form if form.isupper() and len(form) <= 6 else form.lower())  # an acronym stays one
            counts[word] += 1
        return counts, called

    def _rarity(self, word: str) -> float:
        return math.log(1 + self._papers / (1 + self._with[word]))

    def _telling(self, counts: Mapping[str, int], called: Mapping[str, str]) -> tuple[str, ...]:
        """The words that tell most: those that stand often in the text and in few papers of the pool."""
        weight = {word: (1 + math.log(count)) * self._rarity(word) for word, count in counts.items()}
        return tuple(called[word] for word in sorted(weight, key=lambda word: (-weight[word], word))[:_NAMED])


# ---------------------------------------------------------------- many queries


@dataclass(frozen=True, slots=True)
class Placed:
    """One query among others. value: of the first system; other: of the second, None without one."""

    scores: QueryScores
    value: float
    other: float | None

    @property
    def difference(self) -> float | None:
        """The first less the second."""
        return None if self.other is None else self.value - self.other


def ordered(
    first: Sequence[QueryScores], second: Sequence[QueryScores] | None, *, metric: str, order: Order
) -> list[Placed]:
    """The queries of a system in an order, with another's figures beside where it is given and has the query.

    "lost": where the first is furthest below the second; "won": the other way round; both need a second. Of queries
    that are equal, those come first that have the most to find.
    """
    others = {(one.fold, one.query): one.metrics[metric] for one in second or ()}
    placed = [Placed(one, one.metrics[metric], others.get((one.fold, one.query))) for one in first]
    if order in ("lost", "won"):
        placed = [one for one in placed if one.other is not None]
        sign = 1.0 if order == "lost" else -1.0
        return sorted(placed, key=lambda one: (sign * (one.difference or 0.0), -one.scores.relevant, one.scores.query))
    sign = 1.0 if order == "worst" else -1.0
    return sorted(placed, key=lambda one: (sign * one.value, -one.scores.relevant, one.scores.query))


def paired_by_fold(
    first: Sequence[QueryScores], second: Sequence[QueryScores], *, metric: str
) -> tuple[list[list[float]], list[list[float]]]:
    """The figures of the queries that both systems have, query by query in the same order, by fold."""
    others = {(one.fold, one.query): one.metrics[metric] for one in second}
    both = [one for one in first if (one.fold, one.query) in others]
    folds = sorted({one.fold for one in both})
    return (
        [[one.metrics[metric] for one in both if one.fold == fold] for fold in folds],
        [[others[one.fold, one.query] for one in both if one.fold == fold] for fold in folds],
    )


def histogram(values: Sequence[float], *, bins: int = 20) -> list[int]:
    """How many values of 0 … 1 fall into each of equal bins; 1 itself into the last.

    >>> histogram([0.0, 0.04, 0.05, 0.999, 1.0], bins=20)[:2], histogram([0.0, 0.04, 0.05, 0.999, 1.0], bins=20)[-1]
    ([2, 1], 2)
    """
    counts = [0] * bins
    for value in values:
        counts[min(max(math.floor(value * bins), 0), bins - 1)] += 1
    return counts
