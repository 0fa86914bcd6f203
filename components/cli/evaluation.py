"""Verbs of evaluation: evaluate, evaluations."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.cli.build import PrecisionOption
from components.cli.judged_sets import REPORT_ENDINGS, Facet
from components.cli.output import (
    AsJson,
    check_output,
    existing_files,
    print_error,
    print_json,
    progress_bars,
)
from corpus.errors import CociteAtlasError
from corpus.progress import Cancelled

if TYPE_CHECKING:
    from components.evaluation.report import Report


class Baseline(StrEnum):
    """Systems that rank by shared words."""

    tfidf = "tfidf"
    bm25 = "bm25"


Outputs = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="Also write the report there: .md, .csv or .json. Repeatable.")
]
EvaluationIds = Annotated[list[str], typer.Argument(metavar="ID…", help="As `evaluations list` names them.")]


def add(app: typer.Typer) -> None:
    """Add the verbs and groups."""
    app.command("evaluate")(evaluate)
    evaluations = typer.Typer(help="List, show and delete stored evaluations.", no_args_is_help=True)
    evaluations.command("list")(list_evaluations)
    evaluations.command("show")(show_evaluations)
    evaluations.command("delete")(delete_evaluations)
    app.add_typer(evaluations, name="evaluations")


# -- Evaluating -------------------------------------------------------------------------------------------------------


def evaluate(
    set_name: Annotated[str, typer.Option("--set", metavar="NAME", help="A stored set, or ir:ID of ir_datasets.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder in the released format, in place of a stored set.")
    ] = None,
    facet: Facet = "",
    split: Annotated[str | None, typer.Option(help="Default: test, or the only split.")] = None,
    encoder: Annotated[
        list[str] | None, typer.Option(help="A name of `encoders list`, or a folder or zip. Repeatable.")
    ] = None,
    precision: PrecisionOption = None,
    baseline: Annotated[list[Baseline] | None, typer.Option(help="Rank by shared words. Repeatable.")] = None,
    rankings: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A TREC run, or JSON {query: [[candidate, score], …]}. Repeatable."),
    ] = None,
    output: Outputs = None,
    as_json: AsJson = False,
) -> int:
    """Rank the pools of a judged set with encoders, baselines or rankings in files, and report MAP and NDCG%20."""
    from components.evaluation.evaluate import SystemSpec, default_split, evaluate_and_save
    from components.evaluation.report import report_of
    from components.evaluation.sets import read_set

    systems = [
        *(SystemSpec("encoder", name, precision) for name in encoder or ()),
        *(SystemSpec(name.value) for name in baseline or ()),
        *(SystemSpec("rankings", str(path)) for path in existing_files(rankings or ())),
    ]
    if not systems:
        raise typer.BadParameter("name at least one system: --encoder, --baseline or --rankings")
    systems = list(dict.fromkeys(systems))
    outputs = output or []
    for path in outputs:
        check_output(path, REPORT_ENDINGS)
    done = []
    with progress_bars(as_json=as_json) as progress:
        judged = read_set(set_name, data=data, facet=facet, progress=progress)
        split = split or default_split(judged)
        judged.folds(split)  # a missing split is not a system's fault
        for system in systems:
            try:
                done.append(evaluate_and_save(judged, split, system, progress=progress))
            except Cancelled:
                raise
            except CociteAtlasError as error:
                print_error(str(error))
    failed = len(systems) - len(done)
    if done:
        report = report_of([evaluation for evaluation, _ in done], [scores for _, scores in done])
        if not failed:
            _write_report(report, outputs)
        _print_report(report, as_json=as_json)
    if failed and (done or outputs):
        nothing = " Nothing was written to --output." if outputs else ""
        print_error(f"{failed} of {len(systems)} systems could not be evaluated.{nothing}")
    return 1 if failed else 0


def _write_report(report: "Report", outputs: list[Path]) -> None:
    from corpus.io.disk import disk_errors
    from corpus.io.files import write_text

    forms: dict[str, Callable[[], str]] = {".md": report.markdown, ".csv": report.csv, ".json": report.json}
    for output in outputs:
        with disk_errors(output.parent):
            write_text(output, forms[output.suffix]())


def _print_report(report: "Report", *, as_json: bool) -> None:
    print(report.json() if as_json else report.markdown(), end="")


def list_evaluations(
    set_name: Annotated[str, typer.Option("--set", metavar="NAME", help="Only those of this set.")] = "",
    as_json: AsJson = False,
) -> int:
    """List all stored evaluations, the newest first."""
    from components.evaluation import store
    from components.evaluation.format import one_line, percent, set_label, system_label
    from components.evaluation.metrics import MAP, NDCG_20_PERCENT

    evaluations = [evaluation for evaluation in store.evaluations() if set_name in ("", evaluation.set_name)]
    if as_json:
        print_json([
            {
                "id": evaluation.id,
                "made": evaluation.made,
                "system": system_label(evaluation),
                "set": evaluation.set_name,
                "facet": evaluation.facet,
                "split": evaluation.split,
                "queries": evaluation.queries,
                MAP: evaluation.means[MAP],
                NDCG_20_PERCENT: evaluation.means[NDCG_20_PERCENT],
                "comparable": evaluation.comparable,
            }
            for evaluation in evaluations
        ])  # fmt: skip
    else:
        for evaluation in evaluations:
            means = evaluation.means
            scores = f"MAP {percent(means[MAP]):>6}  NDCG%20 {percent(means[NDCG_20_PERCENT]):>6}"
            mark = "  comparable" if evaluation.comparable else ""
            system = one_line(f"{system_label(evaluation)} on {set_label(evaluation)}")
            print(f"{evaluation.id}  {one_line(evaluation.made)}  {scores}  {system}{mark}")
        if not evaluations:
            print("There is no evaluation yet. Make one: cocite evaluate --help")
    damaged = store.damaged()
    for id in damaged:
        print_error(f"{id} is damaged. Delete it and evaluate again: cocite evaluations delete {id}")
    return 1 if damaged else 0


def show_evaluations(ids: EvaluationIds, output: Outputs = None, as_json: AsJson = False) -> None:
    """Report stored evaluations again; the others are tested against the first of each set."""
    from components.evaluation import store
    from components.evaluation.report import report_of

    outputs = output or []
    for path in outputs:
        check_output(path, REPORT_ENDINGS)
    unique = list(dict.fromkeys(ids))
    report = report_of([store.read(id) for id in unique], [store.scores_of(id) for id in unique])
    _write_report(report, outputs)
    _print_report(report, as_json=as_json)


def delete_evaluations(ids: EvaluationIds, as_json: AsJson = False) -> None:
    """Delete stored evaluations."""
    from components.atlas.paths import home_errors
    from components.evaluation import store

    unique = list(dict.fromkeys(ids))
    for id in unique:
        with home_errors():
            store.delete(id)
        if not as_json:
            print(f"Deleted {id}.")
    if as_json:
        print_json({"deleted": unique})
