"""Held-out ranks: how near an encoder puts papers that were cited together, of pairs that training never saw."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.encoder import Encoder
from components.evaluation.encoding import encode_set
from components.evaluation.metrics import average_precision
from components.evaluation.ranking import MAX_CELLS, rank_by_vectors
from components.evaluation.statistics import PairedTest, bootstrap_interval, paired_test
from components.training.settings import TrainingError
from corpus.cocitations.pairs import Rows, TrainingPairs
from corpus.judged_sets.model import JudgedSet, Pool, PoolPaper
from corpus.progress import Progress, no_progress

HeldOutMetric = Literal["mean_rank", "MAP", "recall@10"]
METRICS: tuple[HeldOutMetric, ...] = get_args(HeldOutMetric)
LOWER_IS_BETTER: HeldOutMetric = "mean_rank"
# Enough for an interval of a point; more would take an encoder on a CPU for hours.
MOST_QUERIES, MOST_PAPERS = 5_000, 50_000
_TOP = 10
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """How an encoder ranks, for each paper of the test pairs, the papers that it was cited with.

    encoder, fingerprint: the encoder's. queries, papers: how many were asked, and how many papers are ranked for each,
    the query and what it is cited with in train and dev left out. sampled: some were drawn where there are more.
    median_rank: of the queries' mean ranks. means: of each metric over the queries; intervals: 95 % bootstrap intervals
    of them. values: float64 (queries,), query by query, in one order for all encoders.

    mean_rank: the mean rank of a query's relevant papers, 1 the nearest. MAP, as a query's: average precision, 0 … 1.
    recall@10: the share of its relevant papers among the 10 nearest, 0 … 1.
    """

    encoder: str
    fingerprint: str
    queries: int
    papers: int
    sampled: bool
    median_rank: float
    means: Mapping[HeldOutMetric, float]
    intervals: Mapping[HeldOutMetric, tuple[float, float]]
    values: Mapping[HeldOutMetric, NDArray[np.float64]]

    def as_json(self) -> dict[str, Any]:
        """All but `values`, as JSON values."""
        return {
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            "queries": self.queries,
            "papers": self.papers,
            "sampled": self.sampled,
            "median_rank": self.median_rank,
            "means": dict(self.means),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutChange:
    """What training changed. tests: of each metric, the trained encoder's values against the start's, query by query.

    A difference is after minus before: of mean_rank, below 0 is better. `wins` are the queries with a higher value.
    """

    before: HeldOut
    after: HeldOut
    tests: Mapping[HeldOutMetric, PairedTest]

    def as_json(self) -> dict[str, Any]:
        """Both, and the difference and p-value of each metric, as JSON values."""
        tests = {
            name: {"difference": test.difference, "p_value": test.p_value, "higher": test.wins, "lower": test.losses}
            for name, test in self.tests.items()
        }
        return {"before": self.before.as_json(), "after": self.after.as_json(), "tests": tests}


def held_out_ranks(
    pairs: TrainingPairs,
    encoder: Encoder,
    *,
    most_queries: int = MOST_QUERIES,
    most_papers: int = MOST_PAPERS,
    progress: Progress = no_progress,
) -> HeldOut:
    """Rank, for each paper of a test pair, all papers of the folder but itself and its partners in train and dev.

    Each paper is encoded once; ties are broken as in evaluations. Where the pairs have more than `most_queries` or
    `most_papers`, some are drawn, the same for every encoder; papers that are relevant are always among them.
    Raises TrainingError where there are no test pairs, what `encode_set` and `rank_by_vectors` do, and what `progress`
    does.
    """
    return _ranks(_asked(pairs, most_queries, most_papers), encoder, progress)


def before_and_after(
    pairs: TrainingPairs,
    start: Encoder,
    trained: Encoder,
    *,
    most_queries: int = MOST_QUERIES,
    most_papers: int = MOST_PAPERS,
    progress: Progress = no_progress,
) -> HeldOutChange:
    """`held_out_ranks` of the encoder that training began from and of what came of it, and how sure the change is."""
    asked = _asked(pairs, most_queries, most_papers)
    before, after = (_ranks(asked, encoder, progress) for encoder in (start, trained))
    tests = {name: paired_test([after.values[name]], [before.values[name]]) for name in METRICS}
    return HeldOutChange(before=before, after=after, tests=tests)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The questions. relevant, left_out: of each query, rows among the set's papers; none of them the query."""

    judged: JudgedSet
    queries: Rows
    relevant: Sequence[Rows]
    left_out: Sequence[Rows]
    sampled: bool

    def pools(self) -> Iterator[Pool]:
        everything = np.arange(len(self.judged.papers), dtype=np.int32)
        for row, relevant, left_out in zip(self.queries.tolist(), self.relevant, self.left_out, strict=True):
            grades = np.zeros(len(everything), dtype=np.int16)
            grades[relevant] = 1
            kept = np.ones(len(everything), dtype=bool)
            kept[left_out] = kept[row] = False
            yield Pool(query=self.judged.papers[row].id, row=row, rows=everything[kept], grades=grades[kept])


