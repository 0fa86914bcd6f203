"""What verbs share: progress on the terminal, JSON, standard input, files that are named, and reports of reading."""

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from components.atlas.paths import DEFAULT_ATLAS
from corpus.errors import CociteAtlasError
from corpus.progress import Cancelled, Progress, Throttled

FILES_HELP = "RIS, BibTeX, PubMed's .nbib or XML, CSV, TSV, JSON Lines or Parquet; all but Parquet may be gzipped"
MAX_LISTED = 5  # problems, unknown ids and the like that are printed; the others are counted
_MAX_LIST_BYTES = 64 * 2**20  # of a file of ids: millions of them

# Options and arguments of many verbs.
AtlasName = Annotated[str, typer.Argument(metavar="ATLAS", help="An atlas, as `list` names it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
PaperColumns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="FIELD=HEADER", help="The header of a field in a table. Repeatable."),
]
KeepWithoutAbstract = Annotated[
    bool, typer.Option("--keep-without-abstract", help="Keep records that have only a title.")
]


class Stopped(Cancelled):
    """A verb was stopped, and what it has kept differs from what `main` says of others: the message says it."""


def print_json(value: object) -> None:
    """Print the result of a verb as one JSON document."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def print_error(message: str) -> None:
    """Print a message on standard error under the command's name."""
    print(f"cocite: {message}", file=sys.stderr)


def count_papers(count: int) -> str:
    """A number of papers in words."""
    return f"{count:,} paper{'s' if count != 1 else ''}"


@contextmanager
def progress_bars(*, as_json: bool = False) -> Iterator[Progress]:
    """Progress on standard error: a bar per stage; a line per stage where that is not a terminal.

    as_json: as lines of {"stage": …, "done": …, "total": …} instead, a few per second.
    """
    if as_json:

        def write(stage: str, done: int, total: int) -> None:
            print(json.dumps({"stage": stage, "done": done, "total": total}), file=sys.stderr, flush=True)

        yield Throttled(write)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                if not console.is_terminal:
                    console.print(f"{stage} …", markup=False, highlight=False)
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield progress


def ensure_default(name: str) -> None:
    """Assemble the default atlas where it is named for the first time."""
    if name == DEFAULT_ATLAS:
        from components.atlas.default import ensure_medline

        with progress_bars() as progress:
            ensure_medline(progress=progress)


def text_or_stdin(text: str) -> str:
    """The text, or all of standard input for "-". Bytes in another encoding are replaced."""
    if text != "-":
        return text
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read()


def existing_files(names: Sequence[str]) -> list[Path]:
    """The files of these names. Raises CociteAtlasError for a name that is not a file."""
    for name in names:
        # os.path, because Path raises where a folder may not be read.
        if os.path.isdir(name):  # noqa: PTH112
            example = os.path.join(name, "*.ris")  # noqa: PTH118
            raise CociteAtlasError(f"{name} is a folder. Name files, as in {example}")
        if not os.path.isfile(name):  # noqa: PTH113
            raise CociteAtlasError(f"{name}: there is no such file. Check the path.")
    return [Path(name) for name in names]


def parse_columns(columns: Sequence[str] | None) -> dict[str, str] | None:
    """Field → header from FIELD=HEADER. Raises BadParameter."""
    from corpus.paper import SCHEMA

    chosen: dict[str, str] = {}
    for text in columns or []:
        field, equals, header = text.partition("=")
        if field not in SCHEMA.names or not equals:
            fields = ", ".join(SCHEMA.names)
            raise typer.BadParameter(f"{text!r} is not FIELD=HEADER with one of the fields {fields}")
        chosen[field] = header
    return chosen or None


def read_ids(path: Path) -> list[str]:
    """The ids in a file, one per line. Raises CociteAtlasError."""
    try:
        if path.stat().st_size > _MAX_LIST_BYTES:
            raise CociteAtlasError(f"{path} has more than {_MAX_LIST_BYTES // 2**20} MB; it is not a list of ids.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CociteAtlasError(f"{path} cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise CociteAtlasError(f"{path} is not text in UTF-8. Give one id per line.") from error
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise CociteAtlasError(f"{path} holds no id. Give one id per line.")
    return ids


def print_reports(reports: Sequence[dict[str, Any]]) -> None:
    """For each file: how many records were kept, and the first problems."""
    for report in reports:
        bare = f" ({report['without_abstract']:,} without an abstract)" if report.get("without_abstract") else ""
        print(f"{report['file']}: {report['kept']:,} of {report['read']:,} records kept{bare}")
        print_some(
            [f"{problem['place']}: {problem['reason']}" for problem in report["problems"]],
            total=len(report["problems"]) + report.get("problems_left_out", 0),
        )


def print_some(lines: Sequence[str], *, total: int | None = None) -> None:
    """The first lines, indented, and the number of the others."""
    for line in lines[:MAX_LISTED]:
        print(f"  {line}")
    if (more := (len(lines) if total is None else total) - MAX_LISTED) > 0:
        print(f"  … and {more:,} more")


def check_output(output: Path, endings: Sequence[str]) -> None:
    """Refuse a file that cannot be written, before minutes of work. Raises CociteAtlasError."""
    if output.suffix not in endings:
        raise CociteAtlasError(f"--output {output}: its name must end with one of {', '.join(endings)}.")
    if not output.parent.is_dir():
        raise CociteAtlasError(f"--output {output}: there is no folder {output.parent}. Create it first.")
