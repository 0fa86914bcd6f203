"""A judged set from any corpus with topics: papers that share rare topics count as similar. Not judged by people."""

import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.judged_sets.model import JudgedSet, RawPool, SetError, judged_set, pool_paper
from corpus.paper import paper_at, text_hash

_SAMPLE = 600  # papers; a query's pool is all others
_MIN_TOPICS = 3  # rare topics of a paper in the sample
_RARE = 0.1  # a rare topic is that of a smaller share of the papers
_SIMILAR, _RELATED = 0.3, 0.15  # the lowest idf-weighted Jaccard of grades 2 and 1
_DRAWN_ALONG = 4  # similar papers per query: at random, 4 in 600 of MEDLINE's are similar to any
_CANDIDATE_QUERIES = 5_000  # papers that are tried as queries
_RULES = (
    "Constructed from the topics of the corpus (subject headings, keywords); nobody judged it. Compared are papers "
    f"with {_MIN_TOPICS} or more topics which fewer than {_RARE:.0%} of the {{papers:,}} papers of the corpus have, "
    "by the idf weight of the topics that two papers share over that of those that either has. Grade 2 is "
    f"{_SIMILAR} or more, grade 1 {_RELATED} or more; grade 2 is relevant. A sample of at most {_SAMPLE} papers, none "
    "with the text of another, is drawn: {queries} at most that have papers of grade 2, each with up to "
    f"{_DRAWN_ALONG} of these, and the rest at random. Queries are {{queries}} papers of it at most that have a "
    "relevant one; a query's pool is the rest of the sample. All drawn by Python's random.Random({seed})."
)


def build_from_topics(papers: pa.Table, *, name: str, queries: int = 100, seed: int = 0) -> JudgedSet:
    """A judged set from the topics of a corpus; its rules say that people did not judge it. All queries are one split.

    papers: of `corpus.paper.SCHEMA`. Raises SetError where no two papers share enough rare topics.
    """
    if queries < 1:
        raise SetError(f"{name}: {queries} queries: ask for 1 or more.")
    draw = random.Random(seed)  # noqa: S311
    rows, similarity = _compare(papers)
    sample = _sample(papers, rows, similarity, draw, queries=queries)
    weights = similarity.to(sample)[:, sample]
    grades = np.where(weights >= _SIMILAR, 2, np.where(weights >= _RELATED, 1, 0))
    np.fill_diagonal(grades, 0)
    query_rows = [i for i in range(len(sample)) if grades[i].max() == 2]
    draw.shuffle(query_rows)
    if not query_rows:
        raise SetError(
            f"{name}: of {papers.num_rows:,} papers, {len(rows):,} have {_MIN_TOPICS} rare topics or more, and "
            "no two of them share enough. Choose a larger corpus, or one with subject headings or keywords."
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
            for i in query_rows[:queries]
        ),
        splits={},
        relevant_from=2,
        rules=_RULES.format(papers=papers.num_rows, queries=queries, seed=seed),
    )


class _Similarity:
    """Similarity of papers by their topics.

    topics: of each paper, never empty. weight: of each topic, above 0.
    """

    def __init__(self, topics: list[set[str]], weight: dict[str, float]) -> None:
        from scipy import sparse

        column = {topic: i for i, topic in enumerate(sorted(weight))}
        places = [column[topic] for own in topics for topic in sorted(own)]
        starts = np.cumsum([0, *map(len, topics)])
        self._matrix: Any = sparse.csr_array(
            (np.ones(len(places)), places, starts), shape=(len(topics), max(1, len(column)))
        )
        self._transposed: Any = self._matrix.T.tocsr()
        self._weighted: Any = self._matrix * np.array([[weight[topic] for topic in column] or [0.0]])
        self._sums: NDArray[np.float64] = self._weighted.sum(axis=1)

    def to(self, rows: list[int]) -> NDArray[np.float64]:
        """The idf-weighted Jaccard of these papers to all: (rows, all)."""
        shared: NDArray[np.float64] = (self._weighted[rows] @ self._transposed).toarray()
        return shared / (self._sums[rows][:, None] + self._sums[None, :] - shared)


def _compare(papers: pa.Table) -> tuple[list[int], _Similarity]:
    """The rows of the papers with enough rare topics, and their similarity."""
    topics_of = [{topic.casefold() for topic in topics} for topics in papers.column("topics").to_pylist()]
    count = Counter(topic for topics in topics_of for topic in topics)
    n = papers.num_rows
    rare = {topic: math.log(n / papers_with) for topic, papers_with in count.items() if papers_with < _RARE * n}
    rows = [row for row, topics in enumerate(topics_of) if len(topics & rare.keys()) >= _MIN_TOPICS]
    return rows, _Similarity([topics_of[row] & rare.keys() for row in rows], rare)


def _sample(
    papers: pa.Table, rows: list[int], similarity: _Similarity, draw: random.Random, *, queries: int
) -> list[int]:
    """The rows of the sample, in the order in which they were drawn."""
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

    drawn = 0
    for i in order[:_CANDIDATE_QUERIES]:
        if drawn == queries or len(sample) == _SAMPLE:
            break
        near = similarity.to([i])[0]
        near[i] = 0
        best = np.argsort(-near, kind="stable")[:_DRAWN_ALONG]
        if i not in sample and near[best[0]] >= _SIMILAR:
            drawn += 1
            for row in (i, *best[near[best] >= _SIMILAR].tolist()):
                take(row)
    for i in order:
        take(i)
    return list(sample)
