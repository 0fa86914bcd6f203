"""`train`: pairs and a start → an encoder, with its curves live, and what comes out once it is done."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components.cli.corpus.shared import (
    JsonLines,
    add_progress_options,
    json_line,
    lower_priority,
    progress_of,
)
from components.cli.training.setting_options import add_settings, settings_of
from components.cli.training.stopping import stopping
from components.encoder import EMBEDDED, Checkpoint, find_checkpoint
from components.encoder.catalogue import COCITE_FORM
from components.training.curves import CURVES, NO_CURVES, LookRecord, StepRecord, read_curves, written
from components.training.finishing import Finished, finish, own_target
from components.training.held_out import MOST_PAPERS
from components.training.held_out_file import verdict
from components.training.live import Live
from components.training.loop import UNWATCHED, TrainingResult, Watch, train
from components.training.planning import forecast
from components.training.processes import is_main
from components.training.report import write_report
from components.training.run_folder import read_run
from components.training.settings import TrainingError, TrainingSettings
from components.training.training import Diverged, Stopped
from corpus.cocitations.pairs import TrainingPairs
from corpus.cocitations.pairs_folder import read_pairs
from corpus.progress import Cancelled

_INTERRUPTED = 130


def add(verbs: Any) -> None:
    """Add the verb to the parser's verbs."""
    parser = verbs.add_parser(
        "train",
        help="train an encoder on pairs",
        description="Train an encoder on pairs of co-cited papers, and keep the best one by its dev loss. A run that "
        "was stopped or killed goes on when the same command is given again. On several GPUs: accelerate launch -m "
        "components.training train …",
    )
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="the folder that `pairs` wrote")
    parser.add_argument(
        "--start",
        required=True,
        metavar="NAME",
        help=f"what to begin from: a name of the catalogue, such as {EMBEDDED}, or the path of a folder or zip",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's own folder: states, curves and the encoder")
    parser.add_argument("--dry-run", action="store_true", help="take a few steps, say how long it takes, write nothing")
    parser.add_argument(
        "--own", metavar="NAME", help="put the encoder among your own, which the app offers, as own/NAME"
    )
    parser.add_argument(
        "--held-out",
        type=int,
        default=MOST_PAPERS,
        metavar="N",
        help="rank at most N papers, but at least all of the test pairs', for each paper of the test pairs, before and "
        "after (default: %(default)s; 0: not)",
    )
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    add_settings(parser)
    add_progress_options(parser)
    parser.set_defaults(run=_run, parser=parser, when_stopped="What was written is kept; the same command goes on.")


def _run(options: argparse.Namespace) -> int:
    if options.out is None and not options.dry_run:
        options.parser.error("name the run's folder: --out DIR; or ask for a --dry-run")
    if options.held_out < 0:
        options.parser.error(f"--held-out is {options.held_out}; it must be 0 or more")
    settings_of(options, COCITE_FORM)  # what cannot be is said before anything is read
    if options.own:
        own_target(options.own, run=options.out)  # a name that is taken is said before hours of work
    if options.low_priority:
        lower_priority()
    pairs = read_pairs(options.pairs)
    start = find_checkpoint(options.start)
    settings = settings_of(options, start.form)
    before = read_curves(options.out / CURVES) if options.out and (options.out / CURVES).exists() else NO_CURVES
    live = Live(sys.stderr, total_steps=lambda: read_run(options.out).total_steps, before=before)
    watch: Watch = UNWATCHED if not is_main() else _JsonWatch() if options.progress == "json" else live
    with stopping(live.say, with_stdin=options.stop_with_stdin) as stop:
        with live:
            if options.dry_run:
                return _planned(options, pairs, start, settings, watch=watch, stop=stop)
            try:
                result = train(
                    pairs, start, run=options.out, settings=settings, watch=watch, stop=stop, cpu=options.cpu
                )
            except Diverged:
                _report_quietly(options.out)
                raise
        if result.status == "interrupted":
            return _interrupted(result, options.out)
        if not is_main():
            return 0
        with progress_of(options) as progress:

            def told(stage: str, done: int, total: int) -> None:
                if stop():
                    raise Cancelled("Stopped.")
                progress(stage, done, total)

            finished = finish(
                options.out,
                pairs,
                start,
                settings,
                own=options.own,
                held_out=options.held_out,
                device="cpu" if options.cpu else None,
                progress=told,
            )
    if options.progress == "json":
        json_line({"built": str(result.checkpoint), "result": _summary(result)})
    else:
        print("\n".join([_summary(result), *_told(finished, start, result)]))
    return 0


def _planned(
    options: argparse.Namespace,
    pairs: TrainingPairs,
    start: Checkpoint,
    settings: TrainingSettings,
    *,
    watch: Watch,
    stop: Callable[[], bool],
) -> int:
    """Say how long it would take; the exit code."""
    out = options.out or Path()
    try:
        told = forecast(
            pairs,
            start,
            settings,
            out=out,
            held_out=options.held_out,
            cpu=options.cpu,
            stop=stop,
            told=watch.told,
        )
    except Stopped as error:
        raise Cancelled("Stopped.") from error
    if not is_main():
        return 0
    if options.progress == "json":
        json_line({"forecast": told.as_json()})
    else:
        print("\n".join(told.lines()))
    return 0


def _interrupted(result: TrainingResult, run: Path) -> int:
    """Say where a run was stopped; the exit code."""
    _report_quietly(run)
    done = f"stopped after step {result.steps:,} of {result.total_steps:,}"
    if is_main():
        print(f"training: {done}. The same command goes on from there.", file=sys.stderr)
    return _INTERRUPTED


def _report_quietly(run: Path) -> None:
    """A report of a run that did not end well, where one can be written: there is something greater to say."""
    if is_main():
        with contextlib.suppress(TrainingError):
            write_report([run])


def _summary(result: TrainingResult) -> str:
    early = " It stopped early: the dev loss fell no more." if result.status == "stopped early" else ""
    if result.best_step == 0:
        early += " So the dev loss never fell below the start's, and what is kept is the start itself."
    return (
        f"Done after {result.steps:,} of {result.total_steps:,} steps. The best encoder is that of step "
        f"{result.best_step:,}, with a dev loss of {result.best_loss:.4f}.{early}"
    )


def _told(finished: Finished, start: Checkpoint, result: TrainingResult) -> Iterator[str]:
    """What came out, a line each."""
    for row in finished.held_out:
        yield (
            f"{row.called} on {row.queries:,} papers of pairs it never saw, among {row.papers:,}: {row.before_words} "
            f"by {start.name}, {row.after_words} now (p {row.p_words})"
        )
    if said := verdict(finished.held_out):
        yield said
    yield from finished.notes
    yield f"Encoder: {result.checkpoint}"
    yield f"  python -m corpus build FILES --name NAME --encoder {shlex.quote(str(result.checkpoint))}"
    if finished.own:
        yield f"The app offers it as {finished.own}"
    if finished.full:
        yield f"The -full release: {finished.full}"
    yield f"Model card: {finished.card}"
    yield f"Report: {finished.report}"


class _JsonWatch:
    """Everything for a program: a JSON object a line on standard output."""

    def __init__(self) -> None:
        self._stages = JsonLines()

    def step(self, record: StepRecord) -> None:
        """See `Watch`."""
        self._line(record)

    def look(self, record: LookRecord) -> None:
        """See `Watch`."""
        self._line(record)

    def told(self, stage: str, done: int, total: int) -> None:
        """See `Watch`."""
        self._stages(stage, done, total)

    def _line(self, record: StepRecord | LookRecord) -> None:
        sys.stdout.write(written(record))
        sys.stdout.flush()
