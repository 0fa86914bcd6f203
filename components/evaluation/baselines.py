"""Peers: rankings by shared words, TF-IDF and BM25, which an encoder should beat.

Both count a word's papers over all papers of the asked pools, queries among them, and read title and abstract as one
text. Neither stems. Each has its library's own list of English stop words.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.ranking import RankingError, Rows, rank_by_scores
from components.evaluation.results import Ranking, System
from corpus.judged_sets.model import JudgedSet, Pool
from corpus.progress import Progress, no_progress

COUNTING = "Counting words"  # the stage's name

TFIDF_SETTINGS = {
    "sublinear_tf": True,  # 1 + ln(count)
    "stop_words": "english",
    "token_pattern": r"(?u)\b\w\w+\b",
    "norm": "l2",  # so that a product of two rows is their cosine
    "smooth_idf": True,  # 1 + ln((1 + papers) / (1 + papers with the word))
}
BM25_SETTINGS = {
    # bm25s's defaults, as it measures itself by; Lucene's own are k1 = 1.2 and b = 0.75.
    "method": "lucene",
    "k1": 1.5,
    "b": 0.75,
    "stopwords": "english",
    "token_pattern": r"(?u)\b\w\w+\b",
}
_CHUNK = 1024  # texts between two looks at whether to stop


def tfidf_system() -> System:
    """TF-IDF, as an evaluation names it."""
    return System(kind="tfidf", name="TF-IDF", fingerprint=_fingerprint("tfidf", TFIDF_SETTINGS))


def bm25_system() -> System:
    """BM25, as an evaluation names it."""
    return System(kind="bm25", name="BM25", fingerprint=_fingerprint("bm25", BM25_SETTINGS))


def rank_by_tfidf(judged: JudgedSet, pools: Sequence[Pool], *, progress: Progress = no_progress) -> Ranking:
    """Every pool by the cosine of TF-IDF vectors (TFIDF_SETTINGS), highest first.

    Raises RankingError where no text has a word, and what `progress` does.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    needed = _needed(judged, pools)
    vectorizer = TfidfVectorizer(
        sublinear_tf=TFIDF_SETTINGS["sublinear_tf"],
        stop_words=TFIDF_SETTINGS["stop_words"],
        token_pattern=TFIDF_SETTINGS["token_pattern"],
        norm=TFIDF_SETTINGS["norm"],
        smooth_idf=TFIDF_SETTINGS["smooth_idf"],
    )
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
    """Every pool by BM25 (BM25_SETTINGS), highest first. A word that the query has twice counts twice.

    Raises RankingError where no text has a word, and what `progress` does.
    """
    import bm25s
    from scipy import sparse

    needed = _needed(judged, pools)
    vocabulary: dict[str, int] = {}
    words: list[list[int]] = []
    for chunk in _text_chunks(judged, needed, progress):
        found = bm25s.tokenize(
            chunk,
            token_pattern=BM25_SETTINGS["token_pattern"],
            stopwords=BM25_SETTINGS["stopwords"],
            show_progress=False,
        )
        ours = {number: vocabulary.setdefault(word, len(vocabulary)) for word, number in found.vocab.items()}
        words += [[ours[number] for number in text] for text in found.ids]
    if not vocabulary:
        raise _no_words(judged)
    # Not compiled on the spot, which takes longer than what it would save here.
    index = bm25s.BM25(
        method=BM25_SETTINGS["method"],
        k1=BM25_SETTINGS["k1"],
        b=BM25_SETTINGS["b"],
        csc_backend="scipy",
        auto_compile=False,
    )
    index.index((words, vocabulary), create_empty_token=False, show_progress=False)
    # Its own search scores every paper for every query; its table of scores serves for pools alone.
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

    def products(asked: Rows, candidates: Rows) -> NDArray[np.float32]:
        found = documents[at[candidates]] @ queries[at[asked]].T
        return np.ascontiguousarray(found.astype(np.float32).toarray().T)

    return rank_by_scores(judged, pools, products, ascending=False, progress=progress)


def _needed(judged: JudgedSet, pools: Sequence[Pool]) -> Rows:
    """The rows of the papers of pools and queries, sorted."""
    found = np.zeros(len(judged.papers), dtype=bool)
    for pool in pools:
        found[pool.rows] = found[pool.row] = True
    return np.flatnonzero(found).astype(np.int32)


def _text_chunks(judged: JudgedSet, rows: Rows, progress: Progress) -> Iterator[list[str]]:
    for start in range(0, len(rows), _CHUNK):
        progress(COUNTING, start, len(rows))
        papers = [judged.papers[row] for row in rows[start : start + _CHUNK]]
        yield [f"{paper.title} {paper.abstract}" for paper in papers]
    progress(COUNTING, len(rows), len(rows))


def _no_words(judged: JudgedSet) -> RankingError:
    return RankingError(
        f"{judged.name}: its titles and abstracts hold stop words and signs alone, so nothing can be ranked by words. "
        "Rank it with an encoder."
    )


def _fingerprint(name: str, settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([name, settings], sort_keys=True).encode()).hexdigest()
