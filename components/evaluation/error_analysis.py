"""Error analysis: which candidates of a query are ranked wrongly and by which words, and queries sorted by score."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.evaluation.ranking import RankedPool, RankingError
from components.evaluation.results import QueryScores, ranked_grades
from components.mapping.region_names import key
from corpus.judged_sets.model import JudgedSet, Pool, PoolPaper, SetError

Order = Literal["worst", "best", "lost", "won"]

_WORD = re.compile(r"[^\W\d_][\w'’-]*[^\W_]")  # at least two letters; a number alone says nothing
_MAX_COUNTED = 1_000  # papers of a pool that determine how rare a word is; a pool may have 9,000
_MAX_WORDS = 8  # of each kind
_MAX_SHOWN = 5  # candidates of each kind
_MAX_ACRONYM_CHARS = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """A ranked candidate. rank: from 1. score: its distance, or its similarity.

    overlap: 0 … 1, the share of the query's words that it has, weighted by rarity in the pool. shared, lacking, other:
    words in both, only in the query, only in the candidate; a few of each, the most distinctive first.
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
class QueryAnalysis:
    """The errors in one query's ranking.

    relevant_ranks: of the relevant candidates, from 1. ahead: candidates that are not relevant and precede a relevant
    one, from the first on. behind: relevant ones that follow one that is not, from the last on. ties: candidates with
    the score of the one before them.
    """

    query: PoolPaper
    candidates: int
    relevant_ranks: tuple[int, ...]
    ties: int
    ahead: tuple[Candidate, ...]
    behind: tuple[Candidate, ...]

    @property
    def perfect(self) -> bool:
        """Whether every relevant candidate precedes all others."""
        return not self.ahead


def analyse_query(judged: JudgedSet, pool: Pool, ranked: RankedPool, *, shown: int = _MAX_SHOWN) -> QueryAnalysis:
    """Find the wrongly ranked candidates of a query. shown: candidates of each kind.

    Raises SetError where the ranking is of other candidates than the pool's.
    """
    try:
        grades = ranked_grades(judged, pool, ranked)
    except RankingError as error:
        raise SetError(
            f"{judged.name}, query {pool.query}: the ranking is not of this pool. The set has changed since it was "
            "ranked. Evaluate it again."
        ) from error
    relevant = grades >= judged.relevant_from
    right, wrong = np.flatnonzero(relevant), np.flatnonzero(~relevant)
    ahead = wrong[wrong < right[-1]][:shown] if len(right) else wrong[:0]
    behind = right[right > wrong[0]][::-1][:shown] if len(wrong) else right[:0]
    query = judged.papers[pool.row]
    words = _Words(query, [judged.papers[row] for row in pool.rows.tolist()])

    def candidate(position: int) -> Candidate:
        paper = judged.papers[int(ranked.rows[position])]
        overlap, shared, lacking, other = words.compare(paper)
        score, grade = float(ranked.scores[position]), int(grades[position])
        return Candidate(paper, position + 1, score, grade, overlap, shared, lacking, other)

    return QueryAnalysis(
        query=query,
        candidates=len(grades),
        relevant_ranks=tuple((right + 1).tolist()),
        ties=int(np.count_nonzero(ranked.scores[1:] == ranked.scores[:-1])),
        ahead=tuple(candidate(position) for position in ahead.tolist()),
        behind=tuple(candidate(position) for position in behind.tolist()),
    )


def words_mislead(analysis: QueryAnalysis) -> bool | None:
    """Whether the candidates ahead share more words with the query than those behind; None where either is empty.

    True: ranking by words makes the same error. False: it would do better.
    """
    if not analysis.ahead or not analysis.behind:
        return None
    ahead, behind = (
        sum(candidate.overlap for candidate in candidates) / len(candidates)
        for candidates in (analysis.ahead, analysis.behind)
    )
    return ahead > behind


