"""Rankings of others: TREC runs and ranking JSON, in whichever state they come."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation import runs
from components.evaluation.ranking import RankingError
from components.evaluation.results import Ranking
from components.evaluation.runs import read_rankings
from components.evaluation.trec import escaped, write_run
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


def read_run(text: str, judged: JudgedSet, tmp_path: Path) -> tuple[Ranking, tuple[str, ...]]:
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


def test_scores_may_fall_as_well_as_rise(judged: JudgedSet, tmp_path: Path) -> None:
    falling = {query: [[one, -score] for one, score in entries] for query, entries in WHOLE.items()}
    ranking, notes = read_json(falling, judged, tmp_path)
    assert orders(judged, ranking) == {"q1": ["c", "a", "b"], "q 2": ["d", "a"]}
    assert not ranking.ascending
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
def test_where_scores_do_not_tell_the_order_ranks_stand_for_them(
    judged: JudgedSet, tmp_path: Path, entries: list[list[object]]
) -> None:
    ranking, notes = read_json({"q1": entries, "q 2": [["a", 2], ["d", 1]]}, judged, tmp_path)
    wanted = [entry[0] for entry in entries]
    assert orders(judged, ranking)["q1"] == wanted
    told = bool(notes)
    assert all("in another, or some are equal" in note for note in notes)  # of equal ones alone the order is not wrong
    assert told == (entries[0][0] != "b" or entries[1][1] == 5)
    # What is kept of it says the same to trec_eval, which knows scores and ids alone.
    path = tmp_path / "kept.txt.gz"
    write_run(
        path,
        [(pool.query, pool.rows, pool.scores) for pool in ranking.pools],
        candidates=[paper.id for paper in judged.papers],
        tag="t",
    )
    again, _ = read_rankings(path, judged, judged.pools)
    assert orders(judged, again) == orders(judged, ranking)


def test_a_run_is_ordered_by_score_whatever_its_lines_and_ranks_say(judged: JudgedSet, tmp_path: Path) -> None:
    ranking, notes = read_run(RUN, judged, tmp_path)
    assert orders(judged, ranking) == {"q1": ["c", "a", "b"], "q 2": ["d", "a"]}
    assert not ranking.ascending
    assert notes == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("q1 Q0 c 1 0.5 t\nq1 Q0 a 2 1.5 t\nq1 Q0 b 3 2.5 t\nq%202 Q0 d 1 0 t\nq%202 Q0 a 2 3 t\n", True),
        ("q1 Q0 c 0 0.5 t\nq1 Q0 a 1 1.5 t\nq1 Q0 b 2 2.5 t\nq%202 Q0 d 0 9 t\nq%202 Q0 a 1 3 t\n", True),
        ("q1 Q0 c 1 2.5 t\nq1 Q0 a 2 1.5 t\nq1 Q0 b 3 0.5 t\nq%202 Q0 d 1 3 t\nq%202 Q0 a 2 0 t\n", False),
        ("q1 Q0 c 0 1 t\nq1 Q0 a 0 2 t\nq1 Q0 b x 3 t\nq%202 Q0 d ² 3 t\nq%202 Q0 a -1 9 t\n", False),
    ],
    ids=["distances", "ranks from 0", "as it should be", "no ranks"],
)
def test_a_run_whose_ranks_contradict_its_scores_is_told_of(
    judged: JudgedSet, tmp_path: Path, text: str, told: bool
) -> None:
    ranking, notes = read_run(text, judged, tmp_path)
    assert any("the opposite of its scores" in note for note in notes) == told
    for pool in ranking.pools:  # and the scores count all the same, as in trec_eval
        assert list(pool.scores) == sorted(pool.scores, reverse=True)


def test_equal_scores_of_a_run_go_by_id_from_high_to_low(judged: JudgedSet, tmp_path: Path) -> None:
    text = "".join(f"{escaped(query)} Q0 {one} 1 0 t\n" for query, pool in GRADES.items() for one in pool)
    assert orders(judged, read_run(text, judged, tmp_path)[0]) == {"q1": ["c", "b", "a"], "q 2": ["d", "a"]}


def test_of_a_candidate_twice_in_a_run_the_higher_score_is_its_first_place(judged: JudgedSet, tmp_path: Path) -> None:
    text = RUN.replace("q1 Q0 a 1 2.5 t\n", "q1 Q0 a 1 -3 t\n") + "q1 Q0 a 1 10 t\n"
    ranking, notes = read_run(text, judged, tmp_path)
    assert orders(judged, ranking)["q1"] == ["a", "c", "b"]
    assert notes[0] == "mine.run: 1 candidates were there twice or more; their first places count."


def test_gzip_and_line_ends_and_marks_do_not_matter(judged: JudgedSet, tmp_path: Path) -> None:
    wanted = orders(judged, read_run(RUN, judged, tmp_path)[0])
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
        assert orders(judged, read_rankings(path, judged, judged.pools)[0]) == wanted, name


def test_numbers_are_ids_too(judged_set: MakeSet, tmp_path: Path) -> None:
    judged = judged_set({"12": {"7": 1, "8": 0}})
    ranking, _ = read_json('{"12": [[7, 1], ["8", 2]]}', judged, tmp_path)
    assert orders(judged, ranking) == {"12": ["7", "8"]}


def test_what_nobody_asked_for_is_left_out_and_counted(judged: JudgedSet, tmp_path: Path) -> None:
    content = WHOLE | {
        "q9": [["a", 1]],
        "q1": [["c", 0.5], ["q1", 0.6], ["a", 1.5], ["nobody", 2], ["c", 2.2], ["b", 2.5], ["d", 3]],
    }
    ranking, notes = read_json(content, judged, tmp_path)
    assert orders(judged, ranking) == {"q1": ["c", "a", "b"], "q 2": ["d", "a"]}
    assert notes == (
        "mine.json: 1 queries that were not asked for were left out.",
        "mine.json: 3 candidates that are not in their query's pool were left out.",
        "mine.json: 1 candidates were there twice or more; their first places count.",
    )


def test_queries_that_nobody_asked_for_take_no_memory_without_end(
    judged: JudgedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_MOST_OTHERS", 3)
    others = "".join(f"other{i} Q0 a 1 1 t\n" for i in range(3))
    assert len(read_run(RUN + others, judged, tmp_path)[1]) == 1
    with pytest.raises(RankingError, match="more than 3 queries that were not asked for"):
        read_run(RUN + others + "other4 Q0 a 1 1 t\n", judged, tmp_path)


def test_of_a_query_that_is_there_twice_the_last_list_counts(judged: JudgedSet, tmp_path: Path) -> None:
    text = json.dumps(WHOLE)[:-1] + ', "q1": [["b", 1], ["a", 2], ["c", 3]]}'
    ranking, notes = read_json(text, judged, tmp_path)
    assert orders(judged, ranking)["q1"] == ["b", "a", "c"]
    assert notes == ("mine.json: 1 queries were there twice; their last lists count.",)


def test_a_query_may_be_called_by_its_paper_where_that_is_one_query(judged_set: MakeSet, tmp_path: Path) -> None:
    whole = judged_set({"p": {"a": 1, "b": 0}})
    pool = whole.pools[0]
    named = Pool("p_method", pool.row, pool.rows, pool.grades, "method")
    path = tmp_path / "x.json"
    path.write_text('{"p": [["b", 1], ["a", 2]]}')
    ranking, _ = read_rankings(path, whole, [named])
    assert orders(whole, ranking) == {"p_method": ["b", "a"]}
    with pytest.raises(RankingError, match="2 of 2 queries"):
        read_rankings(path, whole, [named, Pool("p_result", pool.row, pool.rows, pool.grades, "result")])


def test_a_query_in_two_folds_is_read_once(judged: JudgedSet, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(WHOLE))
    ranking, _ = read_rankings(path, judged, [*judged.pools, judged.pools[0]])
    assert [pool.query for pool in ranking.pools] == ["q1", "q 2"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"q1": WHOLE["q1"]}, "it does not rank 1 of 2 queries (q 2 first)"),
        (WHOLE | {"q1": WHOLE["q1"][:1]}, "it lacks 2 candidates in the pools of 1 queries (a of q1 first)"),
        ({"q1": []}, "1 of 2 queries"),
        ({}, "2 of 2 queries"),
        ({"q1": {"a": 1}}, "the query 'q1' has no list but {'a': 1}. Give every query a list of [candidate, score]"),
        ({"q1": ["a", "b"]}, "entry 1 of the query 'q1' is 'a', not [candidate, score]. Give every query a list"),
        ({"q1": [["a", 1, 2]]}, "not [candidate, score]"),
        ({"q1": [[None, 1]]}, "None, which is no id. Give every query a list"),
        ({"q1": [[["a"], 1]]}, "which is no id"),
        ({"q1": [["a", "1"]]}, "'1' for a score, which is no number. Give every query a list"),
        ({"q1": [["a", True]]}, "True for a score"),
        ({"q1": [["a", 1e300]]}, "no finite number of 32 bits. Correct it"),
        ({"q1": [["a", 10**400]]}, "no finite number"),
        ('{"q1": [["a", NaN]]}', "no JSON object"),
        ('{"q1": [["a", 1]', "no JSON object"),
        ('{"q1": [["a", 1]]} {}', "something follows"),
        ("[]", "no JSON object"),
        ('{"q1": ' + "[" * 100_000, "no JSON object"),
    ],
)
def test_json_that_is_no_ranking_is_refused(judged: JudgedSet, tmp_path: Path, content: object, told: str) -> None:
    with pytest.raises(RankingError) as caught:
        read_json(content, judged, tmp_path)
    assert str(caught.value).startswith("mine.json: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "2 of 2 queries"),
        ("q1 Q0 a 1 1\n", "line 1 has 5 fields"),
        ("\nq1 Q0 a 1 1 t u\n", "line 2 has 7 fields"),
        ("q1 Q0 a 1 x t\n", "line 1 has the score x"),
        ("q1 Q0 a 1 nan t\n", "no finite number"),
        ("q1 Q0 a 1 inf t\n", "no finite number"),
        ("q1 Q0 a 1 1e39 t\n", "no finite number"),
        ("x" * 200_000, "line 1 has 1 fields"),
        ("q1 Q0 a 1 1 t" + " " * 300_000 + "\n", "65,536 characters"),
        ("\x00\x01\x02", "fields"),
    ],
)
def test_a_file_that_is_no_run_is_refused(judged: JudgedSet, tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RankingError) as caught:
        read_run(text, judged, tmp_path)
    assert told in str(caught.value)
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
def test_any_order_comes_back_from_either_form(
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
    lines = [f"{escaped(ids[0])} Q0 {escaped(one)} 1 {score} t\n" for one, score in zip(order, scores, strict=True)]
    random.Random(0).shuffle(lines)
    (folder / "x.run").write_text("".join(lines))
    ranking, _ = read_rankings(folder / "x.run", judged, judged.pools)
    # The rule, said in another way: by score, then by id, both from high to low.
    wanted = [one for _, one in sorted(zip(scores, order, strict=True), reverse=True)]
    assert orders(judged, ranking)[ids[0]] == wanted
