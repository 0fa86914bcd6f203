"""What no ranking can use is handled in one way and counted; an oracle in plain Python does the same its own way."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.judged_sets import model
from corpus.judged_sets.model import (
    MAX_EXAMPLE_CHARS,
    MAX_GRADE,
    DataIssue,
    JudgedSet,
    PoolPaper,
    RawPool,
    SetError,
    judged_set,
    pool_paper,
)
from tests.corpus.judged_sets.releases import counts

PAPERS = {id: PoolPaper(id, f"T{id}", f"A{id}") for id in "abcdefgh"}
PAPERS["t"] = PoolPaper("t", "title alone", "")
PAPERS["x"] = PoolPaper("x", "", "")


def check(
    *pools: RawPool,
    splits: dict[str, list[list[str]]] | None = None,
    papers: dict[str, PoolPaper] = PAPERS,
    more: tuple[DataIssue, ...] = (),
    relevant_from: int = 1,
) -> JudgedSet:
    return judged_set(
        name="planted",
        origin="own",
        papers=papers,
        pools=pools,
        splits=splits or {},
        relevant_from=relevant_from,
        more_handled=more,
    )


def raw(query: str, candidates: str, grades: list[int] | None = None, **more: str) -> RawPool:
    return RawPool(query, query[0], list(candidates), grades if grades is not None else [1] * len(candidates), **more)


def pool_of(found: JudgedSet, query: str) -> dict[str, int]:
    pool = next(pool for pool in found.pools if pool.query == query)
    return dict(zip((found.papers[row].id for row in pool.rows), pool.grades.tolist(), strict=True))


# Each thing that is handled, planted once


def test_a_clean_set_is_kept_as_it_is() -> None:
    found = check(raw("a", "bcdef", [0, 1, 2, 3, 0], group="one"), splits={"dev": [[]], "test": [["a"]]})
    assert found.handled == ()
    assert pool_of(found, "a") == {"b": 0, "c": 1, "d": 2, "e": 3, "f": 0}
    assert [paper.id for paper in found.papers] == list("abcdef")
    assert found.splits == {"dev": (), "test": (("a",),)}
    (pool,) = found.pools
    assert (pool.group, pool.rows.dtype, pool.grades.dtype) == ("one", np.int32, np.int16)
    assert [[pool.query for pool in fold] for fold in found.folds("test")] == [["a"]]
    with pytest.raises(SetError, match="has no query with a pool"):
        found.folds("dev")


@pytest.mark.parametrize("lost", ["nowhere", "x"])
def test_a_query_without_text_is_left_out_and_counted_once(lost: str) -> None:
    found = check(raw("a", "bcdef"), RawPool("q", lost, ["b", "gone"], [1, 1]), splits={"test": [["a", "q"]]})
    assert counts(found.handled) == {"query_without_text": 1}
    assert found.handled[0].examples == ("q",)
    assert found.splits == {"test": (("a",),)}


def test_candidates_without_text_are_counted_for_each_pool() -> None:
    found = check(RawPool("a", "a", ["b", "?", "c", "d", "e", "f", "x"], [1] * 7), raw("b", "xacdef"))
    assert found.handled == (DataIssue("candidate_without_text", 3, ("?", "x")),)
    assert pool_of(found, "a").keys() == set("bcdef")


def test_a_paper_of_half_a_text_is_ranked_and_counted_once() -> None:
    found = check(raw("a", "tbcde"), raw("t", "abcde"))
    assert found.handled == (DataIssue("title_only", 1, ("t",)),)


def test_the_last_judgement_of_a_query_counts_and_nothing_of_the_first() -> None:
    found = check(raw("a", "x" * 3 + "b"), raw("b", "acdef"), raw("a", "cdefg", [0, 0, 0, 0, 2]))
    assert counts(found.handled) == {"repeated_query": 1}
    assert [pool.query for pool in found.pools] == ["a", "b"]
    assert pool_of(found, "a") == {"c": 0, "d": 0, "e": 0, "f": 0, "g": 2}


def test_a_repeated_candidate_keeps_its_first_place_and_its_last_grade() -> None:
    found = check(raw("a", "bcbdefb", [0, 1, 1, 1, 1, 1, 2]))
    assert found.handled == (DataIssue("repeated_candidate", 2, ("b",)),)
    assert list(pool_of(found, "a").items())[:2] == [("b", 2), ("c", 1)]


def test_the_query_leaves_its_own_pool() -> None:
    found = check(raw("a", "bacdef", [0, 0, 1, 1, 1, 1]))
    assert found.handled == (DataIssue("query_in_its_pool", 1, ("a",)),)
    assert "a" not in pool_of(found, "a")


@pytest.mark.parametrize("candidates", ["", "a", "x"])
def test_an_empty_pool_leaves_its_query_out(candidates: str) -> None:
    found = check(raw("a", candidates), raw("b", "cdefg"), splits={"test": [["a", "b"]]})
    assert counts(found.handled)["empty_pool"] == 1
    assert "split_without_pool" not in counts(found.handled)
    assert [pool.query for pool in found.pools] == ["b"]


def test_small_pools_and_pools_without_a_positive_stay() -> None:
    found = check(raw("a", "bcde"), raw("b", "cdefg", [1] * 5), raw("c", "abdef", [1, 2, 0, 0, 0]), relevant_from=2)
    assert found.handled == (DataIssue("pool_under_five", 1, ("a",)), DataIssue("without_positive", 2, ("a", "b")))
    assert len(found.pools) == 3


def test_splits_name_what_is_there_once() -> None:
    pools = [raw(query, "cdefg".replace(query, "h")) for query in "abc"]
    found = check(*pools, splits={"dev": [["a", "a", "?", "b"]], "test": [["b", "c", "!"]]})
    assert counts(found.handled) == {"split_without_pool": 2, "repeated_in_split": 1, "in_two_splits": 1}
    assert found.splits == {"dev": (("a", "b"),), "test": (("b", "c"),)}


def test_queries_that_no_split_names_are_counted() -> None:
    pools = [raw(query, "cdefg".replace(query, "h")) for query in "abc"]
    found = check(*pools, splits={"dev": [["a"]], "test": [["?"]]})
    assert found.handled == (
        DataIssue("split_without_pool", 1, ("?",)),
        DataIssue("query_in_no_split", 2, ("b", "c")),
    )
    assert len(found.pools) == 3


def test_folds_may_share_queries_with_another_split_but_not_with_each_other() -> None:
    pools = [raw(query, "cdefg".replace(query, "h")) for query in "abc"]
    found = check(*pools, splits={"dev": [["a"]], "test": [["a", "b"], ["b", "c"], ["?"]]})
    assert counts(found.handled) == {"split_without_pool": 1, "repeated_in_split": 1}
    assert found.splits == {"dev": (("a",),), "test": (("a", "b"), ("c",))}


def test_without_splits_all_queries_are_one() -> None:
    assert check(raw("b", "acdef"), raw("a", "bcdef")).splits == {"all": (("b", "a"),)}


def test_what_the_caller_met_is_reported_with_the_rest() -> None:
    more = (DataIssue("query_in_its_pool", 4, ("k", "l")), DataIssue("repeated_paper", 2, ("m",)))
    found = check(raw("a", "abcdef"), more=more)
    assert found.handled == (DataIssue("query_in_its_pool", 5, ("k", "l", "a")), DataIssue("repeated_paper", 2, ("m",)))


def test_examples_are_short() -> None:
    found = check(RawPool("a", "a", ["b", "c" * 5_000], [1, 1]), more=(DataIssue("repeated_paper", 1, ("d" * 5_000,)),))
    assert [one.examples for one in found.handled if one.kind != "pool_under_five"] == [
        ("c" * MAX_EXAMPLE_CHARS,),
        ("d" * MAX_EXAMPLE_CHARS,),
    ]


def test_no_more_than_five_examples() -> None:
    found = check(RawPool("a", "a", ["b", *map(str, range(50))], [1] * 51))
    assert found.handled[0] == DataIssue("candidate_without_text", 50, ("0", "1", "2", "3", "4"))


# What is refused


@pytest.mark.parametrize("grade", [-1, MAX_GRADE + 1, 10**30])
def test_grades_out_of_bounds_are_refused_by_name(grade: int) -> None:
    with pytest.raises(SetError, match=rf"query 'a' has a grade of {grade}\. Grades are 0 to 1,000"):
        check(raw("a", "bc", [1, grade]))


def test_a_grade_of_thousands_of_digits_is_reported_in_short() -> None:
    with pytest.raises(SetError) as error:
        check(raw("a", "bc", [1, 10**4_000]))
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("relevant_from", [0, MAX_GRADE + 1, 10**30])
def test_what_is_relevant_is_a_grade(relevant_from: int) -> None:
    with pytest.raises(SetError, match=f"relevant_from is {relevant_from}"):
        check(raw("a", "bc"), relevant_from=relevant_from)


def test_the_name_of_a_group_is_no_text() -> None:
    with pytest.raises(SetError, match=r"query 'a': the name of its group has 1,001 characters"):
        check(raw("a", "bc", group="g" * 1_001))


def test_queries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_QUERIES", 2)
    assert len(check(raw("a", "bc"), raw("b", "cd")).pools) == 2
    with pytest.raises(SetError, match="more than 2 queries"):
        check(raw("a", "bc"), raw("x", ""), raw("b", "cd"))


def test_as_many_grades_as_candidates() -> None:
    with pytest.raises(SetError, match="query 'a' has 3 candidates and 2 grades"):
        check(RawPool("a", "a", ["b", "c", "d"], [1, 2]))


def test_a_set_without_a_query_says_why() -> None:
    with pytest.raises(
        SetError,
        match=r"none of 2 queries can be used \(1 × query without text; 1 × query in its pool; 1 × empty pool\)",
    ):
        check(raw("x", "bc"), raw("a", "a", [1]))
    with pytest.raises(SetError, match="none of 0 queries can be used"):
        check()


def test_texts_are_cleaned_and_bounded() -> None:
    assert pool_paper(" 1\x00", "A\u202e  title", "One.\n Two.") == PoolPaper("1", "A title", "One. Two.")
    with pytest.raises(SetError, match="paper '7': its abstract has 1,000,001 characters; the maximum is 1,000,000"):
        pool_paper("7", "t", "a" * 1_000_001)


# The fingerprint


def test_the_fingerprint_holds_all_that_changes_a_figure_and_no_order() -> None:
    splits = {"dev": [["a"]], "test": [["b"]]}
    pools = (raw("a", "bcdef", [0, 1, 2, 3, 0]), raw("b", "acdef"))
    first = check(*pools, splits=splits).fingerprint
    assert len(first) == 16 and int(first, 16) >= 0
    turned = (raw("b", "fedca"), raw("a", "fedcb", [0, 3, 2, 1, 0]))
    assert (
        check(*turned, splits=dict(reversed(splits.items())), papers=dict(reversed(PAPERS.items()))).fingerprint
        == first
    )
    others = [
        check(*pools, splits={"dev": [["b"]], "test": [["a"]]}),
        check(*pools),
        check(*pools, splits=splits, relevant_from=2),
        check(pools[0], raw("b", "acdeg"), splits=splits),
        check(raw("a", "bcdef", [0, 1, 2, 3, 1]), pools[1], splits=splits),
        check(*pools, splits=splits, papers=PAPERS | {"c": PoolPaper("c", "Tc", "another")}),
        check(*pools, splits=splits, papers=PAPERS | {"c": PoolPaper("c", "TcA", "c")}),
    ]
    assert len({first, *(other.fingerprint for other in others)}) == 8


# An oracle


@settings(max_examples=120)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcxyz"), st.lists(st.tuples(st.sampled_from("abcdefgtxz"), st.integers(0, 3)), max_size=9)
        ),
        min_size=1,
        max_size=8,
    ),
    st.dictionaries(st.sampled_from(["dev", "test"]), st.lists(st.sampled_from("abcxz?"), max_size=6), min_size=1),
    st.integers(1, 3),
)
def test_an_oracle_handles_and_counts_the_same(
    judged: list[tuple[str, list[tuple[str, int]]]], splits: dict[str, list[str]], relevant_from: int
) -> None:
    readable = {id for id, paper in PAPERS.items() if paper.title or paper.abstract}
    last = dict(judged)
    expected: dict[str, dict[str, int]] = {}
    met: Counter[str] = Counter()
    met["repeated_query"] = len(judged) - len(last)
    for query, members in last.items():
        if query not in readable:
            met["query_without_text"] += 1
            continue
        names = [name for name, _ in members]
        met["repeated_candidate"] += len(names) - len(set(names))
        met["query_in_its_pool"] += query in names
        met["candidate_without_text"] += len({name for name in names if name != query} - readable)
        pool = {name: [g for n, g in members if n == name][-1] for name in names if name in readable and name != query}
        if not pool:
            met["empty_pool"] += 1
            continue
        expected[query] = pool
        met["pool_under_five"] += len(pool) < 5
        met["without_positive"] += all(grade < relevant_from for grade in pool.values())
    used = set(expected) | {name for pool in expected.values() for name in pool}
    met["title_only"] = len(used & {"t"})
    wanted = {}
    for name, queries in splits.items():
        met["repeated_in_split"] += sum(query in queries[:i] and query in expected for i, query in enumerate(queries))
        met["split_without_pool"] += len({query for query in queries if query not in last})
        wanted[name] = [query for query in dict.fromkeys(queries) if query in expected]
    met["query_in_no_split"] = len(set(expected).difference(*wanted.values()))
    met["in_two_splits"] = len(set(wanted.get("dev", ())) & set(wanted.get("test", ())))

    pools = [RawPool(query, query, [name for name, _ in members], [g for _, g in members]) for query, members in judged]
    in_folds = {name: [queries] for name, queries in splits.items()}
    if not expected:
        with pytest.raises(SetError, match="queries can be used"):
            check(*pools, splits=in_folds, relevant_from=relevant_from)
        return
    found = check(*pools, splits=in_folds, relevant_from=relevant_from)
    assert {pool.query: pool_of(found, pool.query) for pool in found.pools} == expected
    assert {paper.id for paper in found.papers} == used
    assert counts(found.handled) == {kind: count for kind, count in met.items() if count}
    assert {name: [*folds[0]] if folds else [] for name, folds in found.splits.items()} == wanted
    assert all(found.papers[pool.row].id == pool.query for pool in found.pools)
