"""The test pairs as a judged set: test papers ask, and the papers cited together with them are relevant."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator

from corpus.cocitations.pairs import TrainingPairs
from corpus.pools import JudgedSet, PoolPaper
from corpus.pools.checking import RawPool, judged_set, pool_paper

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
    for rows in (pairs.train, pairs.dev):
        wanted = {*partners}
        for anchor, positive in rows[:, :2].tolist():
            if anchor in wanted:
                others[anchor].add(positive)
            if positive in wanted:
                others[positive].add(anchor)
    papers = [
        pool_paper(id, title, abstract)
        for id, title, abstract in zip(*(pairs.papers[name].to_pylist() for name in _TEXTS), strict=True)
    ]
    queries = sorted(sorted(partners, key=lambda row: _place(papers[row].id))[:MOST_QUERIES])
    strangers = list(range(len(papers)))
    most = max(1, MOST_CANDIDATES // len(queries))
    if len(strangers) > most:
        strangers = sorted(sorted(strangers, key=lambda row: _place(papers[row].id))[:most])
    sampled = len(queries) < len(partners) or len(strangers) < len(papers)

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
        papers=_by_id(papers),
        pools=pools(),
        splits={"test": [[papers[row].id for row in queries]]},
        relevant_from=1,
        rules=(
            "Test pairs of co-cited papers. Each query is a paper of one; relevant are those cited together with it in "
            "the test split; candidates are the other papers but those cited together with it in training or dev."
            + (f" A sample: {len(queries):,} queries and {len(strangers):,} candidates." if sampled else "")
        ),
    )


_TEXTS = ("id", "title", "abstract")


def _by_id(papers: list[PoolPaper]) -> dict[str, PoolPaper]:
    return {paper.id: paper for paper in papers}


def _place(id: str) -> bytes:
    return hashlib.sha256(id.encode("utf-8", "replace")).digest()
