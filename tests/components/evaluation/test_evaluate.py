"""One evaluation from end to end: its scores against plain ones, its facts, and stopping it at any point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from components.encoder.base import ENCODING
from components.encoder.bi_encoder import load_encoder
from components.evaluation import store
from components.evaluation.evaluate import SCORING, SystemSpec, default_split, evaluate_and_save, evaluate_set
from components.evaluation.ranking import RANKING
from components.evaluation.results import PoolSizes, SystemKind, evaluation_id
from corpus.judged_sets.model import DataIssue, JudgedSet, SetError
from corpus.progress import Cancelled

MakeSet = Callable[..., JudgedSet]
WORDS = {
    "a": ("heart failure", "of the heart"),
    "b": ("heart and star", "failure in galaxys"),
    "c": ("galaxy", "a star in the galaxy"),
    "d": ("stars", "and a heart"),
    "e": ("failure", ""),
    "f": ("the galaxy and the star", "heart"),
}


@pytest.fixture
def judged(judged_set: MakeSet, home: Path) -> JudgedSet:
    grades = {query: {one: (i + j) % 3 for j, one in enumerate(WORDS) if one != query} for i, query in enumerate(WORDS)}
    found = judged_set(grades, texts=WORDS, folds=[["a", "b"], ["c", "d", "e", "f"]], relevant_from=2)
    return replace(found, handled=(DataIssue("title_only", 1, ("e",)),))


def by_hand(judged: JudgedSet, vectors: np.ndarray) -> tuple[float, float]:
    """MAP and NDCG%20 in plain Python, the mean over folds of the mean over each."""
    fold_means = []
    for fold in judged.folds("test"):
        precisions, gains = [], []
        for pool in fold:
            away = {row: float(np.linalg.norm(vectors[row].astype(float) - vectors[pool.row])) for row in pool.rows}
            order = sorted(pool.rows, key=lambda row: away[row])
            grade = dict(zip(pool.rows, pool.grades, strict=True))
            ranked = [int(grade[row]) for row in order]
            hits = [i for i, one in enumerate(ranked, start=1) if one >= judged.relevant_from]
            precisions.append(sum((n + 1) / rank for n, rank in enumerate(hits)) / len(hits) if hits else 0.0)
            k = int(0.2 * len(ranked))
            best = sorted(ranked, reverse=True)
            dcg, ideal = (
                sum(one / math.log2(max(i, 2)) for i, one in enumerate(row[:k], start=1)) for row in (ranked, best)
            )
            gains.append(dcg / ideal if ideal else 0.0)
        fold_means.append((np.mean(precisions), np.mean(gains)))
    found = np.mean(fold_means, axis=0)
    return float(found[0]), float(found[1])


def test_an_encoder_s_scores_are_those_of_a_plain_computation(judged: JudgedSet, tiny: Path) -> None:
    evaluation, scores = evaluate_and_save(judged, "test", SystemSpec("encoder", str(tiny)))
    encoder = load_encoder(str(tiny))
    vectors = encoder.encode([(paper.title, paper.abstract) for paper in judged.papers])
    expected = by_hand(judged, vectors)
    assert evaluation.means["MAP"] == pytest.approx(expected[0])
    assert evaluation.means["NDCG%20"] == pytest.approx(expected[1])
    low, high = evaluation.intervals["MAP"]
    assert low <= evaluation.means["MAP"] <= high
    assert evaluation.folds == (2, 4)
    assert [one.fold for one in scores] == [0, 0, 1, 1, 1, 1]
    assert evaluation.system.fingerprint == encoder.fingerprint
    assert evaluation.system.precision == encoder.precision
    assert evaluation.handled == judged.handled
    assert evaluation.pool_sizes == PoolSizes(smallest=5, median=5.0, mean=5.0, largest=5)
    assert evaluation.id == evaluation_id(evaluation.system, judged, "test")
    assert set(evaluation.seconds) == {"loading", "encoding", "ranking", "scoring"}
    assert {"python", "torch", "numpy", "ir-measures"} <= evaluation.versions.keys()
    assert "scikit-learn" not in evaluation.versions
    assert not evaluation.comparable
    assert store.read(evaluation.id) == evaluation
    assert store.scores_of(evaluation.id) == scores


@pytest.mark.parametrize("kind", ["tfidf", "bm25"])
def test_a_baseline_is_evaluated_the_same_way(judged: JudgedSet, kind: SystemKind) -> None:
    evaluation, scores, ranking = evaluate_set(judged, "test", SystemSpec(kind))
    assert evaluation.system.kind == kind
    assert len(scores) == 6
    assert not ranking.ascending
    assert evaluate_set(judged, "test", SystemSpec(kind))[0].means == evaluation.means


def test_queries_without_positives_and_small_pools_are_counted(judged_set: MakeSet, home: Path) -> None:
    judged = judged_set({"a": {"b": 0, "c": 0}, "b": {"a": 1, "c": 0, "d": 0, "e": 0, "f": 0}}, texts=WORDS)
    evaluation, scores, _ = evaluate_set(judged, "test", SystemSpec("tfidf"))
    assert (evaluation.without_positive, evaluation.pools_under_five) == (1, 1)
    assert scores[0].metrics["MAP"] == scores[0].metrics["NDCG%20"] == 0.0
    assert evaluation.means["MAP"] == pytest.approx(scores[1].metrics["MAP"] / 2)


def test_scores_in_bfloat16_are_not_comparable(judged: JudgedSet, tiny: Path) -> None:
    evaluation, *_ = evaluate_set(judged, "test", SystemSpec("encoder", str(tiny), "bfloat16"))
    assert any("bfloat16" in reason for reason in evaluation.not_comparable)
    assert evaluation.id != evaluate_set(judged, "test", SystemSpec("encoder", str(tiny), "float32"))[0].id


def test_an_unknown_split_is_refused(judged: JudgedSet) -> None:
    with pytest.raises(SetError, match="no split 'train'"):
        evaluate_set(judged, "train", SystemSpec("tfidf"))
    assert default_split(judged) == "test"
    assert default_split(replace(judged, splits={"all": ()})) == "all"
    with pytest.raises(SetError, match="several splits: dev, train"):
        default_split(replace(judged, splits={"train": (), "dev": ()}))


def test_it_can_be_stopped_at_every_point_and_saves_nothing_then(judged: JudgedSet, tiny: Path) -> None:
    spec, seen = SystemSpec("encoder", str(tiny)), []
    evaluate_set(judged, "test", spec)  # stores the vectors
    evaluate_set(judged, "test", spec, progress=lambda stage, *_: seen.append(stage))
    assert list(dict.fromkeys(seen)) == [ENCODING, RANKING, SCORING]
    for stop_at in range(len(seen)):
        steps = count()

        def stop(stage: str, done: int, total: int, steps: Iterator[int] = steps, stop_at: int = stop_at) -> None:
            if next(steps) == stop_at:
                raise Cancelled(stage)

        with pytest.raises(Cancelled):
            evaluate_and_save(judged, "test", spec, progress=stop)
    assert store.evaluations() == []
