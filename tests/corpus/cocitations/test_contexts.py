from dataclasses import replace

import pytest

from corpus.cocitations.contexts import ContextFilter, ContextReport, ContextRules
from corpus.cocitations.full_text import CitingSentence, Reference
from corpus.cocitations.pairs import PairsError

FIVE = "one two three four (five)"


def cites(sentence: str, count: int = 2) -> CitingSentence:
    return CitingSentence("doi:10.1/a", sentence, tuple(Reference((f"id:{i}",)) for i in range(count)))


def words(count: int) -> str:
    return " ".join([*(["word"] * (count - 1)), "[1,2]."])


@pytest.mark.parametrize(
    ("sentence", "dropped"),
    [
        (cites(FIVE, 0), "cited_alone"), (cites(FIVE, 1), "cited_alone"), (cites(FIVE, 2), ""), (cites(FIVE, 50), ""),
        (cites(words(4)), "too_short"), (cites(words(5)), ""), (cites("  one\ttwo \n three\u00a0four [5]  "), ""),
        (cites(words(60)), ""), (cites(words(61)), "too_long"), (cites(""), "too_short"),
        (cites("no bracket in these five words"), "without_bracket"), (cites("only an opening ( in these"), ""),
        (cites("only a closing ] in these"), ""), (cites("{curly} ones do not count here"), "without_bracket"),
    ],
)  # fmt: skip
def test_text_filters_at_their_bounds(sentence: CitingSentence, dropped: str) -> None:
    filter = ContextFilter(ContextRules())
    assert filter.passes_text_filters(sentence) == (not dropped)
    assert filter.report == replace(ContextReport(sentences=1), **{dropped: 1} if dropped else {})


@pytest.mark.parametrize(
    ("count", "most", "dropped"),
    [(0, 3, "unknown"), (1, 3, "unknown"), (2, 3, ""), (3, 3, ""), (4, 3, "cited_in_crowd"), (100, 100, ""),
     (101, 100, "cited_in_crowd")],
)  # fmt: skip
def test_the_number_of_known_papers_at_its_bounds(count: int, most: int, dropped: str) -> None:
    filter = ContextFilter(ContextRules(most_cited=most))
    assert filter.is_context("a", FIVE, list(range(count))) == (not dropped)
    assert getattr(filter.report, dropped or "kept") == 1


def test_repeated_texts_and_repeated_sets_are_dropped() -> None:
    filter = ContextFilter(ContextRules())
    for citing, sentence, rows, result in [
        ("z", "As shown before [1, 2].", [0], "unknown"),  # what is dropped cannot be repeated
        ("a", "As shown before [1, 2].", [0, 1], "kept"),
        ("b", "As shown before [31,  245].", [2, 3], "repeated_text"),
        ("c", "As shown  before\n[12, 7].", [5, 6], "repeated_text"),
        ("c", "As shown before [12, 7]!", [5, 6], "kept"),
        ("c", "Another sentence of this paper [12, 7].", [6, 5], "repeated_set"),
        ("c", "Yet another sentence of this paper [12, 7, 9].", [6, 5, 4], "kept"),
        ("d", "Another paper may cite the same set [7, 12].", [5, 6], "kept"),
        ("d", "And the same again, in other words [7, 12].", [5, 6], "repeated_set"),
    ]:
        before = filter.report.as_json()[result]
        assert filter.is_context(citing, sentence, rows) == (result == "kept"), sentence
        assert filter.report.as_json()[result] == before + 1
    assert filter.report.kept == 4


def test_steps_name_the_filters_and_add_up() -> None:
    rules = ContextRules(most_cited=7, least_words=2, bracket=False)
    filter = ContextFilter(rules)
    assert filter.passes_text_filters(cites("two words"))
    assert not filter.passes_text_filters(cites("one"))
    assert not filter.is_context("a", "two words", [1])
    steps = filter.report.steps(rules)
    assert [name for name, _ in steps][1:4] == [
        "fewer than 2 words",
        "more than 60 words",
        "no bracket or parenthesis (not asked for)",
    ]
    assert sum(count for _, count in steps) + filter.report.kept == filter.report.sentences == 2
    assert len(filter.report.as_json()) == len(steps) + 2


@pytest.mark.parametrize(
    "wrong",
    [{"least_cited": 1}, {"least_cited": 4}, {"most_cited": 1}, {"most_cited": 1_001}, {"least_words": -1},
     {"most_words": 4}],
)  # fmt: skip
def test_invalid_rules_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(PairsError, match="Give a range"):
        ContextRules(**wrong)  # type: ignore[arg-type]
