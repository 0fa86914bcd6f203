"""Reports: what systems reached on judged sets, with published figures beside it, as Markdown, CSV and JSON.

Markdown prints percent, as papers do, and differences in points of percent; CSV and JSON hold fractions 0 … 1.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from components.evaluation.format import (
    called,
    cell,
    code,
    handled_words,
    one_line,
    percent,
    points,
    set_words,
    table,
)
from components.evaluation.published import published_figures, published_rows
from components.evaluation.results import MAP, NDCG_20_PERCENT, Evaluation, QueryScores
from components.evaluation.scoring import METRICS, by_fold
from components.evaluation.standard_metrics import USUAL
from components.evaluation.statistics import BOOTSTRAP_SAMPLES, PAIRED_SAMPLES, PairedTest, paired_test
from corpus.readers.cells import guarded

MAIN = (MAP, NDCG_20_PERCENT)  # what the paper reports, and what is tested
MOST_GROUPS = 60  # of which a table is printed: the topics of TRECCOVID-RF are 50


@dataclass(frozen=True, slots=True)
class Tested:
    """A paired test of one evaluation (`id`) against another on the same queries, by one metric."""

    id: str
    against: str
    metric: str
    test: PairedTest


@dataclass(frozen=True, slots=True)
class Group:
    """What an evaluation reached on the queries of one topic, review or facet. means: fractions, by metric."""

    id: str
    group: str
    queries: int
    candidates: float
    means: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """Evaluations in the order that they are told in, tests of later ones against the first of their set and split."""

    evaluations: tuple[Evaluation, ...]
    tests: tuple[Tested, ...] = ()
    groups: tuple[Group, ...] = ()

    def markdown(self) -> str:
        """The report for people: a part for every set and split."""
        parts = [_part(self, list(evaluations)) for _, evaluations in groupby(self.evaluations, key=_place)]
        return "\n\n".join([*parts, _footnotes(self)]) + "\n"

    def csv(self) -> str:
        """A row an evaluation; no cell is run as a formula by a spreadsheet. Scores are fractions."""
        text = io.StringIO(newline="")
        rows = [_row(self, one) for one in self.evaluations]
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["id"], lineterminator="\r\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: guarded(one_line(cell)) if isinstance(cell, str) else cell for name, cell in row.items()}
            )
        return text.getvalue()

    def json(self) -> str:
        """All of it for programs. Scores are fractions."""
        content = {
            "scores": "fractions 0 … 1",
            "evaluations": [
                {
                    **asdict(one),
                    "queries": one.queries,
                    "comparable": one.comparable,
                    "published": dict(_published(one)),
                    "difference": _differences(one),
                }
                for one in self.evaluations
            ],
            "tests": [asdict(one) for one in self.tests],
            "groups": [asdict(one) for one in self.groups],
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"


def report_of(evaluations: Sequence[Evaluation], scores: Sequence[Sequence[QueryScores]]) -> Report:
    """The report of evaluations whose queries' scores are given; those of one set and split are told together."""
    first: dict[tuple[str, ...], int] = {}
    for i, one in enumerate(evaluations):
        first.setdefault(_place(one), i)
    order = sorted(range(len(evaluations)), key=lambda i: (first[_place(evaluations[i])], i))
    tests: list[Tested] = []
    for i in order:
        base = first[_place(evaluations[i])]
        if i != base and _queries(scores[i]) == _queries(scores[base]):
            tests += [
                Tested(
                    evaluations[i].id,
                    evaluations[base].id,
                    metric,
                    paired_test(by_fold(scores[i], metric), by_fold(scores[base], metric)),
                )
                for metric in MAIN
            ]
    groups = [group for i in order for group in _groups(evaluations[i], scores[i])]
    return Report(tuple(evaluations[i] for i in order), tuple(tests), tuple(groups))


def _place(evaluation: Evaluation) -> tuple[str, ...]:
    """What evaluations must have in common to stand in one table."""
    one = evaluation
    return one.set_name, one.facet, one.split, one.set_fingerprint, str(one.relevant_from)


def _queries(scores: Sequence[QueryScores]) -> list[tuple[int, str]]:
    return [(one.fold, one.query) for one in scores]


