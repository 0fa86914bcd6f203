"""`report`: the curves of a run, or of several laid over one another, as one HTML file."""

import argparse
from pathlib import Path
from typing import Any

from components.training.report import write_report


def add(verbs: Any) -> None:
    """Add the verb to the parser's verbs."""
    report = verbs.add_parser(
        "report",
        help="draw the curves of runs as one HTML file",
        description="Draw the curves of a run, or of several laid over one another (seeds, or ways to draw negatives), "
        "as one HTML file that needs no network. A run that is still going on can be drawn, too.",
    )
    report.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run, as `train --out` has it"
    )
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="of several runs it must be named (default: report.html in the run)"
    )
    report.set_defaults(run=_run, when_stopped="No report was written.")


def _run(options: argparse.Namespace) -> int:
    print(write_report(options.runs, options.out))
    return 0
