"""Rankings of other systems (TREC runs, JSON) in whatever state, and TREC runs of ours."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation.ranking import Ranking, RankingError
from components.evaluation.runs import escape, read_pool, read_rankings, write_run
from corpus.judged_sets.model import JudgedSet, Pool

MakeSet = Callable[..., JudgedSet]
GRADES = {"q1": {"a": 1, "b": 0, "c": 2}, "q 2": {"a": 0, "d": 1}}


@pytest.fixture
def judged(judged_set: MakeSet) -> JudgedSet:
    return judged_set(GRADES)


def orders(judged: JudgedSet, ranking: Ranking) -> dict[str, list[str]]:
    return {pool.query: [judged.papers[row].id for row in pool.rows] for pool in ranking.pools}


def read_json(content: object, judged: JudgedSet, tmp_path: Path) -> tuple[Ranking, tuple[str, ...]]:
    path = tmp_path / "mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_rankings(path, judged, judged.pools)


def read_text_run(text: str, judged: JudgedSet, tmp_path: Path) -> tuple[Ranking, tuple[str, ...]]:
    path = tmp_path / "mine.run"
    path.write_text(text)
    return read_rankings(path, judged, judged.pools)


WHOLE = {"q1": [["c", 0.5], ["a", 1.5], ["b", 2.5]], "q 2": [["d", 0.0], ["a", 3]]}
RUN = "q1 Q0 a 1 2.5 t\nq1 Q0 b 2 1.5 t\nq1\tQ0   c  3 9 t\n\nq%202 Q0 a 1 -1 t\nq%202 Q0 d 2 -0.5 t\n"


def test_the_order_of_a_json_list_is_the_ranking(judged: JudgedSet, tmp_path: Path) -> None:
    ranking, notes = read_json(WHOLE, judged, tmp_path)
    assert orders(judged, ranking) == {"q1": ["c", "a", "b"], "q 2": ["d", "a"]}
    assert ranking.ascending
    assert [float(score) for score in ranking.pools[0].scores] == [0.5, 1.5, 2.5]
    assert notes == ()


@pytest.mark.parametrize(
    "entries",
    [
        [["b", 1], ["a", 5], ["c", 3]],
        [["a", 1], ["b", 1], ["c", 1]],  # equal scores: their own order would be c, b, a
        [["b", 1.00000000001], ["a", 1.0], ["c", 0.5]],  # equal as float32, and against the order of ids? b is above a
        [["a", 1.00000000001], ["b", 1.0], ["c", 0.5]],
    ],
    ids=["unordered", "equal", "near", "near and against the ids"],
)
def test_ranks_replace_scores_that_do_not_give_the_order(
    judged: JudgedSet, tmp_path: Path, entries: list[list[object]]
) -> None:
    ranking, notes = read_json({"q1": entries, "q 2": [["a", 2], ["d", 1]]}, judged, tmp_path)
    assert orders(judged, ranking)["q1"] == [entry[0] for entry in entries]
    assert all("in another order, or some are equal" in note for note in notes)
    assert bool(notes) == (entries[0][0] != "b" or entries[1][1] == 5)
    # The stored run gives trec_eval, which knows only scores and ids, the same order.
    path = tmp_path / "kept.txt.gz"
    write_run(
        path,
        [(pool.query, pool.rows, pool.scores) for pool in ranking.pools],
        candidates=[paper.id for paper in judged.papers],
        tag="t",
    )
    again, _ = read_rankings(path, judged, judged.pools)
    assert orders(judged, again) == orders(judged, ranking)


def test_a_run_is_ordered_by_score(judged: JudgedSet, tmp_path: Path) -> None:
    ranking, notes = read_text_run(RUN, judged, tmp_path)
    assert orders(judged, ranking) == {"q1": ["c", "a", "b"], "q 2": ["d", "a"]}
    assert not ranking.ascending
    assert notes == ()


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ("q1 Q0 c 1 0.5 t\nq1 Q0 a 2 1.5 t\nq1 Q0 b 3 2.5 t\nq%202 Q0 d 1 0 t\nq%202 Q0 a 2 3 t\n", True),
        ("q1 Q0 c 0 0.5 t\nq1 Q0 a 1 1.5 t\nq1 Q0 b 2 2.5 t\nq%202 Q0 d 0 9 t\nq%202 Q0 a 1 3 t\n", True),
        ("q1 Q0 c 1 2.5 t\nq1 Q0 a 2 1.5 t\nq1 Q0 b 3 0.5 t\nq%202 Q0 d 1 3 t\nq%202 Q0 a 2 0 t\n", False),
        ("q1 Q0 c 0 1 t\nq1 Q0 a 0 2 t\nq1 Q0 b x 3 t\nq%202 Q0 d ² 3 t\nq%202 Q0 a -1 9 t\n", False),
    ],
    ids=["distances", "ranks from 0", "scores", "no ranks"],
)
def test_ranks_that_contradict_the_scores_are_noted(judged: JudgedSet, tmp_path: Path, text: str, noted: bool) -> None:
    ranking, notes = read_text_run(text, judged, tmp_path)
    assert any("its ranks contradict its scores" in note for note in notes) == noted
    for pool in ranking.pools:  # and the scores count all the same, as in trec_eval
        assert list(pool.scores) == sorted(pool.scores, reverse=True)


def test_of_a_repeated_candidate_in_a_run_the_highest_score_counts(judged: JudgedSet, tmp_path: Path) -> None:
    text = RUN.replace("q1 Q0 a 1 2.5 t\n", "q1 Q0 a 1 -3 t\n") + "q1 Q0 a 1 10 t\n"
    ranking, notes = read_text_run(text, judged, tmp_path)
    assert orders(judged, ranking)["q1"] == ["a", "c", "b"]
    assert notes[0] == "mine.run: 1 candidates were repeated; their first positions count."


def test_gzip_line_ends_and_byte_order_marks_do_not_matter(judged: JudgedSet, tmp_path: Path) -> None:
    expected = orders(judged, read_text_run(RUN, judged, tmp_path)[0])
    for name, content in {
        "a.gz": gzip.compress(RUN.encode()),
        "b": RUN.replace("\n", "\r\n").encode(),
        "c": b"\xef\xbb\xbf" + RUN.encode(),
        "d": RUN.rstrip("\n").encode(),
        "e.json": b"\xef\xbb\xbf \n" + json.dumps(WHOLE, indent=3).encode(),
        "f.json.gz": gzip.compress(json.dumps(WHOLE).encode()),
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert orders(judged, read_rankings(path, judged, judged.pools)[0]) == expected, name


def test_other_queries_and_candidates_are_left_out_and_counted(judged: JudgedSet, tmp_path: Path) -> None:
    content = WHOLE | {
        "q9": [["a", 1]],
        "q1": [["c", 0.5], ["q1", 0.6], ["a", 1.5], ["nobody", 2], ["c", 2.2], ["b", 2.5], ["d", 3]],
    }
    ranking, notes = read_json(content, judged, tmp_path)
    assert orders(judged, ranking) == {"q1": ["c", "a", "b"], "q 2": ["d", "a"]}
    assert notes == (
        "mine.json: 1 queries that were not asked for were left out.",
        "mine.json: 3 candidates that are not in their query's pool were left out.",
        "mine.json: 1 candidates were repeated; their first positions count.",
    )


def test_of_a_repeated_query_the_last_list_counts(judged: JudgedSet, tmp_path: Path) -> None:
    text = json.dumps(WHOLE)[:-1] + ', "q1": [["b", 1], ["a", 2], ["c", 3]]}'
    ranking, notes = read_json(text, judged, tmp_path)
    assert orders(judged, ranking)["q1"] == ["b", "a", "c"]
    assert notes == ("mine.json: 1 queries were repeated; their last lists count.",)


def test_a_query_may_be_named_by_its_paper_if_that_is_unique(judged_set: MakeSet, tmp_path: Path) -> None:
    whole = judged_set({"p": {"a": 1, "b": 0}})
    pool = whole.pools[0]
    named = Pool("p_method", pool.row, pool.rows, pool.grades, "method")
    path = tmp_path / "x.json"
    path.write_text('{"p": [["b", 1], ["a", 2]]}')
    ranking, _ = read_rankings(path, whole, [named])
    assert orders(whole, ranking) == {"p_method": ["b", "a"]}
    with pytest.raises(RankingError, match="2 of 2 queries"):
        read_rankings(path, whole, [named, Pool("p_result", pool.row, pool.rows, pool.grades, "result")])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"q1": WHOLE["q1"]}, "it does not rank 1 of 2 queries (q 2 first)"),
        (WHOLE | {"q1": WHOLE["q1"][:1]}, "it lacks 2 candidates in the pools of 1 queries (a of q1 first)"),
        ({"q1": []}, "1 of 2 queries"),
        ({}, "2 of 2 queries"),
        (
            {"q1": {"a": 1}},
            "the query 'q1': Input should be a valid list. Give every query a list of [candidate, score]",
        ),
        ({"q1": ["a", "b"]}, "the query 'q1', entry 1: Input should be a valid tuple"),
        ({"q1": [["a", 1, 2]]}, "entry 1"),
        ({"q1": [["a", 1], [None, 1]]}, "entry 2"),
        ({"q1": [["a", "1"]]}, "entry 1: Input should be a valid number"),
        ({"q1": [["a", True]]}, "valid number"),
        ({"q1": [["a", 1e300]]}, "finite 32-bit numbers"),
        ({"q1": [["a", 10**400]]}, "entry 1"),
        ('{"q1": [["a", NaN]]}', "not a JSON object"),
        ('{"q1": [["a", 1]', "not a JSON object"),
        ('{"q1": [["a", 1]]} {}', "something follows"),
        ("[]", "not a JSON object"),
        ('{"q1": ' + "[" * 100_000, "not a JSON object"),
    ],
)
def test_invalid_json_is_refused(judged: JudgedSet, tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(RankingError) as caught:
        read_json(content, judged, tmp_path)
    assert str(caught.value).startswith("mine.json: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "2 of 2 queries"),
        ("q1 Q0 a 1 1\n", "line 1 has 5 fields"),
        ("\nq1 Q0 a 1 1 t u\n", "line 2 has 7 fields"),
        ("q1 Q0 a 1 x t\n", "line 1 has the score x"),
        ("q1 Q0 a 1 nan t\n", "not a finite 32-bit number"),
        ("q1 Q0 a 1 inf t\n", "not a finite 32-bit number"),
        ("q1 Q0 a 1 1e39 t\n", "not a finite 32-bit number"),
        ("x" * 200_000, "line 1 has 1 fields"),
        ("\x00\x01\x02", "fields"),
    ],
)
def test_an_invalid_run_is_refused(judged: JudgedSet, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RankingError) as caught:
        read_text_run(text, judged, tmp_path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_that_cannot_be_read_is_refused(judged: JudgedSet, tmp_path: Path) -> None:
    for path, content in {
        tmp_path / "none": None,
        tmp_path: None,
        tmp_path / "cut.gz": gzip.compress(RUN.encode())[:-9],
    }.items():
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(RankingError, match=path.name):
            read_rankings(path, judged, judged.pools)


def test_a_bomb_is_refused(judged: JudgedSet, tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress((b" " * 999 + b"\n") * 60_000))
    with pytest.raises(RankingError, match="times its size"):
        read_rankings(path, judged, judged.pools)


@given(st.data())
@settings(max_examples=40)
def test_any_order_is_read_from_either_form(
    tmp_path_factory: pytest.TempPathFactory, judged_set: MakeSet, data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.text("ab%2 é", min_size=1, max_size=4), min_size=3, max_size=8, unique=True))
    ids = [id for id in ids if id == id.strip() and "  " not in id] + ["x", "y", "z"]
    ids = list(dict.fromkeys(ids))
    judged = judged_set({ids[0]: dict.fromkeys(ids[1:], 1)})
    order = data.draw(st.permutations(ids[1:]))
    scores = data.draw(st.lists(st.integers(-3, 3), min_size=len(order), max_size=len(order)))
    folder = tmp_path_factory.mktemp("any")
    (folder / "x.json").write_text(json.dumps({ids[0]: list(zip(order, scores, strict=True))}))
    ranking, _ = read_rankings(folder / "x.json", judged, judged.pools)
    assert orders(judged, ranking)[ids[0]] == order
    lines = [f"{escape(ids[0])} Q0 {escape(one)} 1 {score} t\n" for one, score in zip(order, scores, strict=True)]
    random.Random(0).shuffle(lines)
    (folder / "x.run").write_text("".join(lines))
    ranking, _ = read_rankings(folder / "x.run", judged, judged.pools)
    # The same rule: by score, then by id, both from high to low.
    expected = [one for _, one in sorted(zip(scores, order, strict=True), reverse=True)]
    assert orders(judged, ranking)[ids[0]] == expected


# TREC runs of ours

names = st.text(max_size=6)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    st.lists(names, min_size=1, max_size=5, unique=True),
    st.lists(names, min_size=1, max_size=4, unique=True),
    st.data(),
)
@settings(max_examples=60)
def test_any_run_is_read_back(
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
    write_run(path, pools, candidates=ids, tag="a tag")
    for query, rows, scores in pools:
        found = read_pool(path, query, candidates=ids)
        assert found is not None
        assert (found[0] == rows).all()
        assert (found[1] == scores).all()
    assert read_pool(path, "another query", candidates=ids) is None


@pytest.mark.parametrize("text", ["q Q0 a 1 x t\n", "q Q0 a 1\n", "q Q0 nobody 1 1 t\n"])
def test_a_file_that_is_not_our_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.txt.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ValueError):
        read_pool(path, "q", candidates=["a"])
