"""Reports: what stands in them, that numbers are right in all three forms, and that nothing in them is run."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from components.evaluation.format import cell, issue_descriptions, percent, points, summary, table
from components.evaluation.report import Report, report_of
from components.evaluation.results import PoolSizes, QueryScores
from components.evaluation.statistics import paired_test
from corpus.judged_sets.model import DataIssue, DataIssueKind
from tests.components.evaluation.planted import evaluation

HOSTILE = "=cmd|' /C calc'!A0 <script>alert(1)</script> | [x](javascript:1) `\n# :red[x] $a$ @www.x.y \u202e\x00"


def scores(values: Sequence[float], *, groups: Sequence[str] = ("a", "a", "b", "b")) -> list[QueryScores]:
    return [
        QueryScores(f"q{i}", f"q{i}", "T", group, 0, 50, 1, {"MAP": value, "NDCG%20": value / 2})
        for i, (value, group) in enumerate(zip(values, groups, strict=True))
    ]


@pytest.fixture
def report() -> Report:
    first = evaluation("a", "specter", means=(0.6074, 0.77))
    second = evaluation("b", "mine", means=(0.5, 0.6))
    return report_of([first, second], [scores([0.1, 0.2, 0.3, 0.4]), scores([0.1, 0.1, 0.2, 0.5])])


def rows_of(markdown: str, head: str) -> list[list[str]]:
    """The cells of the table whose heading line begins so."""
    lines = markdown[markdown.index(head) :].splitlines()
    cut = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[one.strip() for one in line.strip("|").split(" | ")] for line in lines[2:cut]]


def test_published_figures_stand_beside_ours_with_the_difference(report: Report) -> None:
    rows = rows_of(report.markdown(), "| system | MAP | 95 %")
    assert rows[0] == [
        "specter", "**60.74**", "40.00 to 55.00", "60.62", "+0.12",
        "**77.00**", "50.00 to 65.00", "77.20", "−0.20", "yes",
    ]  # fmt: skip
    assert rows[1][3:5] == ["–", "–"]
    table = list(csv.DictReader(io.StringIO(report.csv())))
    assert float(table[0]["MAP published"]) == pytest.approx(0.6062)
    assert float(table[0]["MAP difference"]) == pytest.approx(0.0012)
    assert table[1]["MAP published"] == table[1]["MAP difference"] == ""
    content = json.loads(report.json())
    assert content["evaluations"][0]["difference"]["NDCG%20"] == pytest.approx(-0.002)


def test_a_score_that_is_not_comparable_has_no_difference(report: Report) -> None:
    one = replace(report.evaluations[0], not_comparable=("Another split.",))
    found = Report((one,))
    row = rows_of(found.markdown(), "| system | MAP | 95 %")[0]
    assert row[3:5] == ["60.62", "–"]
    assert row[-1] == "no"
    assert "Not comparable with published scores: Another split." in found.markdown()
    assert json.loads(found.json())["evaluations"][0]["difference"] == {}
    assert next(csv.DictReader(io.StringIO(found.csv())))["MAP difference"] == ""


def test_the_facts_of_set_and_systems_are_printed(report: Report) -> None:
    text = report.markdown()
    for fact in (
        "4 queries, 70 papers; pools of 3 to 60 candidates, 50.2 on average; relevant from grade 2",
        "1,234 papers with only a title or only an abstract, ranked by what is there (such as p1, p2)",
        "1 of the queries have no relevant candidate",
        "2 have a pool under five",
        f"`{'f' * 16}`",
        f"`{'a' * 16}`",
        "encoding 1.3 s",
        "python 3.11.7",
        "A machine",
        "it is not nDCG@20",
    ):
        assert fact in text
    sizes = PoolSizes(smallest=60, median=60, mean=60.0, largest=60)
    text = report_of([evaluation("a", "mine", pool_sizes=sizes)], [scores([0.1, 0.2, 0.3, 0.4])]).markdown()
    assert "4 queries, 70 papers; pools of 60 candidates each; relevant from grade 2" in text


def test_tests_are_of_the_later_against_the_first_and_groups_are_means(report: Report) -> None:
    expected = paired_test([np.array([0.1, 0.1, 0.2, 0.5])], [np.array([0.1, 0.2, 0.3, 0.4])])
    assert [(one.id, one.against, one.metric) for one in report.tests] == [
        ("b" * 16, "a" * 16, "MAP"),
        ("b" * 16, "a" * 16, "NDCG%20"),
    ]
    assert report.tests[0].test == expected
    row = rows_of(report.markdown(), "| system | against")[0]
    assert row[:4] == ["mine", "specter", "MAP", points(expected.difference)]
    assert row[5:] == ["1", "2", "1"]
    groups = rows_of(report.markdown(), "| group | queries")
    assert groups[0] == ["a", "2", "50", "15.00", "7.50", "10.00", "5.00"]
    assert groups[1] == ["b", "2", "50", "35.00", "17.50", "35.00", "17.50"]


def test_a_group_s_score_is_the_mean_over_folds() -> None:
    values = [("a", 0, 0.2), ("a", 0, 0.4), ("a", 1, 0.9), ("b", 1, 0.5)]
    found = [
        QueryScores(f"q{i}", f"q{i}", "T", group, fold, 50, 1, {"MAP": value, "NDCG%20": value})
        for i, (group, fold, value) in enumerate(values)
    ]
    report = report_of([evaluation("a", "one", folds=(2, 2))], [found])
    assert [one.means["MAP"] for one in report.groups] == pytest.approx([(0.3 + 0.9) / 2, 0.5])


def test_only_equal_queries_are_tested_and_each_set_has_a_section() -> None:
    first, other = evaluation("a", "one"), evaluation("b", "two", split="dev")
    fewer = evaluation("c", "three")
    found = report_of([first, other, fewer], [scores([0.1, 0.2, 0.3, 0.4])] * 2 + [scores([0.5], groups=["a"])])
    assert found.tests == ()
    assert [one.id[0] for one in found.evaluations] == ["a", "c", "b"]
    assert re.findall(r"^## (.*)$", found.markdown(), re.MULTILINE) == ["relish, split test", "relish, split dev"]


def test_nothing_in_a_report_is_markup_or_a_formula() -> None:
    one = evaluation(
        "a", HOSTILE, set_name=HOSTILE, split=HOSTILE, facet=HOSTILE, origin=HOSTILE, rules=HOSTILE,
        not_comparable=(HOSTILE,), notes=(HOSTILE,), machine=HOSTILE, made=HOSTILE, set_fingerprint=HOSTILE,
        handled=(DataIssue("title_only", 1, (HOSTILE,)),), versions={HOSTILE: HOSTILE}, seconds={HOSTILE: 1.0},
    )  # fmt: skip
    found = report_of([one], [scores([0.1, 0.2, 0.3, 0.4], groups=[HOSTILE, HOSTILE, "b", "b"])])
    text = found.markdown()
    unescaped = re.sub(r"`[^`]*`", "", re.sub(r"\\.", "", text))  # what is left can be markup; in code nothing is
    for danger in ("<", ">", "[", "]", "$", ":r", "\u202e", "\x00", "www."):
        assert danger not in unescaped, danger
    assert "\n#" not in text.replace("\n## ", "\n")
    for line in text.splitlines():
        if line.startswith("|"):
            # Every bar that is not escaped parts two cells.
            bars = len(re.findall(r"(?<!\\)\|", line))
            assert bars in {len(re.findall(r"(?<!\\)\|", other)) for other in text.splitlines() if "| ---" in other}
    for row in csv.reader(io.StringIO(found.csv())):
        assert not any(re.match(r"\s*[=+@]", one) for one in row)
    json.loads(found.json())


def test_cells_show_their_text() -> None:
    assert cell("1. not a list") == "1\\. not a list"
    assert cell("") == ""
    assert cell("a|b") == "a\\|b"
    assert cell("all-minilm-l6-v2 (bfloat16), a_b: c") == "all-minilm-l6-v2 (bfloat16), a_b: c"
    assert cell("_x_ *y*") == "\\_x\\_ \\*y\\*"
    assert table(["a", "b", "c"], [["1", "1,234.5", "x"], ["2", "–", "y"]]).splitlines()[1] == "| --- | ---: | --- |"
    assert table(["a"], []) == "| a |\n| --- |"
    assert (percent(None), points(None)) == ("–", "–")


def test_a_summary_is_one_sentence() -> None:
    text = summary(evaluation("a", "specter", facet="method", set_name="csfcube"))
    assert text == "specter on csfcube (method), split test: MAP 50.00 %, NDCG%20 60.00 %, over 4 queries."


def test_every_kind_of_issue_has_a_description() -> None:
    issues = [DataIssue(kind, number, ("a",)) for number, kind in enumerate(get_args(DataIssueKind), start=1)]
    words = issue_descriptions(issues)
    assert len(set(words)) == len(issues)
    assert words[0] == "1 queries without a text, left out (such as a)"