class _Words:
    """The words of a query, and how rare each word is in its pool."""

    def __init__(self, query: PoolPaper, candidates: Sequence[PoolPaper]) -> None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        self._stop_words = ENGLISH_STOP_WORDS
        counted = [query, *candidates[:: -(-len(candidates) // _MAX_COUNTED) or 1]]
        self._papers = len(counted)
        self._document_frequency = Counter(word for paper in counted for word in self._count(paper)[0])
        self._query, self._query_forms = self._count(query)

    def compare(self, paper: PoolPaper) -> tuple[float, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The overlap of a candidate, and the words in both, only in the query, only in the candidate."""
        counts, forms = self._count(paper)
        shared = {word: min(count, counts[word]) for word, count in self._query.items() if word in counts}
        lacking = {word: count for word, count in self._query.items() if word not in counts}
        other = {word: count for word, count in counts.items() if word not in self._query}
        total = sum(map(self._rarity, self._query))
        return (
            sum(map(self._rarity, shared)) / total if total else 0.0,
            self._most_distinctive(shared, self._query_forms),
            self._most_distinctive(lacking, self._query_forms),
            self._most_distinctive(other, forms),
        )

    def _count(self, paper: PoolPaper) -> tuple[Counter[str], dict[str, str]]:
        """The number of each word in a paper, by its stem, and its first form in the text."""
        forms: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for form in _WORD.findall(f"{paper.title} {paper.abstract}"):
            if form.casefold() in self._stop_words or not (word := key(form)):
                continue
            acronym = form.isupper() and len(form) <= _MAX_ACRONYM_CHARS
            forms.setdefault(word, form if acronym else form.lower())
            counts[word] += 1
        return counts, forms

    def _rarity(self, word: str) -> float:
        return math.log(1 + self._papers / (1 + self._document_frequency[word]))

    def _most_distinctive(self, counts: Mapping[str, int], forms: Mapping[str, str]) -> tuple[str, ...]:
        """The words that are frequent in the text and rare in the pool."""
        weight = {word: (1 + math.log(count)) * self._rarity(word) for word, count in counts.items()}
        return tuple(forms[word] for word in sorted(weight, key=lambda word: (-weight[word], word))[:_MAX_WORDS])


# Many queries


@dataclass(frozen=True, slots=True)
class QueryComparison:
    """One query's value by one metric. value: of the first system; other: of the second, None without one."""

    scores: QueryScores
    value: float
    other: float | None

    @property
    def difference(self) -> float | None:
        """The first's value minus the second's."""
        return None if self.other is None else self.value - self.other


def sort_queries(
    first: Sequence[QueryScores], second: Sequence[QueryScores] | None, *, metric: str, order: Order
) -> list[QueryComparison]:
    """The queries of a system in an order, beside the values of a second system where it has the query.

    "lost": where the first is furthest below the second; "won": furthest above; both need a second. Of equal queries,
    those with more relevant candidates come first.
    """
    others = {(scored.fold, scored.query): scored.metrics[metric] for scored in second or ()}
    queries = [
        QueryComparison(scored, scored.metrics[metric], others.get((scored.fold, scored.query))) for scored in first
    ]
    sign = 1.0 if order in ("worst", "lost") else -1.0
    if order in ("lost", "won"):
        queries = [query for query in queries if query.other is not None]

    def position(query: QueryComparison) -> tuple[float, int, str]:
        value = (query.difference or 0.0) if order in ("lost", "won") else query.value
        return sign * value, -query.scores.relevant, query.scores.query

    return sorted(queries, key=position)


def paired_by_fold(
    first: Sequence[QueryScores], second: Sequence[QueryScores], *, metric: str
) -> tuple[list[list[float]], list[list[float]]]:
    """The values of the queries that both systems have, in the same order, by fold."""
    others = {(scored.fold, scored.query): scored.metrics[metric] for scored in second}
    both = [scored for scored in first if (scored.fold, scored.query) in others]
    folds = sorted({scored.fold for scored in both})
    return (
        [[scored.metrics[metric] for scored in both if scored.fold == fold] for fold in folds],
        [[others[scored.fold, scored.query] for scored in both if scored.fold == fold] for fold in folds],
    )


def histogram(values: Sequence[float], *, bins: int = 20) -> list[int]:
    """The number of values of 0 … 1 in each of equal bins; 1 counts in the last.

    >>> histogram([0.0, 0.04, 0.05, 0.999, 1.0], bins=20)[:2], histogram([0.0, 0.04, 0.05, 0.999, 1.0], bins=20)[-1]
    ([2, 1], 2)
    """
    return [int(count) for count in np.histogram(values, bins=bins, range=(0, 1))[0]]