def _groups(evaluation: Evaluation, scores: Sequence[QueryScores]) -> list[Group]:
    """What was reached on each group, where there are several and not too many for a table."""
    names = list(dict.fromkeys(one.group for one in scores))
    if not 1 < len(names) <= MOST_GROUPS:
        return []
    found = []
    for name in names:
        mine = [one for one in scores if one.group == name]
        candidates = float(np.mean([one.candidates for one in mine]))
        # Over folds as the whole is: of CSFCube, a facet has the figure that it has alone.
        means = {metric: float(np.mean([fold.mean() for fold in by_fold(mine, metric)])) for metric in mine[0].metrics}
        found.append(Group(evaluation.id, name, len(mine), candidates, means))
    return found


def _published(evaluation: Evaluation) -> dict[str, float]:
    return dict(published_figures(evaluation.system, evaluation.set_name, evaluation.facet))


def _differences(evaluation: Evaluation) -> dict[str, float]:
    """Ours less the published, by metric; none where they may not be compared."""
    if not evaluation.comparable:
        return {}
    return {metric: evaluation.means[metric] - value for metric, value in _published(evaluation).items()}


# Markdown


def _part(report: Report, evaluations: list[Evaluation]) -> str:
    """What is to be said of one set and split."""
    ids = {one.id for one in evaluations}
    first = evaluations[0]
    tests = [one for one in report.tests if one.id in ids]
    groups = [one for one in report.groups if one.id in ids]
    parts = [f"## {cell(set_words(first))}", _facts(first), _main_table(evaluations)]
    if reasons := list(dict.fromkeys(reason for one in evaluations for reason in one.not_comparable)):
        parts.append("Not comparable with published figures: " + " ".join(map(cell, reasons)))
    if rows := published_rows(first.set_name, first.facet):
        parts.append(
            "Published on this set (percent):\n\n"
            + table(
                ["encoder", *MAIN],
                [[cell(row.encoder), *(percent(row.figures.get(metric)) for metric in MAIN)] for row in rows],
            )
        )
    parts.append(
        "The usual metrics, by ir-measures (percent):\n\n"
        + table(
            ["system", *USUAL],
            [[cell(called(one)), *(percent(one.means.get(metric)) for metric in USUAL)] for one in evaluations],
        )
    )
    if tests:
        parts.append("Paired tests:\n\n" + _test_table(evaluations, tests))
    if groups:
        parts.append("By group (percent):\n\n" + _group_table(evaluations, groups))
    parts.append("What ranked:\n\n" + _system_table(evaluations))
    notes = [note for one in evaluations for note in one.notes]
    if notes:
        parts.append("Notes:\n\n" + "\n".join(f"- {cell(note)}" for note in notes))
    return "\n\n".join(parts)


def _facts(one: Evaluation) -> str:
    sizes = one.pool_sizes
    folds = "" if len(one.folds) == 1 else f" in {len(one.folds)} folds ({' and '.join(map(str, one.folds))})"
    pools = f"{sizes['smallest']:,.0f} candidates each"
    if sizes["smallest"] != sizes["largest"]:
        pools = f"{sizes['smallest']:,.0f} to {sizes['largest']:,.0f} candidates, {sizes['mean']:,.1f} on average"
    facts = [
        f"{one.queries:,} queries{folds}, {one.papers:,} papers; pools of {pools}; relevant from grade "
        f"{one.relevant_from}",
        f"Set fingerprint `{code(one.set_fingerprint)}`; {cell(one.origin)}",
        f"{one.without_positive:,} of the queries have no relevant candidate and count with an average precision of 0; "
        f"{one.pools_under_five:,} have a pool under five and count with an NDCG%20 of 0",
    ]
    facts += [cell(words) for words in handled_words(one.handled)]
    if one.rules:
        facts.append(f"How it was made: {cell(one.rules)}")
    return "\n".join(f"- {fact}" for fact in facts)


def _main_table(evaluations: list[Evaluation]) -> str:
    published = {one.id: _published(one) for one in evaluations}
    beside = any(published.values())  # else there is nothing to set beside ours
    head = ["system"]
    for metric in MAIN:
        head += [metric, "95 % interval", *(["published", "difference"] if beside else [])]
    rows = []
    for one in evaluations:
        row, differences = [cell(called(one))], _differences(one)
        for metric in MAIN:
            low, high = one.intervals.get(metric, (None, None))
            row += [f"**{percent(one.means[metric])}**", f"{percent(low)} to {percent(high)}"]
            if beside:
                row += [percent(published[one.id].get(metric)), points(differences.get(metric))]
        rows.append([*row, "yes" if one.comparable else "no"])
    return table([*head, "comparable"], rows)


