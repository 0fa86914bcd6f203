"""TF-IDF and BM25 against their formulas in plain Python, and against bm25s's own search."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable

import bm25s
import numpy as np
import pytest
from bm25s.stopwords import STOPWORDS_EN
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from components.evaluation.baselines import rank_by_bm25, rank_by_tfidf
from components.evaluation.ranking import Ranking, RankingError
from corpus.judged_sets.model import JudgedSet

Sets = Callable[..., JudgedSet]
WORD = st.sampled_from(["heart", "Heart", "failure", "galaxy", "star", "the", "of", "a", "β-blocker", "2021", "made,"])
TEXT = st.lists(WORD, max_size=9).map(" ".join)
TEXTS = st.lists(st.tuples(TEXT, TEXT), min_size=3, max_size=8)


def words(text: str, stop_words: object) -> list[str]:
    return [word for word in re.findall(r"(?u)\b\w\w+\b", text.lower()) if word not in stop_words]  # type: ignore[operator]


def tfidf_oracle(query: str, candidate: str, texts: list[str]) -> float:
    n = len(texts)
    papers = Counter(word for text in texts for word in set(words(text, ENGLISH_STOP_WORDS)))

    def weights(text: str) -> dict[str, float]:
        counts = Counter(words(text, ENGLISH_STOP_WORDS))
        raw = {w: (1 + math.log(c)) * (1 + math.log((1 + n) / (1 + papers[w]))) for w, c in counts.items()}
        length = math.sqrt(sum(value**2 for value in raw.values())) or 1.0
        return {w: value / length for w, value in raw.items()}

    mine, theirs = weights(query), weights(candidate)
    return sum(value * theirs.get(word, 0.0) for word, value in mine.items())


def bm25_oracle(query: str, candidate: str, texts: list[str]) -> float:
    n = len(texts)
    lengths = [len(words(text, STOPWORDS_EN)) for text in texts]
    papers = Counter(word for text in texts for word in set(words(text, STOPWORDS_EN)))
    counts = Counter(words(candidate, STOPWORDS_EN))
    scale = 1.5 * (0.25 + 0.75 * sum(counts.values()) / (sum(lengths) / n))
    return sum(
        math.log(1 + (n - papers[word] + 0.5) / (papers[word] + 0.5)) * counts[word] / (counts[word] + scale)
        for word in words(query, STOPWORDS_EN)
        if counts[word]
    )


def planted(judged_set: Sets, texts: list[tuple[str, str]], queries: int) -> JudgedSet:
    """The first papers are queries, with all others as candidates."""
    ids = [f"p{i}" for i in range(len(texts))]
    grades = {one: dict.fromkeys(ids[:i] + ids[i + 1 :], 0) for i, one in enumerate(ids[:queries])}
    return judged_set(grades, ids=ids, texts=dict(zip(ids, texts, strict=True)))


@pytest.mark.parametrize(("rank", "oracle"), [(rank_by_tfidf, tfidf_oracle), (rank_by_bm25, bm25_oracle)])
@given(TEXTS, st.integers(1, 3))
@settings(max_examples=40)
def test_scores_are_those_of_the_formula(
    judged_set: Sets,
    rank: Callable[..., Ranking],
    oracle: Callable[[str, str, list[str]], float],
    texts: list[tuple[str, str]],
    queries: int,
) -> None:
    judged = planted(judged_set, [("valve", "stent"), *texts], queries)
    joined = [f"{paper.title} {paper.abstract}" for paper in judged.papers]
    ranking = rank(judged, judged.pools)
    assert not ranking.ascending
    for pool, ranked in zip(judged.pools, ranking.pools, strict=True):
        expected = [oracle(joined[pool.row], joined[row], joined) for row in ranked.rows]
        assert ranked.scores.tolist() == pytest.approx(expected, abs=1e-5)
        assert sorted(ranked.rows.tolist()) == sorted(pool.rows.tolist())
        assert (np.diff(ranked.scores) <= 0).all()


def test_bm25_is_that_of_bm25s(judged_set: Sets) -> None:
    rng = np.random.default_rng(1)
    vocabulary = np.array([f"w{i}" for i in range(60)])
    texts = [(" ".join(rng.choice(vocabulary, 5)), " ".join(rng.choice(vocabulary[:30], 40))) for _ in range(50)]
    judged = planted(judged_set, texts, 4)
    tokens = bm25s.tokenize([f"{title} {abstract}" for title, abstract in texts], return_ids=False, show_progress=False)
    index = bm25s.BM25()
    index.index(tokens, show_progress=False)
    for pool, ranked in zip(judged.pools, rank_by_bm25(judged, judged.pools).pools, strict=True):
        theirs = index.get_scores(tokens[pool.row])
        assert ranked.scores.tolist() == pytest.approx(theirs[ranked.rows].tolist(), rel=1e-5)


@pytest.mark.parametrize("rank", [rank_by_tfidf, rank_by_bm25])
def test_shared_words_come_first_and_equal_texts_are_a_tie(judged_set: Sets, rank: Callable[..., Ranking]) -> None:
    heart, star = ("Heart failure", "beta blockers in heart failure"), ("Stars", "a galaxy of stars")
    ids = ["q", "b", "x", "a", "c", "y"]
    judged = judged_set(
        {"q": dict.fromkeys(ids[1:], 0)}, texts={"q": heart, "a": heart, "b": heart, "c": heart, "x": star, "y": star}
    )
    ranked = rank(judged, judged.pools).pools[0]
    assert [judged.papers[row].id for row in ranked.rows] == ["c", "b", "a", "y", "x"]
    assert len(set(ranked.scores[:3].tolist())) == 1
    assert ranked.scores[3:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rank", [rank_by_tfidf, rank_by_bm25])
def test_document_frequencies_are_of_the_given_pools(judged_set: Sets, rank: Callable[..., Ranking]) -> None:
    texts = {"q": ("heart", "valve"), "a": ("heart", "stent"), "b": ("valve", "graft")}
    alone = judged_set({"q": {"a": 0, "b": 0}}, texts=texts)
    among = judged_set({"q": {"a": 0, "b": 0}, "r": {"c": 0, "d": 0}}, texts=texts)
    expected = rank(alone, alone.pools).pools[0].scores.tolist()
    assert rank(among, among.pools[:1]).pools[0].scores.tolist() == expected
    assert rank(among, among.pools).pools[0].scores.tolist() != expected


@pytest.mark.parametrize("rank", [rank_by_tfidf, rank_by_bm25])
@pytest.mark.parametrize("text", ["", "the of and", "? – !", "a b c"])
def test_sets_without_words_are_refused_and_papers_without_words_score_0(
    judged_set: Sets, rank: Callable[..., Ranking], text: str
) -> None:
    empty = judged_set({"q": {"a": 0, "b": 0}}, texts=dict.fromkeys("qab", (text, "")))
    with pytest.raises(RankingError, match="planted: its titles and abstracts have no words but stop words"):
        rank(empty, empty.pools)
    some = judged_set({"q": {"a": 0, "b": 0}}, texts={"q": (text, ""), "a": ("heart", ""), "b": (text, "")})
    assert rank(some, some.pools).pools[0].scores.tolist() == [0.0, 0.0]


def test_a_word_twice_in_the_query_counts_twice_in_bm25(judged_set: Sets) -> None:
    texts = {"q": ("heart heart", "valve"), "a": ("heart", "stent"), "b": ("valve", "graft")}
    judged = judged_set({"q": {"a": 0, "b": 0}}, texts=texts)
    first, second = rank_by_bm25(judged, judged.pools).pools[0].scores.tolist()
    assert first == pytest.approx(2 * second)
