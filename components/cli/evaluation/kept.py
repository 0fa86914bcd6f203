"""`list`, `show` and `delete`: the evaluations that are kept."""

import argparse
import json
import sys
from typing import Any

from components.atlas.paths import home_errors
from components.cli.evaluation.told import add_report_options, check_outputs, print_report, write_report
from components.evaluation import store
from components.evaluation.format import one_line, percent, set_label, system_label
from components.evaluation.metrics import MAP, NDCG_20_PERCENT
from components.evaluation.report import report_of


def add(verbs: Any) -> None:
    """Add the verbs and their arguments to the parser's verbs."""
    everything = verbs.add_parser("list", help="list all evaluations, the newest first")
    everything.add_argument("--set", default="", metavar="NAME", help="those of this set alone")
    everything.add_argument("--json", action="store_true", help="as JSON")
    everything.set_defaults(run=_list)

    show = verbs.add_parser("show", help="report evaluations again, the others tested against the first of a set")
    show.add_argument("ids", nargs="+", metavar="ID", help="as `list` says it")
    add_report_options(show)
    show.set_defaults(run=_show)

    delete = verbs.add_parser("delete", help="delete evaluations")
    delete.add_argument("ids", nargs="+", metavar="ID", help="as `list` says it")
    delete.set_defaults(run=_delete)


def _list(options: argparse.Namespace) -> int:
    found = [one for one in store.evaluations() if options.set in ("", one.set_name)]
    if options.json:
        rows = [
            {
                "id": one.id,
                "made": one.made,
                "system": system_label(one),
                "set": one.set_name,
                "facet": one.facet,
                "split": one.split,
                "queries": one.queries,
                MAP: one.means[MAP],
                NDCG_20_PERCENT: one.means[NDCG_20_PERCENT],
                "comparable": one.comparable,
            }
            for one in found
        ]
        print(json.dumps(rows, indent=1))
    else:
        for one in found:
            scores = f"MAP {percent(one.means[MAP]):>6}  NDCG%20 {percent(one.means[NDCG_20_PERCENT]):>6}"
            mark = "  comparable" if one.comparable else ""
            label = one_line(f"{system_label(one)} on {set_label(one)}")
            print(f"{one.id}  {one_line(one.made)}  {scores}  {label}{mark}")
        if not found:
            print("No evaluation is kept yet.")
    damaged = store.damaged()
    for id in damaged:
        print(f"evaluation: {id} is damaged. Delete it, and evaluate again.", file=sys.stderr)
    return 1 if damaged else 0


def _show(options: argparse.Namespace) -> int:
    check_outputs(options.output)
    ids = list(dict.fromkeys(options.ids))
    report = report_of([store.read(id) for id in ids], [store.scores_of(id) for id in ids])
    write_report(report, options.output)
    print_report(report, as_json=options.json)
    return 0


def _delete(options: argparse.Namespace) -> int:
    for id in dict.fromkeys(options.ids):
        with home_errors():
            store.delete(id)
        print(f"Deleted {id}.")
    return 0
