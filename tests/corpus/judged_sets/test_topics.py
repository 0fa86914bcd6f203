"""Sets of a corpus's topics: planted groups are found, and the weights are worked out by hand."""

from math import log

import pytest

from corpus.judged_sets.model import SetError
from corpus.judged_sets.topics import build_from_topics
from corpus.paper import Paper, to_table
from tests.corpus.judged_sets.releases import as_ids


def topical(groups: int, each: int, *, lone: int = 0) -> list[Paper]:
    """Groups of papers that share four rare topics each, and papers that share none; all have a common topic."""
    papers = [
        Paper(f"{g}-{i}", f"Title {g} {i}", "β", topics=("Humans", *(f"{g} {t}" for t in range(4)), f"own {g} {i}"))
        for g in range(groups)
        for i in range(each)
    ]
    alone = [
        Paper(f"lone-{i}", f"Lone {i}", "β", topics=("Humans", *(f"{i}, {t}" for t in range(3)))) for i in range(lone)
    ]
    return papers + alone


def test_topics_stand_for_judgements() -> None:
    found = build_from_topics(to_table(topical(12, 3, lone=20)), name="mine", queries=20)
    assert (len(found.pools), len(found.papers), found.relevant_from) == (20, 56, 2)
    for query, pool in as_ids(found).items():
        group = query.split("-")[0]
        assert group != "lone"
        assert {id for id, grade in pool.items() if grade == 2} == {f"{group}-{i}" for i in range(3)} - {query}
        assert len(pool) == 55
        assert 1 not in pool.values()
    assert "nobody judged it" in found.rules
    assert "random.Random(0)" in found.rules


def test_the_weights_are_an_idf_weighted_jaccard() -> None:
    # Of 40 papers: a and b share "one" (2 of 40) of three topics each, among them "two" (3 of 40).
    others = [Paper(str(i), f"T{i}", "x", topics=tuple(f"{i} {t}" for t in range(3))) for i in range(36)]
    a = Paper("a", "A", "x", topics=("One", "two", "three"))
    b = Paper("b", "B", "x", topics=("one", "four", "five", "TWO"))
    c = Paper("c", "C", "x", topics=("two", "six", "seven", "eight"))
    d = Paper("d", "D", "x", topics=("two few", "only two"))
    found = build_from_topics(to_table([a, b, c, d, *others]), name="mine")
    one, two, lone = log(40 / 2), log(40 / 3), log(40)
    expected = {
        ("a", "b"): (one + two) / (one + two + 3 * lone),
        ("a", "c"): two / (two + one + 4 * lone),
        ("b", "c"): two / (two + one + 5 * lone),
    }
    assert expected["a", "b"] > 0.3 and expected["b", "c"] < 0.15
    assert 0.1 < expected["a", "c"] < 0.15
    pools = as_ids(found)
    assert pools.keys() == {"a", "b"}
    assert {id: grade for id, grade in pools["a"].items() if grade} == {"b": 2}
    assert "d" not in pools["a"]


def test_a_related_paper_has_grade_1() -> None:
    shared = [Paper(f"{i}", f"T{i}", "x", topics=("s", "t", "u")) for i in range(2)]
    half = Paper("half", "H", "x", topics=("s", "t", "v", "w", "y"))
    others = [Paper(f"o{i}", f"O{i}", "x", topics=tuple(f"{i} {t}" for t in range(3))) for i in range(60)]
    pools = as_ids(build_from_topics(to_table([*shared, half, *others]), name="mine"))
    assert {id: grade for id, grade in pools["0"].items() if grade} == {"1": 2, "half": 1}


def test_copies_and_seeds() -> None:
    papers = topical(30, 3)
    copies = [Paper(f"copy {paper.id}", paper.title, paper.abstract, topics=paper.topics) for paper in papers]
    found = build_from_topics(to_table(papers + copies), name="mine", seed=1)
    assert len({(paper.title, paper.abstract) for paper in found.papers}) == len(found.papers) == 90
    again = build_from_topics(to_table(papers + copies), name="mine", seed=1)
    other = build_from_topics(to_table(papers + copies), name="mine", seed=2)
    assert again.fingerprint == found.fingerprint != other.fingerprint


def test_a_large_corpus_is_sampled() -> None:
    found = build_from_topics(to_table(topical(300, 3)), name="mine", queries=50)
    assert (len(found.papers), len(found.pools)) == (600, 50)
    assert all((pool.grades == 2).any() for pool in found.pools)


@pytest.mark.parametrize("papers", [[], topical(0, 0, lone=30), [Paper("a", "A", "x")] * 3, topical(1, 5)])
def test_a_corpus_without_shared_topics_is_refused(papers: list[Paper]) -> None:
    with pytest.raises(SetError, match="Choose a larger corpus, or one with subject headings or keywords"):
        build_from_topics(to_table(papers), name="mine")


def test_no_queries_are_refused() -> None:
    with pytest.raises(SetError, match="ask for 1 or more"):
        build_from_topics(to_table(topical(12, 3)), name="mine", queries=0)
