"""Held-out ranks: how near an encoder puts papers of the test pairs, which training never saw, before and after."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.encoder.base import Encoder
from components.evaluation.encoding import encode_set
from components.evaluation.metrics import average_precision
from components.evaluation.ranking import MAX_CELLS, rank_by_vectors
from components.evaluation.statistics import bootstrap_interval, paired_test
from components.training.run import HELD_OUT, StoredModel, read_model
from components.training.settings import TrainingError
from corpus.cocitations.pairs import Rows, TrainingPairs
from corpus.judged_sets.model import JudgedSet, Pool, PoolPaper
from corpus.progress import Progress, no_progress

Metric = Literal["mean_rank", "MAP", "recall@10"]
METRICS: dict[Metric, str] = {"mean_rank": "Mean rank", "MAP": "MAP", "recall@10": "Recall in 10"}
# Enough for an interval of a point; more would keep an encoder on a CPU busy for hours.
MAX_QUERIES, MAX_PAPERS = 5_000, 50_000
_TOP = 10
_SEED = 0
_SIGNIFICANT = 0.05  # nothing is claimed for larger p-values

Values = Mapping[Metric, NDArray[np.float64]]


class HeldOut(StoredModel):
    """How an encoder ranks, for each paper of the test pairs, the papers that it was cited with.

    queries: papers asked for. papers: the most papers ranked for one; the query itself and its partners in train and
    dev are left out. sampled: there are more, and some were drawn. median_rank: median of the queries' mean ranks.
    means, intervals: of each metric over the queries, with 95 % bootstrap intervals.

    mean_rank: a query's mean is over its relevant papers, 1 is the nearest paper. MAP: 0 … 1. recall@10: the share of
    its relevant papers among the 10 nearest, 0 … 1.
    """

    encoder: str
    fingerprint: str
    queries: int
    papers: int
    sampled: bool
    median_rank: float
    means: dict[Metric, float]
    intervals: dict[Metric, tuple[float, float]]


class HeldOutTest(StoredModel):
    """A paired randomisation test of after against before. higher, lower: queries whose value rose or fell."""

    difference: float
    p_value: float
    higher: int
    lower: int


class HeldOutChange(StoredModel):
    """What training changed. A difference is after − before: for mean_rank, below 0 is better."""

    before: HeldOut
    after: HeldOut
    tests: dict[Metric, HeldOutTest]


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One metric before and after training, in words."""

    name: str
    before: str
    after: str
    difference: str
    interval: str
    p: str


def compare_held_out(
    pairs: TrainingPairs,
    start: Encoder,
    trained: Encoder,
    *,
    max_queries: int = MAX_QUERIES,
    max_papers: int = MAX_PAPERS,
    progress: Progress = no_progress,
) -> HeldOutChange:
    """Rank, for each paper of a test pair, all papers but itself and its partners in train and dev, by both encoders.

    Ties are broken as in evaluations. If there are more queries or papers than the maxima, some are drawn, the same
    for both; relevant papers are always among them. Raises TrainingError without test pairs, and what `encode_set`,
    `rank_by_vectors` and `progress` raise.
    """
    questions = _questions(pairs, max_queries, max_papers)
    before, values_before = _rank(questions, start, progress)
    after, values_after = _rank(questions, trained, progress)
    tests = {}
    for name in METRICS:
        test = paired_test([values_after[name]], [values_before[name]])
        tests[name] = HeldOutTest(difference=test.difference, p_value=test.p_value, higher=test.wins, lower=test.losses)
    return HeldOutChange(before=before, after=after, tests=tests)


def read_held_out(run: Path) -> HeldOutChange | None:
    """The scores of a run; None if it has none. Raises TrainingError if they are damaged."""
    return read_model(run / HELD_OUT, HeldOutChange) if (run / HELD_OUT).exists() else None


def score_rows(change: HeldOutChange | None) -> list[ScoreRow]:
    """The metrics as rows of a table; none without scores."""
    if change is None:
        return []
    rows = []
    for metric, name in METRICS.items():
        before, after = change.before.means[metric], change.after.means[metric]
        low, high = change.after.intervals[metric]
        p = change.tests[metric].p_value
        rows.append(
            ScoreRow(
                name=name,
                before=_text(metric, before),
                after=_text(metric, after),
                difference=("−" if after < before else "+") + _text(metric, abs(after - before)),
                interval=f"{_text(metric, low)} to {_text(metric, high)}",
                p=f"{p:.4f}" if p >= 0.0001 else "< 0.0001",
            )
        )
    return rows


def verdict(change: HeldOutChange) -> str:
    """What the scores say about the training, by MAP."""
    if change.tests["MAP"].p_value >= _SIGNIFICANT:
        return "By MAP, the difference from the start may be chance."
    if change.after.means["MAP"] > change.before.means["MAP"]:
        return "Papers that were cited together rank higher than with the start."
    return (
        "Papers that were cited together rank lower than with the start, whatever the dev loss says: the start is the "
        "better encoder. Drawn negatives are mostly easy, and a margin that keeps them all active pushes apart what is "
        "far already. Try a smaller --margin, a lower --learning-rate, or more pairs."
    )


