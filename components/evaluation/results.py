"""Results: the scores of every query, their means, and the evaluation of a system on a split; as JSON and CSV."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, FiniteFloat, TypeAdapter

from components.evaluation.metrics import (
    MAP,
    NDCG_20_PERCENT,
    average_precision,
    ndcg_at_percent,
    standard_metrics,
)
from components.evaluation.ranking import RankedPool, Ranking, RankingError
from corpus.judged_sets.model import DataIssue, JudgedSet, Pool
from corpus.text.cells import guard_cell, unguard_cell

SystemKind = Literal["encoder", "tfidf", "bm25", "rankings"]

_BATCH = 256  # queries whose grades are in memory together
_MAX_TITLE_CHARS = 500  # of a query, in the CSV; the set has all of it


def _with_main_metrics(values: Mapping[str, object]) -> Mapping[str, object]:
    if missing := {MAP, NDCG_20_PERCENT} - values.keys():
        raise ValueError(f"{min(missing)} is missing")
    return values


# Pydantic checks these constraints where results are read back.
Count = Annotated[int, Field(ge=0, lt=2**53)]
Values = Annotated[Mapping[str, FiniteFloat], AfterValidator(_with_main_metrics)]
Intervals = Annotated[Mapping[str, tuple[FiniteFloat, FiniteFloat]], AfterValidator(_with_main_metrics)]


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """Numbers of candidates."""

    smallest: Count
    median: FiniteFloat
    mean: FiniteFloat
    largest: Count


@dataclass(frozen=True, slots=True)
class System:
    """What ranked.

    name: as in tables. fingerprint: of the encoder, or a hash of a baseline's settings or of a rankings file. source:
    what loads the encoder again (a catalogue name, or the path of a folder or zip), precision: "float32" or "bfloat16";
    both "" for other systems.
    """

    kind: SystemKind
    name: str
    fingerprint: str
    source: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class QueryScores:
    """One query's scores, as fractions 0 … 1.

    paper, title: of the query. group: as in its pool. fold: from 0. candidates, relevant: of its pool. metrics: by the
    names in METRICS; MAP is the query's average precision.
    """

    query: str
    paper: str
    title: str
    group: str
    fold: Count
    candidates: Count
    relevant: Count
    metrics: Values


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one system reached on one split of one set. Scores are fractions 0 … 1.

    id: 16 hexadecimal digits of a SHA-256 over system, set and split, so that evaluating again replaces it. made: UTC,
    as 2026-11-22T21:40:00Z. folds: the number of queries of each. means: of each metric, over folds of the means over
    each fold's queries. intervals: 95 % bootstrap intervals of MAP and NDCG%20. handled: issues of the set.
    without_positive, pools_under_five: among the scored queries. not_comparable: why the scores may not be compared
    with published ones; empty where they may. seconds: by stage. versions: of Python and of the packages that decide a
    score. notes: on the system. format: of the JSON file.
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
    relevant_from: Count
    papers: Count
    folds: tuple[Count, ...]
    pool_sizes: PoolSizes
    means: Values
    intervals: Intervals
    handled: tuple[DataIssue, ...]
    without_positive: Count
    pools_under_five: Count
    not_comparable: tuple[str, ...]
    seconds: Mapping[str, FiniteFloat]
    versions: Mapping[str, str]
    machine: str
    notes: tuple[str, ...] = ()
    format: Literal[1] = 1

    @property
    def queries(self) -> int:
        """The number of scored queries; a query in two folds counts twice."""
        return sum(self.folds)

    @property
    def comparable(self) -> bool:
        """Whether the scores may be compared with published ones."""
        return not self.not_comparable


_EVALUATION = TypeAdapter(Evaluation)
_QUERY_SCORES = TypeAdapter(QueryScores)


def evaluation_id(system: System, judged: JudgedSet, split: str) -> str:
    """The id of the evaluation of a system on a split of a set."""
    key = {
        "system": [system.kind, system.name, system.fingerprint, system.precision],
        "set": [judged.name, judged.facet, judged.fingerprint, judged.relevant_from],
        "split": split,
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


# Scores


def score(judged: JudgedSet, folds: Sequence[Sequence[Pool]], ranking: Ranking) -> list[QueryScores]:
    """The scores of every query of every fold, in order; a query in two folds is scored in both.

    Raises RankingError where a query is not in the ranking, or its ranking is not of exactly its pool.
    """
    ranked = {pool.query: pool for pool in ranking.pools}
    pools = [(fold, pool) for fold, fold_pools in enumerate(folds) for pool in fold_pools]
    if missing := [pool.query for _, pool in pools if pool.query not in ranked]:
        raise RankingError(
            f"{judged.name}: {len(missing):,} of {len(pools):,} queries are not in the ranking, {missing[0]!s:.80} "
            "first. Rank their pools too."
        )
    scores: list[QueryScores] = []
    for start in range(0, len(pools), _BATCH):
        batch = pools[start : start + _BATCH]
        all_grades = [ranked_grades(judged, pool, ranked[pool.query]) for _, pool in batch]
        standard = standard_metrics(all_grades, relevant_from=judged.relevant_from)
        for (fold, pool), grades, others in zip(batch, all_grades, standard, strict=True):
            relevant = grades >= judged.relevant_from
            paper = judged.papers[pool.row]
            scores.append(
                QueryScores(
                    query=pool.query,
                    paper=paper.id,
                    title=paper.title,
                    group=pool.group,
                    fold=fold,
                    candidates=len(grades),
                    relevant=int(relevant.sum()),
                    metrics={MAP: average_precision(relevant), NDCG_20_PERCENT: ndcg_at_percent(grades), **others},
                )
            )
    return scores


def ranked_grades(judged: JudgedSet, pool: Pool, ranked: RankedPool) -> NDArray[np.int16]:
    """The grades of a pool in rank order: int16 (n,).

    Raises RankingError where the ranking is not of all of the pool's candidates, each once.
    """
    grade_of = np.full(len(judged.papers), -1, dtype=np.int16)
    grade_of[pool.rows] = pool.grades
    valid = len(ranked.rows) == len(pool.rows) and bool(((ranked.rows >= 0) & (ranked.rows < len(grade_of))).all())
    if valid:
        grades: NDArray[np.int16] = grade_of[ranked.rows]
        grade_of[ranked.rows] = -1
        # As many as the pool has, all of them candidates, and no candidate left: each is there once.
        if bool((grades >= 0).all()) and bool((grade_of[pool.rows] < 0).all()):
            return grades
    raise RankingError(
        f"{judged.name}, query {pool.query!s:.80}: the ranking, of {len(ranked.rows):,}, is not of exactly the "
        f"{len(pool.rows):,} candidates of the pool. Rank the pool again."
    )


def by_fold(scores: Iterable[QueryScores], metric: str) -> list[NDArray[np.float64]]:
    """The values of a metric, one array per fold, in the order of the scores: the input of `statistics`."""
    folds: dict[int, list[float]] = {}
    for scored in scores:
        folds.setdefault(scored.fold, []).append(scored.metrics[metric])
    return [np.array(folds[fold]) for fold in sorted(folds)]


def mean_of_folds(scores: Iterable[QueryScores], metric: str) -> float:
    """The mean over folds of the mean over each fold's queries."""
    return float(np.mean([values.mean() for values in by_fold(scores, metric)]))


