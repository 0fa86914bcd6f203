"""What the verbs of evaluations share: where a report goes, and in which form."""

import argparse
from pathlib import Path

from components.evaluation.report import EXPORTS, Report
from corpus.errors import CociteAtlasError
from corpus.io.disk import disk_errors
from corpus.io.files import write_text


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Add `--output` and `--json`."""
    parser.add_argument(
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help=f"write the report there too (may be repeated): {', '.join(EXPORTS)}",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def check_outputs(outputs: list[Path]) -> None:
    """Raise CociteAtlasError for a name that no report can be written to: said before minutes of work."""
    for output in outputs:
        if output.suffix not in EXPORTS:
            raise CociteAtlasError(f"--output {output}: its name must end with one of {', '.join(EXPORTS)}.")
        if not output.parent.is_dir():
            raise CociteAtlasError(f"--output {output}: there is no folder {output.parent}. Make it first.")


def write_report(report: Report, outputs: list[Path]) -> None:
    """Write a report to each file, in the form that its name asks for."""
    for output in outputs:
        with disk_errors(output.parent):
            write_text(output, EXPORTS[output.suffix](report))


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a report."""
    print(report.json() if as_json else report.markdown(), end="")
