"""Evaluations on disk: saved and read again, refused where they are not what was written; and the run file."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation import store, trec
from components.evaluation.results import (
    Evaluation,
    QueryScores,
    RankedPool,
    Ranking,
    System,
    evaluation_id,
    from_json,
    queries_csv,
    read_queries_csv,
    to_json,
)
from corpus.errors import CociteAtlasError
from corpus.judged_sets.model import Handled, JudgedSet, Pool, PoolPaper

ODD_IDS = ["a b", "=1+1", '"q"', "ünï", "50%", "a\u2028b", "\ufeffx", "#1", "-5", "a,b", "", "%", "%20"]


def judged_of(ids: list[str], *, fingerprint: str = "f" * 16) -> JudgedSet:
    pools = tuple(
        Pool(query, row, np.delete(np.arange(len(ids), dtype=np.int32), row), np.ones(len(ids) - 1, dtype=np.int16))
        for row, query in enumerate(ids)
    )
    return JudgedSet(
        name="planted",
        facet="",
        origin="own",
        papers=tuple(PoolPaper(id, f"Title of {id}", "Abstract") for id in ids),
        pools=pools,
        splits={"all": (tuple(ids),)},
        relevant_from=1,
        handled=(),
        fingerprint=fingerprint,
    )


def planted(ids: list[str] = ODD_IDS, *, seed: int = 0) -> tuple[Evaluation, list[QueryScores], Ranking, JudgedSet]:
    judged = judged_of(ids)
    random = np.random.default_rng(seed)
    pools = []
    for pool in judged.pools:
        distances = np.sort(random.random(len(pool.rows), dtype=np.float32))
        distances[:1] = 0.0
        pools.append(RankedPool(pool.query, random.permutation(pool.rows).astype(np.int32), distances))
    scores = [
        QueryScores(id, id, f'=Title, "of"\n{id}', "", 0, len(ids) - 1, 1, {"MAP": 1 / 3, "NDCG%20": 0.1 + 0.2})
        for id in ids
    ]
    system = System("encoder", "=enc", "e" * 64, "tiny", "float32")
    evaluation = Evaluation(
        id=evaluation_id(system, judged, "all"),
        made="2026-11-22T21:40:00Z",
        system=system,
        set_name="planted",
        facet="",
        split="all",
        origin="own",
        set_fingerprint=judged.fingerprint,
        rules="",
        relevant_from=1,
        papers=len(ids),
        folds=(len(ids),),
        pool_sizes={"smallest": 3, "median": 3.5, "mean": 3.25, "largest": 4},
        means={"MAP": 1 / 3, "NDCG%20": 0.3, "nDCG@10": 0.0},
        intervals={"MAP": (0.1, 0.2), "NDCG%20": (0.3, 0.4)},
        handled=(Handled("title_only", 2, ("a", "\ud800")),),
        without_positive=0,
        pools_under_five=1,
        not_comparable=("It is one's own set.",),
        seconds={"Encoding": 1.5},
        versions={"python": "3.11"},
        machine="x",
        notes=("2 left out",),
    )
    return evaluation, scores, Ranking(tuple(pools), ascending=True), judged


def same(left: Ranking, right: Ranking) -> bool:
    return left.ascending == right.ascending and all(
        a.query == b.query and (a.rows == b.rows).all() and (a.scores == b.scores).all()
        and a.rows.dtype == b.rows.dtype and a.scores.dtype == b.scores.dtype
        for a, b in zip(left.pools, right.pools, strict=True)
    )  # fmt: skip


def test_what_is_saved_is_read_again(home: Path) -> None:
    evaluation, scores, ranking, judged = planted()
    store.save(evaluation, scores, ranking, judged)
    assert store.read(evaluation.id) == evaluation
    assert store.evaluations() == [evaluation]
    assert store.damaged() == []
    assert store.scores_of(evaluation.id) == scores
    assert same(store.ranking_of(evaluation.id, judged), ranking)
    for pool in ranking.pools:
        assert (store.ranked_pool_of(evaluation.id, judged, pool.query).rows == pool.rows).all()
    with pytest.raises(store.NoSuchEvaluation, match="no query"):
        store.ranked_pool_of(evaluation.id, judged, "nobody")


def test_a_ranking_by_scores_is_read_as_one(home: Path) -> None:
    evaluation, scores, ranking, judged = planted()
    pools = tuple(replace(pool, scores=-pool.scores + np.float32(1)) for pool in ranking.pools)
    store.save(evaluation, scores, Ranking(pools, ascending=False), judged)
    assert same(store.ranking_of(evaluation.id, judged), Ranking(pools, ascending=False))


def test_no_cell_of_the_table_is_a_formula_and_the_run_has_six_fields_a_line(home: Path) -> None:
    evaluation, scores, ranking, judged = planted()
    folder = store.save(evaluation, scores, ranking, judged)
    assert ",'=1+1," in (folder / "queries.csv").read_text()
    lines = gzip.decompress(store.run_path(evaluation.id).read_bytes()).decode().split("\n")
    assert lines.pop() == ""
    assert {len(line.split(" ")) for line in lines} == {6}
    first = lines[0].split(" ")
    assert first[:2] == ["a%20b", "Q0"]
    assert first[3:] == ["1", "0", "=enc"]
    by_query: dict[str, list[float]] = {}
    for line in lines:
        by_query.setdefault(line.split()[0], []).append(float(line.split()[4]))
    assert len(by_query) == len(ODD_IDS)
    assert all(values == sorted(values, reverse=True) for values in by_query.values())


def test_evaluating_again_replaces_and_the_newest_is_first(home: Path) -> None:
    evaluation, scores, ranking, judged = planted()
    store.save(evaluation, scores, ranking, judged)
    later = replace(evaluation, made="2026-11-23T00:00:00Z", means={"MAP": 0.9, "NDCG%20": 0.9})
    store.save(later, scores, ranking, judged)
    assert store.evaluations() == [later]
    other = replace(evaluation, id="0" * 16)
    store.save(other, scores, ranking, judged)
    assert store.evaluations() == [later, other]
    store.delete(later.id)
    assert store.evaluations() == [other]
    with pytest.raises(store.NoSuchEvaluation):
        store.delete(later.id)
    with pytest.raises(store.NoSuchEvaluation):
        store.read(later.id)


@pytest.mark.parametrize("id", ["../../etc", "", "F" * 16, "0" * 15, "0" * 17, ".lock", "0" * 16 + "\n"])
def test_an_id_is_never_a_path(home: Path, id: str) -> None:
    for use in (store.read, store.scores_of, store.run_path, store.delete):
        with pytest.raises(store.NoSuchEvaluation, match="16 digits"):
            use(id)


def test_the_same_is_the_same_evaluation_and_no_other_is() -> None:
    judged = judged_of(["a", "b"])
    system = System("encoder", "enc", "e" * 64, "enc", "float32")
    others = [
        (replace(system, precision="bfloat16"), judged, "all"),
        (replace(system, fingerprint="d" * 64), judged, "all"),
        (replace(system, name="other"), judged, "all"),
        (replace(system, kind="rankings"), judged, "all"),
        (system, judged, "test"),
        (system, replace(judged, facet="method"), "all"),
        (system, judged_of(["a", "b"], fingerprint="e" * 16), "all"),
        (system, replace(judged, relevant_from=2), "all"),
    ]
    ids = {evaluation_id(*other) for other in others} | {evaluation_id(system, judged, "all")}
    assert len(ids) == len(others) + 1
    assert evaluation_id(replace(system, source="/elsewhere"), judged, "all") == evaluation_id(system, judged, "all")


# What is not what was written


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _turn(path: Path) -> None:
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


@pytest.mark.parametrize("damage", [_cut, _turn, Path.unlink])
def test_a_damaged_file_is_told_of_and_hides_no_other(home: Path, damage: Callable[[Path], None]) -> None:
    evaluation, scores, ranking, judged = planted()
    for name in ("result.json", "queries.csv", "run.txt.gz"):
        folder = store.save(evaluation, scores, ranking, judged)
        damage(folder / name)
        use = {
            "result.json": lambda: store.read(evaluation.id),
            "queries.csv": lambda: store.scores_of(evaluation.id),
            "run.txt.gz": lambda: store.ranking_of(evaluation.id, judged),
        }[name]
        with pytest.raises(store.EvaluationDamaged, match=name):
            use()
    folder = store.save(evaluation, scores, ranking, judged)
    other = replace(evaluation, id="0" * 16)
    store.save(other, scores, ranking, judged)
    damage(folder / "result.json")
    assert store.evaluations() == [other]
    assert store.damaged() == [evaluation.id]
    store.delete(evaluation.id)
    assert store.damaged() == []


def test_a_ranking_of_another_set_is_refused(home: Path) -> None:
    evaluation, scores, ranking, judged = planted()
    store.save(evaluation, scores, ranking, judged)
    with pytest.raises(store.EvaluationDamaged, match="another planted"):
        store.ranking_of(evaluation.id, replace(judged, fingerprint="0" * 16))


HOSTILE = [
    {"means": {"MAP": "1"}},
    {"means": {"MAP": True, "NDCG%20": 1}},
    {"means": {}},
    {"pool_sizes": {"smallest": 1, "largest": 2}},
    {"intervals": {}},
    {"folds": ["a"]},
    {"folds": [-1]},
    {"folds": 3},
    {"system": {"kind": "evil", "name": "", "fingerprint": "", "source": "", "precision": ""}},
    {"system": []},
    {"handled": [{"kind": "evil", "count": 1, "examples": []}]},
    {"handled": [{"kind": "title_only", "count": 1, "examples": "abc"}]},
    {"intervals": {"MAP": [1]}},
    {"intervals": {"MAP": [1, None]}},
    {"set_name": 3},
    {"id": "0" * 16},
    {"format": 2},
    {"papers": 1.5},
    {"not_comparable": "because"},
    {"versions": {"python": 3}},
]


@pytest.mark.parametrize("change", HOSTILE, ids=str)
def test_a_result_of_another_form_is_refused(home: Path, change: dict[str, object]) -> None:
    evaluation, scores, ranking, judged = planted()
    path = store.save(evaluation, scores, ranking, judged) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(store.EvaluationDamaged, match=r"result\.json"):
        store.read(evaluation.id)
    assert store.evaluations() == []


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}', "[" * 100_000, '{"format": NaN}', "\x00"])
def test_a_result_that_is_none_is_refused(home: Path, text: str) -> None:
    evaluation, *_ = planted()
    folder = store.evaluations_folder() / evaluation.id
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(text)
    with pytest.raises(store.EvaluationDamaged):
        store.read(evaluation.id)


def test_a_missing_field_is_refused() -> None:
    evaluation, *_ = planted()
    whole = json.loads(to_json(evaluation, more={}))
    for name in whole:
        with pytest.raises((KeyError, ValueError, TypeError)):
            from_json(json.dumps({field: value for field, value in whole.items() if field != name}))


# The run file

names = st.text(max_size=6)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    st.lists(names, min_size=1, max_size=5, unique=True),
    st.lists(names, min_size=1, max_size=4, unique=True),
    st.data(),
)
@settings(max_examples=60)
def test_any_run_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], queries: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.txt.gz"
    pools = []
    for query in queries:
        rows = data.draw(
            st.permutations(range(len(ids))).map(lambda order: order[: data.draw(st.integers(1, len(ids)))])
        )
        scores = data.draw(st.lists(finite, min_size=len(rows), max_size=len(rows)))
        pools.append((query, np.array(rows, dtype=np.int32), np.array(scores, dtype=np.float32)))
    trec.write_run(path, pools, candidates=ids, tag="a tag")
    found = list(trec.read_own_run(path, candidates=ids))
    assert [query for query, _, _ in found] == queries
    for (_, rows, scores), (_, found_rows, found_scores) in zip(pools, found, strict=True):
        assert (rows == found_rows).all()
        assert (scores == found_scores).all()


def test_a_pool_longer_than_a_block_is_one_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trec, "_BLOCK", 256)
    rows = np.arange(100, dtype=np.int32)
    pools = [(name, rows, np.linspace(1, 0, 100, dtype=np.float32)) for name in ("q", "r")]
    ids = [f"paper-{row}" for row in rows]
    trec.write_run(tmp_path / "run.txt.gz", pools, candidates=ids, tag="t")
    found = list(trec.read_own_run(tmp_path / "run.txt.gz", candidates=ids))
    assert [(query, len(found_rows)) for query, found_rows, _ in found] == [("q", 100), ("r", 100)]


@pytest.mark.parametrize("text", ["q Q0 a 1 x t\n", "q Q0 a 1\n", "q Q0 nobody 1 1 t\n"])
def test_what_is_no_run_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.txt.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ValueError):
        list(trec.read_own_run(path, candidates=["a"]))


def test_a_table_of_queries_without_the_metrics_of_a_report_is_refused() -> None:
    _, scores, _, _ = planted()
    text = queries_csv(scores)
    assert len(read_queries_csv(io.StringIO(text, newline=""))) == len(scores)
    for metric in ("MAP", "NDCG%20"):
        with pytest.raises(ValueError, match="lacks a metric"):
            read_queries_csv(io.StringIO(text.replace(f",{metric}", ",other"), newline=""))


def test_what_a_killed_process_left_is_cleared_by_the_next(home: Path) -> None:
    evaluation, scores, ranking, judged = planted()
    store.save(evaluation, scores, ranking, judged)
    for name in (f"{'0' * 16}.partial", f"{'1' * 16}.gone"):
        (store.evaluations_folder() / name).mkdir()
        (store.evaluations_folder() / name / "run.txt.gz.partial").write_bytes(b"torn")
    assert store.damaged() == []
    store.save(evaluation, scores, ranking, judged)
    left = {one.name for one in store.evaluations_folder().iterdir()}
    assert left == {evaluation.id, ".lock"}


def test_the_old_one_is_there_until_the_new_one_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation, scores, ranking, judged = planted()
    store.save(evaluation, scores, ranking, judged)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr("shutil.rmtree", killed)  # as if it ended while it removes the old one
        store.save(replace(evaluation, made="2027"), scores, ranking, judged)
    assert store.read(evaluation.id).made == "2027"
    assert store.damaged() == []
    assert store.scores_of(evaluation.id)


def test_a_disk_that_refuses_leaves_what_was_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation, scores, ranking, judged = planted()
    store.save(evaluation, scores, ranking, judged)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        store.save(replace(evaluation, made="2027"), scores, ranking, judged)
    assert store.read(evaluation.id) == evaluation
    assert not list(store.evaluations_folder().glob("*.partial"))
    assert issubclass(store.EvaluationDamaged, CociteAtlasError)