def _test_table(evaluations: list[Evaluation], tests: list[Tested]) -> str:
    names = {one.id: cell(called(one)) for one in evaluations}
    rows = [
        [
            names[one.id],
            names.get(one.against, one.against),
            one.metric,
            points(one.test.difference),
            f"{one.test.p_value:.5f}",
            *(f"{count:,}" for count in (one.test.wins, one.test.losses, one.test.ties)),
        ]
        for one in tests
    ]
    return table(["system", "against", "metric", "difference", "p", "better", "worse", "as good"], rows)


def _group_table(evaluations: list[Evaluation], groups: list[Group]) -> str:
    found = {(one.id, one.group): one for one in groups}
    rows = []
    for name in dict.fromkeys(one.group for one in groups):
        first = next(one for one in groups if one.group == name)
        row = [cell(name) or "(none)", f"{first.queries:,}", f"{first.candidates:,.0f}"]
        for one in evaluations:
            group = found.get((one.id, name))
            row += [percent(group.means[metric] if group else None) for metric in MAIN]
        rows.append(row)
    systems = [f"{cell(called(one))} {metric}" for one in evaluations for metric in MAIN]
    return table(["group", "queries", "candidates", *systems], rows)


def _system_table(evaluations: list[Evaluation]) -> str:
    rows = [
        [
            cell(called(one)),
            one.system.kind,
            f"`{code(one.system.fingerprint[:16])}`",
            cell(", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in one.seconds.items())),
            f"`{code(one.made)}`",
            f"`{code(one.id)}`",
        ]
        for one in evaluations
    ]
    return table(["system", "kind", "fingerprint", "took", "made", "evaluation"], rows)


def _footnotes(report: Report) -> str:
    notes = [
        "NDCG%20 is the NDCG of the nearest 20 % of a pool, the grade itself being the gain, and ranks 1 and 2 being "
        "whole; it is not nDCG@20. Intervals: percentile bootstrap over queries, "
        f"{BOOTSTRAP_SAMPLES:,} samples. p: two-sided paired randomisation test, {PAIRED_SAMPLES:,} samples."
    ]
    versions: dict[str, list[str]] = {}
    for one in report.evaluations:
        for name, version in one.versions.items():
            versions.setdefault(name, [])
            if version not in versions[name]:
                versions[name].append(version)
    notes.append(
        "Versions: " + ", ".join(f"{cell(name)} {cell(' / '.join(of))}" for name, of in versions.items()) + "."
    )
    machines = dict.fromkeys(one.machine for one in report.evaluations)
    notes.append("Machine: " + "; ".join(map(cell, machines)) + ".")
    return "\n\n".join(notes)


# CSV


def _row(report: Report, one: Evaluation) -> dict[str, Any]:
    published, differences = _published(one), _differences(one)
    row: dict[str, Any] = {
        "id": one.id,
        "made": one.made,
        "system": called(one),
        "kind": one.system.kind,
        "system fingerprint": one.system.fingerprint,
        "set": one.set_name,
        "facet": one.facet,
        "split": one.split,
        "origin": one.origin,
        "set fingerprint": one.set_fingerprint,
        "relevant from": one.relevant_from,
        "queries": one.queries,
        "folds": " ".join(map(str, one.folds)),
        "candidates (mean)": one.pool_sizes.get("mean", ""),
        "candidates (smallest)": one.pool_sizes["smallest"],
        "candidates (largest)": one.pool_sizes["largest"],
    }
    for metric in MAIN:
        low, high = one.intervals.get(metric, ("", ""))
        p = next((t.test.p_value for t in report.tests if (t.id, t.metric) == (one.id, metric)), "")
        row |= {
            metric: one.means[metric],
            f"{metric} low": low,
            f"{metric} high": high,
            f"{metric} published": published.get(metric, ""),
            f"{metric} difference": differences.get(metric, ""),
            f"{metric} p against the first": p,
        }
    row |= {metric: one.means.get(metric, "") for metric in METRICS if metric not in MAIN}
    return row | {
        "comparable": "yes" if one.comparable else "no",
        "not comparable because": " ".join(one.not_comparable),
        "without positive": one.without_positive,
        "pools under five": one.pools_under_five,
        "handled": "; ".join(handled_words(one.handled)),
        "notes": " ".join(one.notes),
        "versions": ", ".join(f"{name} {version}" for name, version in one.versions.items()),
        "machine": one.machine,
    }
