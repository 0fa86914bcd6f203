"""Evaluations on disk: saved, read back, replaced, deleted; refused where files were changed."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.evaluation import store
from components.evaluation.ranking import RankedPool, Ranking
from components.evaluation.results import Evaluation, QueryScores
from corpus.judged_sets.model import DataIssue, JudgedSet
from tests.components.evaluation import planted

ODD_IDS = ["a b", "=1+1", '"q"', "ünï", "50%", "a\u2028b", "\ufeffx", "#1", "-5", "a,b", "", "%", "%20"]


@pytest.fixture
def saved(home: Path) -> tuple[Evaluation, list[QueryScores], Ranking, JudgedSet]:
    judged = planted.judged_of(ODD_IDS)
    random = np.random.default_rng(0)
    pools = []
    for pool in judged.pools:
        distances = np.sort(random.random(len(pool.rows), dtype=np.float32))
        distances[:1] = 0.0
        pools.append(RankedPool(pool.query, random.permutation(pool.rows).astype(np.int32), distances))
    scores, ranking = planted.scores_of(ODD_IDS), Ranking(tuple(pools), ascending=True)
    evaluation = planted.evaluation("a", "=enc", set_fingerprint=judged.fingerprint, notes=("2 left out",))
    store.save(evaluation, scores, ranking, judged)
    return evaluation, scores, ranking, judged


Saved = tuple[Evaluation, list[QueryScores], Ranking, JudgedSet]


def test_what_is_saved_is_read_back(saved: Saved) -> None:
    evaluation, scores, ranking, judged = saved
    assert store.read(evaluation.id) == evaluation
    assert store.evaluations() == [evaluation]
    assert store.damaged() == []
    assert store.scores_of(evaluation.id) == scores
    for pool in ranking.pools:
        found = store.ranked_pool_of(evaluation.id, judged, pool.query)
        assert (found.rows == pool.rows).all()
        assert (found.scores == pool.scores).all()
    with pytest.raises(store.NoSuchEvaluation, match="no query"):
        store.ranked_pool_of(evaluation.id, judged, "nobody")
    with pytest.raises(store.EvaluationDamaged, match="The set relish has changed"):
        store.ranked_pool_of(evaluation.id, replace(judged, fingerprint="0" * 16), "a b")
    by_score = Ranking(tuple(replace(pool, scores=1 - pool.scores) for pool in ranking.pools), ascending=False)
    store.save(evaluation, scores, by_score, judged)
    assert (store.ranked_pool_of(evaluation.id, judged, "a b").scores == by_score.pools[0].scores).all()


def test_lone_surrogates_are_replaced(saved: Saved) -> None:
    evaluation, scores, ranking, judged = saved
    store.save(replace(evaluation, handled=(DataIssue("title_only", 1, ("\ud800",)),)), scores, ranking, judged)
    assert store.read(evaluation.id).handled[0].examples == ("?",)


def test_no_cell_is_a_formula_and_the_run_has_six_fields_a_line(saved: Saved) -> None:
    evaluation, *_ = saved
    assert ",'=1+1," in (store.evaluations_folder() / evaluation.id / "queries.csv").read_text()
    lines = gzip.decompress(store.run_path(evaluation.id).read_bytes()).decode().split("\n")
    assert lines.pop() == ""
    assert {len(line.split(" ")) for line in lines} == {6}
    assert lines[0].split(" ")[:2] == ["a%20b", "Q0"]
    assert lines[0].split(" ")[3:] == ["1", "0", "=enc"]
    by_query: dict[str, list[float]] = {}
    for line in lines:
        by_query.setdefault(line.split()[0], []).append(float(line.split()[4]))
    assert len(by_query) == len(ODD_IDS)
    assert all(values == sorted(values, reverse=True) for values in by_query.values())


def test_evaluating_again_replaces_and_the_newest_is_first(saved: Saved) -> None:
    evaluation, *rest = saved
    later = replace(evaluation, made="2026-11-23T00:00:00Z", means={"MAP": 0.9, "NDCG%20": 0.9})
    store.save(later, *rest)
    assert store.evaluations() == [later]
    other = replace(evaluation, id="0" * 16)
    store.save(other, *rest)
    assert store.evaluations() == [later, other]
    store.delete(later.id)
    assert store.evaluations() == [other]
    for use in (store.delete, store.read):
        with pytest.raises(store.NoSuchEvaluation):
            use(later.id)


@pytest.mark.parametrize("id", ["../../etc", "", "F" * 16, "0" * 15, ".lock", "0" * 16 + "\n"])
def test_an_invalid_id_never_becomes_a_path(home: Path, id: str) -> None:
    for use in (store.read, store.scores_of, store.run_path, store.delete):
        with pytest.raises(store.NoSuchEvaluation, match="16 digits"):
            use(id)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes())),
        Path.unlink,
    ],
)
def test_a_damaged_file_is_named_and_hides_no_other_evaluation(saved: Saved, damage: Callable[[Path], None]) -> None:
    evaluation, scores, ranking, judged = saved
    uses = {
        "queries.csv": lambda: store.scores_of(evaluation.id),
        "run.txt.gz": lambda: store.ranked_pool_of(evaluation.id, judged, "a b"),
        "result.json": lambda: store.read(evaluation.id),
    }
    for name, use in uses.items():
        damage(store.save(evaluation, scores, ranking, judged) / name)
        with pytest.raises(store.EvaluationDamaged, match=name):
            use()
    other = replace(evaluation, id="0" * 16)
    store.save(other, scores, ranking, judged)
    assert store.evaluations() == [other]
    assert store.damaged() == [evaluation.id]
    store.delete(evaluation.id)
    assert store.damaged() == []


@pytest.mark.parametrize(
    "change",
    [
        {"means": {"MAP": "1"}},
        {"means": {"MAP": True, "NDCG%20": 1}},
        {"means": {}},
        {"means": {"MAP": float("nan"), "NDCG%20": 1}},
        {"pool_sizes": {"smallest": 1, "largest": 2}},
        {"intervals": {}},
        {"intervals": {"MAP": [1], "NDCG%20": [1, None]}},
        {"folds": [-1]},
        {"system": {"kind": "evil", "name": "", "fingerprint": "", "source": "", "precision": ""}},
        {"handled": [{"kind": "evil", "count": 1, "examples": []}]},
        {"handled": [{"kind": "title_only", "count": 1, "examples": "abc"}]},
        {"set_name": 3},
        {"id": "0" * 16},
        {"format": 2},
        {"papers": 1.5},
        {"not_comparable": "because"},
        {"versions": {"python": 3}},
        {"files": {"queries.csv": 3}},
    ],
    ids=str,
)
def test_a_result_of_another_form_is_refused(saved: Saved, change: dict[str, object]) -> None:
    evaluation, *_ = saved
    path = store.evaluations_folder() / evaluation.id / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(store.EvaluationDamaged, match=r"result\.json"):
        store.read(evaluation.id)
    assert store.evaluations() == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', "[" * 100_000, "\x00"])
def test_a_file_that_is_no_result_is_refused(saved: Saved, text: str) -> None:
    (store.evaluations_folder() / saved[0].id / "result.json").write_text(text)
    with pytest.raises(store.EvaluationDamaged):
        store.read(saved[0].id)


def test_what_a_killed_process_left_is_deleted_by_the_next(saved: Saved) -> None:
    for name in (f"{'0' * 16}.partial", f"{'1' * 16}.gone"):
        (store.evaluations_folder() / name).mkdir()
        (store.evaluations_folder() / name / "run.txt.gz.partial").write_bytes(b"torn")
    assert store.damaged() == []
    store.save(*saved)
    assert {one.name for one in store.evaluations_folder().iterdir()} == {saved[0].id, ".lock"}


def test_a_full_disk_leaves_the_earlier_evaluation(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation, *rest = saved

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        store.save(replace(evaluation, made="2027"), *rest)
    assert store.read(evaluation.id) == evaluation
    assert not list(store.evaluations_folder().glob("*.partial"))
