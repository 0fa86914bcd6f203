"""The test pairs as a judged set: test papers ask, and the papers cited together with them are relevant."""

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from corpus.cocitations.pairs import TrainingPairs
from corpus.judged_sets.model import JudgedSet, PoolPaper, RawPool, judged_set, pool_paper

NAME = "held-out"
MOST_QUERIES = 1_000  # the interval of a mean over so many is narrower than what training moves
MOST_CANDIDATES = 5_000_000  # of all pools together: 60 MB of JSON


def held_out_set(pairs: TrainingPairs) -> JudgedSet | None:
    """The test split as a judged set whose ranks tell how near test pairs lie; None where there is no test pair.

    Queries: the papers of the test pairs. Candidates: all papers but the query's own and those that are cited together
    with it in training or dev. Relevant (grade 1): its partners in test. Where that would be more than MOST_QUERIES or
    MOST_CANDIDATES, a sample, told by hashes of the ids: the same queries for ever, and for each the same strangers.
    """
    partners: dict[int, set[int]] = defaultdict(set)
    for anchor, positive in pairs.test.tolist():
        partners[anchor].add(positive)
        partners[positive].add(anchor)
    if not partners:
        return None
    others: dict[int, set[int]] = defaultdict(set)
    for split in (pairs.train, pairs.dev):
        for anchor, positive in split[:, :2].tolist():
            if anchor in partners:
                others[anchor].add(positive)
            if positive in partners:
                others[positive].add(anchor)
    ids: list[str] = pairs.papers["id"].to_pylist()
    queries = _sample(sorted(partners), ids, most=MOST_QUERIES)
    strangers = _sample(range(len(ids)), ids, most=max(1, MOST_CANDIDATES // len(queries)))
    sampled = len(queries) < len(partners) or len(strangers) < len(ids)
    rows = sorted({*queries, *strangers}.union(*(partners[row] for row in queries)))
    wanted = np.zeros(len(ids), bool)
    wanted[rows] = True
    used = pairs.papers.select(["id", "title", "abstract"]).filter(pa.array(wanted))
    papers = dict(zip(rows, map(_paper, used.to_pylist()), strict=True))

    def pools() -> Iterator[RawPool]:
        for row in queries:
            left_out = others[row] | {row}
            candidates = sorted({*strangers, *partners[row]} - left_out)
            yield RawPool(
                papers[row].id,
                papers[row].id,
                [papers[one].id for one in candidates],
                [int(one in partners[row]) for one in candidates],
            )

    return judged_set(
        name=NAME,
        origin="constructed",
        papers={paper.id: paper for paper in papers.values()},
        pools=pools(),
        splits={"test": [[papers[row].id for row in queries]]},
        relevant_from=1,
        rules=(
            "Test pairs of co-cited papers. Each query is a paper of one; relevant are those cited together with it in "
            "the test split; candidates are the other papers but those cited together with it in training or dev."
            + (f" A sample: {len(queries):,} queries and {len(strangers):,} candidates." if sampled else "")
        ),
    )


def _sample(rows: Sequence[int], ids: Sequence[str], *, most: int) -> list[int]:
    """At most so many of the rows, in order: those whose ids have the lowest hashes."""
    if len(rows) <= most:
        return list(rows)
    lowest = heapq.nsmallest(most, rows, key=lambda row: hashlib.sha256(ids[row].encode("utf-8", "replace")).digest())
    return sorted(lowest)


def _paper(record: dict[str, str]) -> PoolPaper:
    return pool_paper(record["id"], record["title"], record["abstract"])
