"""The filters of citing sentences, each at its edges, and what they say that they dropped."""

from __future__ import annotations

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
        (cites(FIVE, 0), "cited_alone"),
        (cites(FIVE, 1), "cited_alone"),
        (cites(FIVE, 2), ""),
        (cites(FIVE, 50), ""),  # how many of them are in the corpus is known later
        (cites(words(4)), "too_short"),
        (cites(words(5)), ""),
        (cites("  one\ttwo \n three\u00a0four [5]  "), ""),
        (cites(words(60)), ""),
        (cites(words(61)), "too_long"),
        (cites(""), "too_short"),
        (cites("no bracket in these five words"), "without_bracket"),
        (cites("only an opening ( in these"), ""),
        (cites("only a closing ] in these"), ""),
        (cites("{curly} ones do not count here"), "without_bracket"),
    ],
)
def test_each_filter_of_the_text_at_its_edges(sentence: CitingSentence, dropped: str) -> None:
    filter = ContextFilter(ContextRules())
    assert filter.may_be_context(sentence) == (not dropped)
    wanted = ContextReport(sentences=1)
    if dropped:
        wanted = replace(wanted, **{dropped: 1})
    assert filter.report == wanted


@pytest.mark.parametrize(
    ("rows", "most", "dropped"),
    [
        ([], 3, "unknown"),
        ([4], 3, "unknown"),
        ([4, 5], 3, ""),
        ([4, 5, 6], 3, ""),
        ([4, 5, 6, 7], 3, "cited_in_crowd"),
        (list(range(100)), 100, ""),
        (list(range(101)), 100, "cited_in_crowd"),
    ],
)
def test_how_many_are_in_the_corpus(rows: list[int], most: int, dropped: str) -> None:
    filter = ContextFilter(ContextRules(most_cited=most))
    assert filter.is_context("a", FIVE, rows) == (not dropped)
    assert getattr(filter.report, dropped or "kept") == 1


def test_equal_but_for_digits_and_once_a_cited_set() -> None:
    filter = ContextFilter(ContextRules())
    asked = [
        ("a", "As shown before [1, 2].", [0, 1], ""),
        ("b", "As shown before [31,  245].", [2, 3], ""),  # a blank after the comma, and none between digits: see below
        ("b", "As shown before [3, 4].", [2, 3], "repeated_text"),
        ("c", "As shown  before\n[12, 7].", [5, 6], "repeated_text"),
        ("c", "As shown before [12, 7]!", [5, 6], ""),
        ("c", "Another sentence of this paper [12, 7].", [6, 5], "repeated_set"),
        ("c", "Yet another sentence of this paper [12, 7, 9].", [6, 5, 4], ""),
        ("d", "Another paper may cite the same set [7, 12].", [5, 6], ""),
        ("d", "And the same again, in other words [7, 12].", [5, 6], "repeated_set"),
    ]
    # The second differs from the first in digits and white space alone.
    asked[1] = (*asked[1][:3], "repeated_text")
    for citing, sentence, rows, dropped in asked:
        before = filter.report.as_json()
        assert filter.is_context(citing, sentence, rows) == (not dropped), sentence
        assert getattr(filter.report, dropped or "kept") == before[dropped or "kept"] + 1
    assert filter.report.kept == 4


def test_a_sentence_that_falls_is_not_what_a_later_one_repeats() -> None:
    filter = ContextFilter(ContextRules())
    assert not filter.is_context("a", "Shown by others [1, 2].", [0])
    assert filter.is_context("b", "Shown by others [1, 2].", [0, 1])


def test_the_steps_say_in_words_what_was_dropped_and_add_up() -> None:
    rules = ContextRules(most_cited=7, least_words=2, bracket=False)
    filter = ContextFilter(rules)
    assert filter.may_be_context(cites("two words"))
    assert not filter.may_be_context(cites("one"))
    assert not filter.is_context("a", "two words", [1])
    steps = filter.report.steps(rules)
    assert [told for told, _ in steps][:6] == [
        "fewer than 2 papers cited",
        "fewer than 2 words",
        "more than 60 words",
        "no bracket or parenthesis (not asked for)",
        "fewer than 2 of them among the papers",
        "more than 7 of them among the papers",
    ]
    assert sum(count for _, count in steps) + filter.report.kept == filter.report.sentences == 2
    assert len(filter.report.as_json()) == len(steps) + 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"least_cited": 1},
        {"least_cited": 4},
        {"most_cited": 1},
        {"most_cited": 1_001},
        {"least_words": -1},
        {"most_words": 4},
    ],
)
def test_rules_that_leave_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(PairsError, match="were asked for"):
        ContextRules(**wrong)  # type: ignore[arg-type]
