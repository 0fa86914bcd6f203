"""Reports: the evaluations of systems on judged sets, beside published scores, as Markdown, CSV and JSON.

Markdown has percent, as papers do, and differences in percentage points; CSV and JSON have fractions 0 … 1.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.format import (
    cell,
    code,
    issue_descriptions,
    one_line,
    percent,
    points,
    set_label,
    system_label,
    table,
)
from components.evaluation.metrics import MAP, NDCG_20_PERCENT, STANDARD_METRICS
from components.evaluation.published import published_rows, published_scores
from components.evaluation.results import Evaluation, QueryScores, by_fold, mean_of_folds
from components.evaluation.statistics import BOOTSTRAP_SAMPLES, PAIRED_SAMPLES, PairedTest, paired_test
from corpus.text.cells import guard_cell

MAIN_METRICS = (MAP, NDCG_20_PERCENT)  # reported by the paper, and tested
MAX_GROUPS = 60  # of a table; the topics of TRECCOVID-RF are 50


@dataclass(frozen=True, slots=True)
class SystemTest:
    """A paired test of the evaluation `id` against another on the same queries, by one metric."""

    id: str
    against: str
    metric: str
    test: PairedTest


@dataclass(frozen=True, slots=True)
class GroupMeans:
    """An evaluation's scores on the queries of one topic, review or facet. means: fractions, by metric."""

    id: str
    group: str
    queries: int
    candidates: float
    means: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """Evaluations, those of one set and split together; later ones are tested against the first of their set."""

    evaluations: tuple[Evaluation, ...]
    tests: tuple[SystemTest, ...] = ()
    groups: tuple[GroupMeans, ...] = ()

    def markdown(self) -> str:
        """A section for every set and split."""
        from jinja2 import Environment

        environment = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701  (cells are escaped by `cell`)
        environment.filters |= {"cell": cell, "code": code}
        packages: dict[str, dict[str, None]] = {}
        for evaluation in self.evaluations:
            for name, version in evaluation.versions.items():
                packages.setdefault(name, {})[version] = None
        text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
            parts=[_part(self, list(evaluations)) for _, evaluations in groupby(self.evaluations, key=_set_key)],
            bootstrap_samples=f"{BOOTSTRAP_SAMPLES:,}",
            paired_samples=f"{PAIRED_SAMPLES:,}",
            packages=[(name, " / ".join(versions)) for name, versions in packages.items()],
            machines=list(dict.fromkeys(evaluation.machine for evaluation in self.evaluations)),
        )
        return text.strip() + "\n"

    def csv(self) -> str:
        """A row per evaluation; no cell is a formula to a spreadsheet."""
        text = io.StringIO(newline="")
        rows = [_csv_row(self, evaluation) for evaluation in self.evaluations]
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["id"], lineterminator="\r\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: guard_cell(one_line(value)) if isinstance(value, str) else value for name, value in row.items()}
            )
        return text.getvalue()

    def json(self) -> str:
        """The whole report, for programs."""
        content = {
            "scores": "fractions 0 … 1",
            "evaluations": [
                {
                    **asdict(evaluation),
                    "queries": evaluation.queries,
                    "comparable": evaluation.comparable,
                    "published": dict(_published(evaluation)),
                    "difference": _differences(evaluation),
                }
                for evaluation in self.evaluations
            ],
            "tests": [asdict(test) for test in self.tests],
            "groups": [asdict(group) for group in self.groups],
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"


_TEMPLATE = Path(__file__).with_name("report.md.j2")


def report_of(evaluations: Sequence[Evaluation], scores: Sequence[Sequence[QueryScores]]) -> Report:
    """The report of evaluations. scores: of each, those of its queries."""
    first: dict[tuple[str, ...], int] = {}
    for i, evaluation in enumerate(evaluations):
        first.setdefault(_set_key(evaluation), i)
    order = sorted(range(len(evaluations)), key=lambda i: (first[_set_key(evaluations[i])], i))
    tests: list[SystemTest] = []
    for i in order:
        base = first[_set_key(evaluations[i])]
        queries, base_queries = ([(scored.fold, scored.query) for scored in scores[of]] for of in (i, base))
        if i != base and queries == base_queries:
            for metric in MAIN_METRICS:
                test = paired_test(by_fold(scores[i], metric), by_fold(scores[base], metric))
                tests.append(SystemTest(evaluations[i].id, evaluations[base].id, metric, test))
    groups = [group for i in order for group in _groups(evaluations[i], scores[i])]
    return Report(tuple(evaluations[i] for i in order), tuple(tests), tuple(groups))


def _set_key(evaluation: Evaluation) -> tuple[str, ...]:
    """What the evaluations of one table have in common."""
    return (
        evaluation.set_name,
        evaluation.facet,
        evaluation.split,
        evaluation.set_fingerprint,
        str(evaluation.relevant_from),
    )


def _groups(evaluation: Evaluation, scores: Sequence[QueryScores]) -> list[GroupMeans]:
    """The scores of each group, where there are several and not too many for a table."""
    names = list(dict.fromkeys(scored.group for scored in scores))
    if not 1 < len(names) <= MAX_GROUPS:
        return []
    groups = []
    for name in names:
        members = [scored for scored in scores if scored.group == name]
        candidates = float(np.mean([scored.candidates for scored in members]))
        # Over folds as the whole is: a facet of CSFCube has the score that it has alone.
        means = {metric: mean_of_folds(members, metric) for metric in members[0].metrics}
        groups.append(GroupMeans(evaluation.id, name, len(members), candidates, means))
    return groups


def _published(evaluation: Evaluation) -> Mapping[str, float]:
    return published_scores(evaluation.system, evaluation.set_name, evaluation.facet)


def _differences(evaluation: Evaluation) -> dict[str, float]:
    """Our scores minus the published ones, by metric; empty where they may not be compared."""
    if not evaluation.comparable:
        return {}
    return {metric: evaluation.means[metric] - value for metric, value in _published(evaluation).items()}


# Markdown


def _part(report: Report, evaluations: list[Evaluation]) -> dict[str, Any]:
    """The template's values of one set and split."""
    first, sizes = evaluations[0], evaluations[0].pool_sizes
    ids = {evaluation.id for evaluation in evaluations}
    pools = f"{sizes.smallest:,.0f} candidates each"
    if sizes.smallest != sizes.largest:
        pools = f"{sizes.smallest:,.0f} to {sizes.largest:,.0f} candidates, {sizes.mean:,.1f} on average"
    published = [
        [cell(row.encoder), *(percent(row.scores.get(metric)) for metric in MAIN_METRICS)]
        for row in published_rows(first.set_name, first.facet)
    ]
    standard = [
        [cell(system_label(evaluation)), *(percent(evaluation.means.get(metric)) for metric in STANDARD_METRICS)]
        for evaluation in evaluations
    ]
    return {
        "first": first,
        "label": set_label(first),
        "queries": f"{first.queries:,}",
        "papers": f"{first.papers:,}",
        "folds": f" in {len(first.folds)} folds ({' and '.join(map(str, first.folds))})" if first.folds[1:] else "",
        "pools": pools,
        "without_positive": f"{first.without_positive:,}",
        "pools_under_five": f"{first.pools_under_five:,}",
        "issues": issue_descriptions(first.handled),
        "main_table": _main_table(evaluations),
        "reasons": list(dict.fromkeys(reason for evaluation in evaluations for reason in evaluation.not_comparable)),
        "tables": [
            ("Published on this set (percent)", published and table(["encoder", *MAIN_METRICS], published)),
            ("Standard metrics, by ir-measures (percent)", table(["system", *STANDARD_METRICS], standard)),
            ("Paired tests", _test_table(evaluations, [test for test in report.tests if test.id in ids])),
            ("By group (percent)", _group_table(evaluations, [group for group in report.groups if group.id in ids])),
            ("Systems", _system_table(evaluations)),
        ],
        "notes": [note for evaluation in evaluations for note in evaluation.notes],
    }


def _main_table(evaluations: list[Evaluation]) -> str:
    published = {evaluation.id: _published(evaluation) for evaluation in evaluations}
    with_published = any(published.values())
    head = ["system"]
    for metric in MAIN_METRICS:
        head += [metric, "95 % interval", *(["published", "difference"] if with_published else [])]
    rows = []
    for evaluation in evaluations:
        row, differences = [cell(system_label(evaluation))], _differences(evaluation)
        for metric in MAIN_METRICS:
            low, high = evaluation.intervals[metric]
            row += [f"**{percent(evaluation.means[metric])}**", f"{percent(low)} to {percent(high)}"]
            if with_published:
                row += [percent(published[evaluation.id].get(metric)), points(differences.get(metric))]
        rows.append([*row, "yes" if evaluation.comparable else "no"])
    return table([*head, "comparable"], rows)


def _test_table(evaluations: list[Evaluation], tests: list[SystemTest]) -> str:
    names = {evaluation.id: cell(system_label(evaluation)) for evaluation in evaluations}
    rows = [
        [
            names[tested.id],
            names[tested.against],
            tested.metric,
            points(tested.test.difference),
            f"{tested.test.p_value:.5f}",
        ]
        + [f"{count:,}" for count in (tested.test.wins, tested.test.losses, tested.test.ties)]
        for tested in tests
    ]
    return table(["system", "against", "metric", "difference", "p", "better", "worse", "equal"], rows) if rows else ""


def _group_table(evaluations: list[Evaluation], groups: list[GroupMeans]) -> str:
    by_system = {(group.id, group.group): group for group in groups}
    rows = []
    for name in dict.fromkeys(group.group for group in groups):
        first = next(group for group in groups if group.group == name)
        row = [cell(name) or "(none)", f"{first.queries:,}", f"{first.candidates:,.0f}"]
        for evaluation in evaluations:
            group = by_system.get((evaluation.id, name))
            row += [percent(group.means[metric] if group else None) for metric in MAIN_METRICS]
        rows.append(row)
    systems = [f"{cell(system_label(evaluation))} {metric}" for evaluation in evaluations for metric in MAIN_METRICS]
    return table(["group", "queries", "candidates", *systems], rows) if rows else ""


def _system_table(evaluations: list[Evaluation]) -> str:
    rows = [
        [
            cell(system_label(evaluation)),
            evaluation.system.kind,
            f"`{code(evaluation.system.fingerprint[:16])}`",
            cell(", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in evaluation.seconds.items())),
            f"`{code(evaluation.made)}`",
            f"`{code(evaluation.id)}`",
        ]
        for evaluation in evaluations
    ]
    return table(["system", "kind", "fingerprint", "took", "made", "evaluation"], rows)


# CSV


def _csv_row(report: Report, evaluation: Evaluation) -> dict[str, Any]:
    published, differences = _published(evaluation), _differences(evaluation)
    row: dict[str, Any] = {
        "id": evaluation.id,
        "made": evaluation.made,
        "system": system_label(evaluation),
        "kind": evaluation.system.kind,
        "system fingerprint": evaluation.system.fingerprint,
        "set": evaluation.set_name,
        "facet": evaluation.facet,
        "split": evaluation.split,
        "origin": evaluation.origin,
        "set fingerprint": evaluation.set_fingerprint,
        "relevant from": evaluation.relevant_from,
        "queries": evaluation.queries,
        "folds": " ".join(map(str, evaluation.folds)),
        "candidates (mean)": evaluation.pool_sizes.mean,
        "candidates (smallest)": evaluation.pool_sizes.smallest,
        "candidates (largest)": evaluation.pool_sizes.largest,
    }
    for metric in MAIN_METRICS:
        low, high = evaluation.intervals[metric]
        p = next((t.test.p_value for t in report.tests if (t.id, t.metric) == (evaluation.id, metric)), "")
        row |= {
            metric: evaluation.means[metric],
            f"{metric} low": low,
            f"{metric} high": high,
            f"{metric} published": published.get(metric, ""),
            f"{metric} difference": differences.get(metric, ""),
            f"{metric} p against the first": p,
        }
    row |= {metric: evaluation.means.get(metric, "") for metric in STANDARD_METRICS}
    return row | {
        "comparable": "yes" if evaluation.comparable else "no",
        "not comparable because": " ".join(evaluation.not_comparable),
        "without positive": evaluation.without_positive,
        "pools under five": evaluation.pools_under_five,
        "handled": "; ".join(issue_descriptions(evaluation.handled)),
        "notes": " ".join(evaluation.notes),
        "versions": ", ".join(f"{name} {version}" for name, version in evaluation.versions.items()),
        "machine": evaluation.machine,
    }
