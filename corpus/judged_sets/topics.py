"""A set for any corpus whose papers have topics: what shares rare ones stands for what people would call similar."""

import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.judged_sets.checking import RawPool, judged_set, pool_paper
from corpus.judged_sets.judged import JudgedSet, SetError
from corpus.paper import paper_at, text_hash

_SAMPLE = 600  # papers: each query's pool but itself
_FEWEST_TOPICS = 3  # rare ones, of a paper in the sample
_RARE = 0.1  # of the papers: a topic that more have says little
_ALIKE, _RELATED = 0.3, 0.15  # idf-weighted Jaccard from which a paper has grade 2, and 1
_DRAWN_ALONG = 4  # of papers drawn at random alone, few are alike: 4 in 600 of MEDLINE's
_LOOKED_AT = 5_000  # papers, of which those that have a paper alike are drawn first
_RULES = (
    "Constructed from the topics of the corpus (subject headings, keywords); nobody judged it. Compared are papers "
    f"with {_FEWEST_TOPICS} or more topics which fewer than {_RARE:.0%} of the {{papers:,}} papers of the corpus have, "
    "by the idf weight of the topics that two papers share over that of those that either has. Grade 2 is "
    f"{_ALIKE} or more, grade 1 {_RELATED} or more; grade 2 is relevant. A sample of at most {_SAMPLE} papers, none "
    "with the text of another, is drawn: {queries} at most that have papers of grade 2, each with up to "
    f"{_DRAWN_ALONG} of these, and the rest at random. Queries are {{queries}} papers of it at most that have a "
    "relevant one; a query's pool is the rest of the sample. All drawn by Python's random.Random({seed})."
)


def build_from_topics(papers: pa.Table, *, name: str, queries: int = 100, seed: int = 0) -> JudgedSet:
    """A judged set of a corpus that has topics, in which nobody judged: its rules say so. All queries are one split.

    papers: of `corpus.paper.SCHEMA`. Raises SetError where no two papers share enough rare topics.
    """
    if queries < 1:
        raise SetError(f"{name}: {queries} queries are none. Ask for 1 or more.")
    draw = random.Random(seed)  # noqa: S311
    rows, alike = _compared(papers)
    sample = _sample(papers, rows, alike, draw, queries=queries)
    weights = alike.to(sample)[:, sample]
    grades = np.where(weights >= _ALIKE, 2, np.where(weights >= _RELATED, 1, 0))
    np.fill_diagonal(grades, 0)
    asking = [i for i in range(len(sample)) if grades[i].max() == 2]
    draw.shuffle(asking)
    if not asking:
        raise SetError(
            f"{name}: of {papers.num_rows:,} papers, {len(rows):,} have {_FEWEST_TOPICS} rare topics or more, and "
            "no two of them are alike by these. Choose a larger corpus, or one with subject headings or keywords."
        )
    texts = [paper_at(papers, rows[i]) for i in sample]
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
        rules=_RULES.format(papers=papers.num_rows, queries=queries, seed=seed),
    )


class _Alike:
    """How alike papers are by their topics.

    topics: of each paper, none empty. weight: of each topic, above 0.
    """

    def __init__(self, topics: list[set[str]], weight: dict[str, float]) -> None:
        from scipy import sparse

        column = {topic: i for i, topic in enumerate(sorted(weight))}
        places = [column[topic] for own in topics for topic in sorted(own)]
        starts = np.cumsum([0, *map(len, topics)])
        self._there: Any = sparse.csr_array(
            (np.ones(len(places)), places, starts), shape=(len(topics), max(1, len(column)))
        )
        self._turned: Any = self._there.T.tocsr()
        self._weighed: Any = self._there * np.array([[weight[topic] for topic in column] or [0.0]])
        self._sums: NDArray[np.float64] = self._weighed.sum(axis=1)

    def to(self, some: list[int]) -> NDArray[np.float64]:
        """The idf-weighted Jaccard of some papers to all: (some, all)."""
        both: NDArray[np.float64] = (self._weighed[some] @ self._turned).toarray()
        return both / (self._sums[some][:, None] + self._sums[None, :] - both)


def _compared(papers: pa.Table) -> tuple[list[int], _Alike]:
    """The rows of the papers that have texts and rare topics enough, and how alike they are."""
    topics_of = [{topic.casefold() for topic in topics} for topics in papers.column("topics").to_pylist()]
    count = Counter(topic for topics in topics_of for topic in topics)
    n = papers.num_rows
    rare = {topic: math.log(n / found) for topic, found in count.items() if found < _RARE * n}
    rows = [row for row, topics in enumerate(topics_of) if len(topics & rare.keys()) >= _FEWEST_TOPICS]
    return rows, _Alike([topics_of[row] & rare.keys() for row in rows], rare)


def _sample(papers: pa.Table, rows: list[int], alike: _Alike, draw: random.Random, *, queries: int) -> list[int]:
    """Which of the rows are in the sample, in the order in which they were drawn."""
    titles, abstracts = papers.column("title"), papers.column("abstract")
    order = list(range(len(rows)))
    draw.shuffle(order)
    texts: set[bytes] = set()
    sample: dict[int, None] = {}

    def take(i: int) -> None:
        title, abstract = titles[rows[i]].as_py(), abstracts[rows[i]].as_py()
        text = text_hash(title, abstract)
        if len(sample) < _SAMPLE and (title or abstract) and text not in texts:
            texts.add(text)
            sample[i] = None

    found = 0
    for i in order[:_LOOKED_AT]:
        if found == queries or len(sample) == _SAMPLE:
            break
        near = alike.to([i])[0]
        near[i] = 0
        best = np.argsort(-near, kind="stable")[:_DRAWN_ALONG]
        if i not in sample and near[best[0]] >= _ALIKE:
            found += 1
            for one in (i, *best[near[best] >= _ALIKE].tolist()):
                take(one)
    for i in order:
        take(i)
    return list(sample)