def means(scores: Sequence[QueryScores], folds: Sequence[Sized]) -> dict[str, float]:
    """`mean_of_folds` of each metric. folds: the requested ones.

    Raises RankingError where a fold has fewer or more scores than queries, or there are none.
    """
    found = Counter(scored.fold for scored in scores)
    if not scores or found != Counter({fold: len(pools) for fold, pools in enumerate(folds) if len(pools)}):
        expected = ", ".join(f"{len(pools):,}" for pools in folds) or "none"
        scored = ", ".join(f"{found[fold]:,}" for fold in sorted(found)) or "none"
        raise RankingError(f"Queries by fold: {expected}; with scores: {scored}. Score all of them.")
    return {metric: mean_of_folds(scores, metric) for metric in scores[0].metrics}


# JSON and CSV


def evaluation_to_json(evaluation: Evaluation, **more: object) -> str:
    """An evaluation as indented JSON, followed by the fields in `more`. Lone surrogates become question marks."""
    text = json.dumps({**asdict(evaluation), **more}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "replace").decode()


def evaluation_from_json(content: bytes | str) -> Evaluation:
    """The evaluation that `evaluation_to_json` wrote; other fields are ignored. Raises pydantic's ValidationError."""
    return _EVALUATION.validate_json(content, strict=True)


def scores_to_csv(scores: Sequence[QueryScores]) -> str:
    """A row per query, a column per metric (fractions); no cell is a formula to a spreadsheet."""
    text = io.StringIO(newline="")
    metrics = list(scores[0].metrics) if scores else []
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("query", "paper", "title", "group", "fold", "candidates", "relevant", *metrics))
    for scored in scores:
        names = (scored.query, scored.paper, scored.title[:_MAX_TITLE_CHARS], scored.group)
        cells = [guard_cell(name.encode("utf-8", "replace").decode()) for name in names]
        writer.writerow(
            (*cells, scored.fold, scored.candidates, scored.relevant, *(scored.metrics[name] for name in metrics))
        )
    return text.getvalue()


def scores_from_csv(lines: Iterable[str]) -> list[QueryScores]:
    """The scores in what `scores_to_csv` wrote, long titles shortened.

    lines: of a file opened with newline="". Raises csv.Error or ValueError for anything else.
    """
    scores = []
    for row in csv.DictReader(lines, restval="", strict=True):
        facts = {name: row.pop(name, None) for name in ("fold", "candidates", "relevant")}
        names = {name: unguard_cell(row.pop(name, "")) for name in ("query", "paper", "title", "group")}
        scores.append(_QUERY_SCORES.validate_python({**names, **facts, "metrics": row}))
    return scores