def _text(metric: Metric, value: float) -> str:
    return f"{value:,.2f}" if metric == "mean_rank" else f"{100 * value:.2f} %"


@dataclass(frozen=True, slots=True, eq=False)
class _Questions:
    """relevant, left_out: for each query, rows among the judged set's papers; none of them is the query."""

    judged: JudgedSet
    queries: Rows
    relevant: Sequence[Rows]
    left_out: Sequence[Rows]
    sampled: bool

    def pools(self) -> Iterator[Pool]:
        rows = np.arange(len(self.judged.papers), dtype=np.int32)
        for query, relevant, left_out in zip(self.queries.tolist(), self.relevant, self.left_out, strict=True):
            grades = np.zeros(len(rows), dtype=np.int16)
            grades[relevant] = 1
            kept = np.ones(len(rows), dtype=bool)
            kept[left_out] = kept[query] = False
            yield Pool(query=self.judged.papers[query].id, row=query, rows=rows[kept], grades=grades[kept])


def _questions(pairs: TrainingPairs, max_queries: int, max_papers: int) -> _Questions:
    random = np.random.default_rng(_SEED)
    seen = _partners(np.concatenate([pairs.train, pairs.dev[:, :2]]), of=pairs.test)
    relevant = {row: found - seen.get(row, set()) for row, found in _partners(pairs.test, of=pairs.test).items()}
    rows = np.array(sorted(row for row, found in relevant.items() if found), dtype=np.int32)
    if not len(rows):
        raise TrainingError(
            f"{pairs.name} has no test pairs, so there is nothing to rank. Make the pairs again with a test split."
        )
    queries = np.sort(random.permutation(rows)[:max_queries])
    needed = np.unique([*queries.tolist(), *(row for query in queries.tolist() for row in relevant[query])])
    others = random.permutation(np.setdiff1d(np.arange(pairs.papers.num_rows), needed))
    papers = np.sort(np.concatenate([needed, others[: max(0, max_papers - len(needed))]])).astype(np.int32)
    place = np.full(pairs.papers.num_rows, -1, dtype=np.int32)
    place[papers] = np.arange(len(papers), dtype=np.int32)

    def placed(found: set[int]) -> Rows:
        places: Rows = place[np.array(sorted(found), dtype=np.int32)]
        return places[places >= 0]

    table = pairs.papers.take(pa.array(papers))
    columns = (table.column(name).to_pylist() for name in ("id", "title", "abstract"))
    judged = JudgedSet(
        name=pairs.name,
        facet="",
        origin="own",
        papers=tuple(PoolPaper(id, title, abstract) for id, title, abstract in zip(*columns, strict=True)),
        pools=(),
        splits={},
        relevant_from=1,
        handled=(),
        fingerprint="",
    )
    return _Questions(
        judged=judged,
        queries=place[queries],
        relevant=[placed(relevant[query]) for query in queries.tolist()],
        left_out=[placed(seen.get(query, set())) for query in queries.tolist()],
        sampled=len(queries) < len(rows) or len(papers) < pairs.papers.num_rows,
    )


def _partners(pairs: Rows, *, of: Rows) -> dict[int, set[int]]:
    """For each paper in `of`, the papers that it forms a pair with, in either order."""
    wanted = np.unique(of)
    partners: dict[int, set[int]] = {}
    for rows in (pairs, pairs[:, ::-1]):
        for row, partner in rows[np.isin(rows[:, 0], wanted)].tolist():
            partners.setdefault(row, set()).add(partner)
    return partners


def _rank(questions: _Questions, encoder: Encoder, progress: Progress) -> tuple[HeldOut, Values]:
    """The scores of an encoder, and each metric's value for each query: float64 (queries,)."""
    judged, count = questions.judged, len(questions.queries)
    rows = np.arange(len(judged.papers), dtype=np.int32)
    everything = Pool(query="", row=0, rows=rows, grades=np.zeros(len(rows), dtype=np.int16))
    vectors = encode_set(judged, [everything], encoder, progress=progress)
    values: dict[Metric, list[float]] = {name: [] for name in METRICS}
    sizes: list[int] = []
    pools = questions.pools()

    def of_all(stage: str, done: int, _: int) -> None:
        progress(stage, len(sizes) + done, count)

    while some := list(islice(pools, max(1, MAX_CELLS // len(rows)))):
        ranking = rank_by_vectors(judged, some, vectors, progress=of_all)
        for pool, ranked in zip(some, ranking.pools, strict=True):
            relevant = np.isin(ranked.rows, pool.rows[pool.grades > 0])
            ranks = np.flatnonzero(relevant) + 1
            values["mean_rank"].append(float(ranks.mean()))
            values["MAP"].append(average_precision(relevant))
            values["recall@10"].append(float((ranks <= _TOP).mean()))
        sizes += [len(pool.rows) for pool in some]
    arrays = {name: np.array(found) for name, found in values.items()}
    scores = HeldOut(
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        queries=count,
        papers=max(sizes),
        sampled=questions.sampled,
        median_rank=float(np.median(arrays["mean_rank"])),
        means={name: float(found.mean()) for name, found in arrays.items()},
        intervals={name: bootstrap_interval([found]) for name, found in arrays.items()},
    )
    return scores, arrays
