"""Baselines: rankings by shared words (TF-IDF, BM25), which an encoder should beat.

Both count document frequencies over all papers of the pools, queries included, and read title and abstract as one text,
without stemming, each with its library's English stop words.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.ranking import Ranking, RankingError, Rows, needed_rows, rank_by_scores
from components.evaluation.results import System
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.progress import Progress, no_progress

COUNTING = "Counting words"  # the stage's name

TFIDF_SETTINGS: dict[str, Any] = {
    "sublinear_tf": True,  # 1 + ln(count)
    "stop_words": "english",
    "token_pattern": r"(?u)\b\w\w+\b",
    "norm": "l2",  # the product of two rows is then their cosine
    "smooth_idf": True,  # 1 + ln((1 + papers) / (1 + papers with the word))
}
BM25_SETTINGS: dict[str, Any] = {
    # bm25s's defaults; Lucene's own are k1 = 1.2 and b = 0.75.
    "method": "lucene",
    "k1": 1.5,
    "b": 0.75,
    "stopwords": "english",
    "token_pattern": r"(?u)\b\w\w+\b",
}
_TOKENS = {name: BM25_SETTINGS[name] for name in ("stopwords", "token_pattern")}
_CHUNK = 1024  # texts between two progress reports


def tfidf_system() -> System:
    """TF-IDF as the system of an evaluation."""
    return System(kind="tfidf", name="TF-IDF", fingerprint=_fingerprint("tfidf", TFIDF_SETTINGS))


def bm25_system() -> System:
    """BM25 as the system of an evaluation."""
    return System(kind="bm25", name="BM25", fingerprint=_fingerprint("bm25", BM25_SETTINGS))


def rank_by_tfidf(judged: JudgedSet, pools: Sequence[Pool], *, progress: Progress = no_progress) -> Ranking:
    """Rank every pool by the cosine of TF-IDF vectors (TFIDF_SETTINGS).

    Raises RankingError where no text has a word, and what `progress` raises.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    needed = needed_rows(judged, pools)
    vectorizer = TfidfVectorizer(**TFIDF_SETTINGS)
    try:
        weights = vectorizer.fit_transform(
            text for chunk in _text_chunks(judged, needed, progress) for text in chunk
        ).tocsr()
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        raise _no_words(judged) from error
    return _rank_by_words(judged, pools, needed, documents=weights, queries=weights, progress=progress)


def rank_by_bm25(judged: JudgedSet, pools: Sequence[Pool], *, progress: Progress = no_progress) -> Ranking:
    """Rank every pool by BM25 (BM25_SETTINGS). A word that the query has twice counts twice.

    Raises RankingError where no text has a word, and what `progress` raises.
    """
    import bm25s
    from scipy import sparse

    needed = needed_rows(judged, pools)
    vocabulary: dict[str, int] = {}
    words: list[list[int]] = []
    for chunk in _text_chunks(judged, needed, progress):
        tokens = bm25s.tokenize(chunk, **_TOKENS, show_progress=False)
        ids = {number: vocabulary.setdefault(word, len(vocabulary)) for word, number in tokens.vocab.items()}
        words += [[ids[number] for number in text] for text in tokens.ids]
    if not vocabulary:
        raise _no_words(judged)
    # Compilation takes longer than it would save here.
    weighting = {name: value for name, value in BM25_SETTINGS.items() if name not in _TOKENS}
    index = bm25s.BM25(**weighting, csc_backend="scipy", auto_compile=False)
    index.index((words, vocabulary), create_empty_token=False, show_progress=False)
    # bm25s's own search scores every paper for every query; its score matrix serves for pools alone.
    parts = (index.scores["data"].astype(np.float64), index.scores["indices"], index.scores["indptr"])
    shape = (len(needed), len(vocabulary))
    documents = sparse.csc_matrix(parts, shape=shape).tocsr()
    ends = np.cumsum([0, *map(len, words)])
    columns = np.fromiter((word for text in words for word in text), dtype=np.int64, count=int(ends[-1]))
    counts = sparse.csr_matrix((np.ones(len(columns)), columns, ends), shape=shape)
    counts.sum_duplicates()
    return _rank_by_words(judged, pools, needed, documents=documents, queries=counts, progress=progress)


def _rank_by_words(
    judged: JudgedSet, pools: Sequence[Pool], needed: Rows, *, documents: Any, queries: Any, progress: Progress
) -> Ranking:
    """documents, queries: sparse (needed, words); the score of a pair is the product of their rows."""
    at = np.zeros(len(judged.papers), dtype=np.int64)
    at[needed] = np.arange(len(needed))

    def products(queries_rows: Rows, candidates: Rows) -> NDArray[np.float32]:
        scores = documents[at[candidates]] @ queries[at[queries_rows]].T
        return np.ascontiguousarray(scores.astype(np.float32).toarray().T)

    return rank_by_scores(judged, pools, products, ascending=False, progress=progress)


def _text_chunks(judged: JudgedSet, rows: Rows, progress: Progress) -> Iterator[list[str]]:
    for start in range(0, len(rows), _CHUNK):
        progress(COUNTING, start, len(rows))
        papers = [judged.papers[row] for row in rows[start : start + _CHUNK]]
        yield [f"{paper.title} {paper.abstract}" for paper in papers]
    progress(COUNTING, len(rows), len(rows))


def _no_words(judged: JudgedSet) -> RankingError:
    return RankingError(
        f"{judged.name}: its titles and abstracts have no words but stop words, so nothing can be ranked by words. "
        "Rank it with an encoder."
    )


def _fingerprint(name: str, settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([name, settings], sort_keys=True).encode()).hexdigest()
