"""A set for any corpus whose papers have topics: what shares rare ones stands for what people would call similar."""

import math
import random
from collections import Counter

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.paper import paper_at, text_hash
from corpus.pools.checking import RawPool, judged_set, pool_paper
from corpus.pools.judged import JudgedSet, SetError

_SAMPLE = 600  # papers: each query's pool but itself
_FEWEST_TOPICS = 3  # rare ones, of a paper in the sample
_RARE = 0.1  # of the papers: a topic that more have says little
_ALIKE, _RELATED = 0.3, 0.15  # idf-weighted Jaccard from which a paper has grade 2, and 1
_RULES = (
    "Constructed from the topics of the corpus (subject headings, keywords); nobody judged it. A random sample of at "
    f"most {_SAMPLE} papers, none with the text of another, that have {_FEWEST_TOPICS} or more topics which fewer than "
    f"{_RARE:.0%} of the {{papers:,}} papers of the corpus have. Two papers are compared by those topics: the idf "
    f"weight of what they share over that of all that either has. Grade 2 is {_ALIKE} or more, grade 1 {_RELATED} or "
    "more; grade 2 is relevant. Queries are at most {queries} papers of the sample, drawn at random, that have a "
    "relevant one; a query's pool is the rest of the sample. All drawn by Python's random.Random({seed})."
)


def build_from_topics(papers: pa.Table, *, name: str, queries: int = 100, seed: int = 0) -> JudgedSet:
    """A judged set of a corpus that has topics, in which nobody judged: its rules say so. All queries are one split.

    papers: of `corpus.paper.SCHEMA`. Raises SetError where too few papers share rare topics.
    """
    if queries < 1:
        raise SetError(f"{name}: {queries} queries are none. Ask for 1 or more.")
    topics_of = [{topic.casefold() for topic in topics} for topics in papers.column("topics").to_pylist()]
    count = Counter(topic for topics in topics_of for topic in topics)
    n = len(topics_of)
    rare = {topic: math.log(n / found) for topic, found in count.items() if found < _RARE * n}
    draw = random.Random(seed)  # noqa: S311
    rows = [row for row, topics in enumerate(topics_of) if len(topics & rare.keys()) >= _FEWEST_TOPICS]
    draw.shuffle(rows)
    sample = _distinct(papers, rows)
    weights = _shared([topics_of[row] & rare.keys() for row in sample], rare)
    grades = np.where(weights >= _ALIKE, 2, np.where(weights >= _RELATED, 1, 0))
    np.fill_diagonal(grades, 0)
    asking = [i for i in range(len(sample)) if grades[i].max(initial=0) == 2]
    draw.shuffle(asking)
    if not asking:
        raise SetError(
            f"{name}: of {n:,} papers, {len(sample):,} have {_FEWEST_TOPICS} rare topics or more, and no two of "
            "them are alike by these. Choose a larger corpus, or one with subject headings or keywords."
        )
    texts = [paper_at(papers, row) for row in sample]
    return judged_set(
        name=name,
        origin="constructed",
        papers={paper.id: pool_paper(paper.id, paper.title, paper.abstract) for paper in texts},
        pools=(
            RawPool(
                query=texts[i].id,
                paper=texts[i].id,
                candidates=[paper.id for j, paper in enumerate(texts) if j != i],
                grades=[int(grade) for j, grade in enumerate(grades[i]) if j != i],
            )
            for i in asking[:queries]
        ),
        splits={},
        relevant_from=2,
        rules=_RULES.format(papers=n, queries=queries, seed=seed),
    )


def _distinct(papers: pa.Table, rows: list[int]) -> list[int]:
    """The first rows whose papers have texts, and none the text of another."""
    seen: set[bytes] = set()
    kept: list[int] = []
    titles, abstracts = papers.column("title"), papers.column("abstract")
    for row in rows:
        title, abstract = titles[row].as_py(), abstracts[row].as_py()
        if (title or abstract) and (text := text_hash(title, abstract)) not in seen:
            seen.add(text)
            kept.append(row)
        if len(kept) == _SAMPLE:
            break
    return kept


def _shared(topics: list[set[str]], weight: dict[str, float]) -> NDArray[np.float64]:
    """The idf-weighted Jaccard of each two papers: (n, n)."""
    column = {topic: i for i, topic in enumerate(sorted(set().union(*topics)))}
    there = np.zeros((len(topics), len(column)))
    for row, own in enumerate(topics):
        there[row, [column[topic] for topic in own]] = 1
    weights = np.array([weight[topic] for topic in column])
    both = (there * weights) @ there.T
    alone = np.diag(both)
    either = alone[:, None] + alone[None, :] - both
    alike: NDArray[np.float64] = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    return alike
