"""`python -m components.evaluation --set NAME --encoder E`: rank the pools of a judged set, and score the rankings."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from components.cli.corpus.shared import add_progress_options, existing_files, json_line, progress_of
from components.cli.evaluation.told import add_report_options, check_outputs, print_report, write_report
from components.encoder import EMBEDDED, Precision
from components.evaluation.evaluate import SystemSpec, default_split, evaluate_and_save
from components.evaluation.format import summary
from components.evaluation.published import SPLIT
from components.evaluation.report import report_of
from components.evaluation.results import Evaluation, QueryScores, SystemKind
from components.evaluation.sets import read_set
from corpus.errors import CociteAtlasError
from corpus.progress import Cancelled

_PEERS: tuple[SystemKind, ...] = ("tfidf", "bm25")


def parser(*, verbs: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a call without a verb. verbs: the others, to be told of."""
    found = argparse.ArgumentParser(
        prog="python -m components.evaluation",
        description="Rank the pools of a judged set by encoders, by peers or by rankings in files, and report MAP, "
        "NDCG%20 and the usual metrics. Every evaluation is kept.",
        epilog=f"Verbs, each with its own --help: {', '.join(verbs)}.",
    )
    found.add_argument("--set", required=True, metavar="NAME", help="a set, as `sets` says it, or ir:ID of ir_datasets")
    found.add_argument(
        "--data", type=Path, metavar="DIR", help="a folder of the released format, in place of a kept set"
    )
    found.add_argument("--facet", default="", metavar="F", help="of CSFCube: background, method, result or all")
    found.add_argument("--split", metavar="S", help=f"(default: {SPLIT}, or the only one)")
    found.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="E",
        help=f"a name of the catalogue, such as {EMBEDDED}, or the path of a folder or zip (may be repeated)",
    )
    found.add_argument(
        "--precision", choices=get_args(Precision), help="of the encoders (default: what suits the processor)"
    )
    found.add_argument("--peer", action="append", default=[], choices=_PEERS, help="rank by words (may be repeated)")
    found.add_argument(
        "--rankings",
        action="append",
        default=[],
        metavar="FILE",
        help="score these rankings: a TREC run, or JSON of {query: [[candidate, score], …]} (may be repeated)",
    )
    add_report_options(found)
    add_progress_options(found)
    found.set_defaults(run=_run, parser=found)
    return found


def _run(options: argparse.Namespace) -> int:
    choices = _choices(options)
    if not choices:
        options.parser.error("name at least one system: --encoder, --peer or --rankings")
    check_outputs(options.output)
    done: list[tuple[Evaluation, list[QueryScores]]] = []
    failed = 0
    with progress_of(options) as progress:
        judged = read_set(options.set, data=options.data, facet=options.facet, progress=progress)
        split = options.split or default_split(judged)
        judged.folds(split)  # a split that is not there is no system's fault
        for choice in choices:
            try:
                done.append(evaluate_and_save(judged, split, choice, progress=progress))
            except Cancelled:
                raise
            except CociteAtlasError as error:
                print(f"evaluation: {error}", file=sys.stderr)
                failed += 1
    if options.progress == "json":
        for evaluation, _ in done:
            json_line({"built": evaluation.id, "result": summary(evaluation)})
    if done:
        report = report_of([evaluation for evaluation, _ in done], [scores for _, scores in done])
        if not failed:
            write_report(report, options.output)
        if options.progress != "json":
            print_report(report, as_json=options.json)
    if failed and (done or options.output):
        nothing = " Nothing was written to --output." if options.output else ""
        print(f"evaluation: {failed} of {len(choices)} systems could not be evaluated.{nothing}", file=sys.stderr)
    return 1 if failed else 0


def _choices(options: argparse.Namespace) -> list[SystemSpec]:
    """The systems that were asked for, each once: encoders, peers, rankings."""
    rankings = existing_files(options.rankings)
    found = [
        *(SystemSpec("encoder", name, options.precision) for name in options.encoder),
        *(SystemSpec(peer) for peer in options.peer),
        *(SystemSpec("rankings", str(path)) for path in rankings),
    ]
    return list(dict.fromkeys(found))