def _asked(pairs: TrainingPairs, most_queries: int, most_papers: int) -> _Asked:
    rng = np.random.default_rng(_SEED)
    seen = _partners(np.concatenate([pairs.train, pairs.dev[:, :2]]), among=pairs.test)
    held = _partners(pairs.test, among=pairs.test)
    relevant = {row: partners - seen.get(row, set()) for row, partners in held.items()}
    rows = np.array(sorted(row for row, partners in relevant.items() if partners), dtype=np.int32)
    if not len(rows):
        raise TrainingError(
            f"{pairs.name} has no test pairs, so there is nothing to rank. Make the pairs again with a test split."
        )
    queries = np.sort(rng.permutation(rows)[:most_queries])
    needed = np.unique([*queries.tolist(), *(row for query in queries.tolist() for row in relevant[query])])
    others = rng.permutation(np.setdiff1d(np.arange(pairs.papers.num_rows), needed))
    papers = np.sort(np.concatenate([needed, others[: max(0, most_papers - len(needed))]])).astype(np.int32)
    place = np.full(pairs.papers.num_rows, -1, dtype=np.int32)
    place[papers] = np.arange(len(papers), dtype=np.int32)

    def placed(found: set[int]) -> Rows:
        at: Rows = place[np.array(sorted(found), dtype=np.int32)]
        return at[at >= 0]

    return _Asked(
        judged=_judged(pairs.name, pairs.papers.take(pa.array(papers))),
        queries=place[queries],
        relevant=[placed(relevant[query]) for query in queries.tolist()],
        left_out=[placed(seen.get(query, set())) for query in queries.tolist()],
        sampled=len(queries) < len(rows) or len(papers) < pairs.papers.num_rows,
    )


def _partners(pairs: Rows, *, among: Rows) -> dict[int, set[int]]:
    """Of each paper of `among`, what it stands with in `pairs`, on either side."""
    wanted = np.unique(among)
    found: dict[int, set[int]] = {}
    for one, other in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
        mine = np.isin(one, wanted)
        for row, partner in zip(one[mine].tolist(), other[mine].tolist(), strict=True):
            found.setdefault(row, set()).add(partner)
    return found


def _judged(name: str, papers: pa.Table) -> JudgedSet:
    columns = (papers.column(name).to_pylist() for name in ("id", "title", "abstract"))
    return JudgedSet(
        name=name,
        facet="",
        origin="own",
        papers=tuple(PoolPaper(id, title, abstract) for id, title, abstract in zip(*columns, strict=True)),
        pools=(),
        splits={},
        relevant_from=1,
        handled=(),
        fingerprint="",
    )


def _ranks(asked: _Asked, encoder: Encoder, progress: Progress) -> HeldOut:
    judged = asked.judged
    everything = np.arange(len(judged.papers), dtype=np.int32)
    whole = Pool(query="", row=0, rows=everything, grades=np.zeros(len(everything), dtype=np.int16))
    vectors = encode_set(judged, [whole], encoder, progress=progress)
    values: dict[HeldOutMetric, list[float]] = {name: [] for name in METRICS}
    sizes: list[int] = []
    count = len(asked.queries)

    def of_all(stage: str, done: int, _: int) -> None:
        progress(stage, len(sizes) + done, count)

    coming = asked.pools()
    while pools := list(islice(coming, max(1, MAX_CELLS // len(everything)))):
        ranking = rank_by_vectors(judged, pools, vectors, progress=of_all)
        for pool, ranked in zip(pools, ranking.pools, strict=True):
            relevant = np.isin(ranked.rows, pool.rows[pool.grades > 0])
            ranks = np.flatnonzero(relevant) + 1
            values["mean_rank"].append(float(ranks.mean()))
            values["MAP"].append(average_precision(relevant))
            values["recall@10"].append(float((ranks <= _TOP).mean()))
        sizes += [len(pool.rows) for pool in pools]
    arrays = {name: np.array(found) for name, found in values.items()}
    return HeldOut(
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        queries=count,
        papers=max(sizes),
        sampled=asked.sampled,
        median_rank=float(np.median(arrays["mean_rank"])),
        means={name: float(found.mean()) for name, found in arrays.items()},
        intervals={name: bootstrap_interval([found]) for name, found in arrays.items()},
        values=arrays,
    )
