"""What commands share: progress on the terminal or as JSON lines, standard input, and the default atlas."""

import argparse
import contextlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.atlas.default import ensure_medline
from components.atlas.paths import DEFAULT_ATLAS as MEDLINE
from corpus.errors import CociteAtlasError
from corpus.paper import SCHEMA
from corpus.progress import Cancelled, Progress

READ = "RIS, BibTeX, PubMed's .nbib or XML, CSV, TSV, JSON Lines or Parquet; all but Parquet may be gzip"
KEPT = "What was done is kept; the same command goes on from there."  # said at a stop
_INTERRUPTED = 130
_TOLD = 5  # problems of a file that are said; the others are counted
_LARGEST_LIST = 64 * 1024 * 1024  # bytes of a file of ids: millions of them
_BETWEEN_LINES = 0.2  # seconds; a page that reads them draws no faster


def exit_code(options: argparse.Namespace, *, name: str, stopped: str) -> int:
    """Run the command in `options.run`; its exit code, 1 for an error and 130 for a stop, which are said.

    name: of the command line, before each sentence. stopped: what a stop keeps.
    """
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except (Cancelled, KeyboardInterrupt, BrokenPipeError) as ended:
        if isinstance(ended, BrokenPipeError):  # else Python would try again as it ends, and complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"\n{name}: stopped. {stopped}", file=sys.stderr)
        return _INTERRUPTED
    except CociteAtlasError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return code


class Bars:
    """One progress bar a stage, on standard error, so that standard output stays the answer."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """See `components.atlas.build.Progress`."""
        if stage != self._stage:
            if self._bar is not None:
                self._bar.close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, disable=None)
        self._bar.total = total  # a stage may learn only on its way how much there is to do
        self._bar.update(done - self._bar.n)


class JsonLines:
    """Progress for a program: {"stage": …, "done": …, "total": …}, a line each, on standard output."""

    def __init__(self) -> None:
        self._stage = ""
        self._next = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """See `components.atlas.build.Progress`. A stage's first and last lines are always written, of others a few."""
        now = time.monotonic()
        if stage == self._stage and done < total and now < self._next:
            return
        self._stage, self._next = stage, now + _BETWEEN_LINES
        json_line({"stage": stage, "done": done, "total": total})


def add_progress_options(parser: argparse.ArgumentParser) -> None:
    """Add what commands that take their time have in common; `progress_of` does as they say."""
    parser.add_argument(
        "--progress", choices=("bars", "json"), default="bars", help="json: one object a line on standard output"
    )
    parser.add_argument("--low-priority", action="store_true", help="let every other program go first")
    parser.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop, to be taken up later, when standard input comes to its end",
    )


@contextlib.contextmanager
def progress_of(options: argparse.Namespace) -> Iterator[Progress]:
    """The progress that `add_progress_options` were asked for."""
    if options.low_priority:
        lower_priority()
    with contextlib.ExitStack() as stack:
        progress: Progress = JsonLines() if options.progress == "json" else stack.enter_context(Bars())
        yield StopWithStdin(progress) if options.stop_with_stdin else progress


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add what commands that read files of papers have in common: `columns`, pairs, and `keep_without_abstract`."""
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        dest="columns",
        type=_column,
        metavar="FIELD=HEADER",
        help=f"of tables, the header that a field stands under (may be repeated; fields: {', '.join(SCHEMA.names)})",
    )
    parser.add_argument(
        "--keep-without-abstract",
        action="store_true",
        help="keep records that have a title alone; by default they are left out, and reported",
    )


def _column(text: str) -> tuple[str, str]:
    field, equals, header = text.partition("=")
    if field not in SCHEMA.names or not equals:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not FIELD=HEADER with one of the fields {', '.join(SCHEMA.names)}"
        )
    return field, header


def papers_words(count: int) -> str:
    """So many papers, as people say it."""
    return f"{count:,} paper{'s' if count != 1 else ''}"


def existing_files(names: Sequence[str]) -> list[Path]:
    """The files of these names. Raises CociteAtlasError for what is none."""
    for name in names:
        # Of os.path, because Path raises where a folder may not be looked into.
        if os.path.isdir(name):  # noqa: PTH112
            raise CociteAtlasError(f"{name}: this is a folder. Name files, as in {os.path.join(name, '*.ris')}")  # noqa: PTH118
        if not os.path.isfile(name):  # noqa: PTH113
            raise CociteAtlasError(f"{name}: there is no such file. Check the path.")
    return [Path(name) for name in names]


def print_reports(reports: Sequence[dict[str, Any]]) -> None:
    """Say of each file how much of it was kept, and the first of what was left out."""
    for report in reports:
        bare = f" ({report['without_abstract']:,} without an abstract)" if report.get("without_abstract") else ""
        print(f"{report['file']}: {report['kept']:,} of {report['read']:,} records kept{bare}")
        for problem in report["problems"][:_TOLD]:
            print(f"  {problem['place']}: {problem['reason']}")
        if (more := len(report["problems"]) + report.get("problems_left_out", 0) - _TOLD) > 0:
            print(f"  … and {more:,} more")


def json_line(value: dict[str, Any]) -> None:
    """One JSON object as a line on standard output, at once. Raises Cancelled where nobody reads any more."""
    try:
        print(json.dumps(value), flush=True)
    except BrokenPipeError as error:
        # Else Python would try again as it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Cancelled("Nobody reads the progress any more.") from error


class StopWithStdin:
    """Progress that stops the work, by Cancelled, once standard input has come to its end."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._ended = threading.Event()
        threading.Thread(target=self._wait, daemon=True, name="stop-with-stdin").start()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """See `components.atlas.build.Progress`."""
        if self._ended.is_set():
            raise Cancelled("Standard input has ended.")
        self._progress(stage, done, total)

    def _wait(self) -> None:
        # By its number: a thread within sys.stdin.read() would hold a lock that Python needs in order to end.
        try:
            while os.read(sys.stdin.fileno(), 4096):
                pass
        except (OSError, ValueError, AttributeError):  # closed, or none at all
            pass
        self._ended.set()


def lower_priority() -> None:
    """Let every other program go first, as far as this system can; what it refuses is left as it is."""
    if sys.platform == "win32":
        import ctypes

        below_normal = 0x4000
        ctypes.windll.kernel32.SetPriorityClass(ctypes.windll.kernel32.GetCurrentProcess(), below_normal)
        return
    with contextlib.suppress(OSError):
        os.nice(19)
    if sys.platform == "linux":
        # Linux keeps both by thread, and libraries have started theirs.
        for thread in Path("/proc/self/task").glob("*"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), 19)
                os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


def standard_input() -> str:
    """All of standard input. Bytes that are no text, from a paste in another encoding, spoil a word and no more."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read()


def ensure(name: str) -> None:
    """The default atlas comes into being when it is first asked for."""
    if name == MEDLINE:
        with Bars() as progress:
            ensure_medline(progress=progress)


def listed_ids(path: Path) -> list[str]:
    """The ids in a file, one a line. Raises CociteAtlasError where it cannot be read as that, or holds none."""
    try:
        if path.stat().st_size > _LARGEST_LIST:
            raise CociteAtlasError(f"{path}: this is more than {_LARGEST_LIST // 1024**2} MB, and no list of ids.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CociteAtlasError(f"{path}: it cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise CociteAtlasError(f"{path}: it is no text in UTF-8. Give one id a line.") from error
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise CociteAtlasError(f"{path}: it holds no id. Give one a line.")
    return ids
