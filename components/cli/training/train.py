"""`train`: pairs and a start → an encoder, with its curves live, and what comes out once it is done."""

import argparse
import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

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
from components.training.dry_run import dry_run
from components.training.finish import Finished, finish, own_folder
from components.training.held_out import MAX_PAPERS, score_rows, verdict
from components.training.live import LiveCurves
from components.training.loop import Diverged, train
from components.training.report import write_report
from components.training.run import CHECKPOINT, CurveRecord, RunSummary, read_curves
from components.training.settings import TrainingSettings
from components.training.trainer import is_main
from corpus.cocitations.pairs import TrainingPairs
from corpus.cocitations.pairs_folder import read_pairs
from corpus.errors import CociteAtlasError
from corpus.progress import Cancelled, Progress

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
        default=MAX_PAPERS,
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
        own_folder(options.own, run=options.out)  # a name that is taken is said before hours of work
    if options.low_priority:
        lower_priority()
    pairs = read_pairs(options.pairs)
    start = find_checkpoint(options.start)
    settings = settings_of(options, start.form)
    live = LiveCurves(Console(stderr=True), before=read_curves(options.out) if options.out else None)
    as_json = options.progress == "json"
    lines = JsonLines()
    with stopping(live.say, with_stdin=options.stop_with_stdin) as stop:

        def stoppable(shown: Progress) -> Progress:
            def progress(stage: str, done: int, total: int) -> None:
                if stop():
                    raise Cancelled("Stopped.")
                if is_main():
                    shown(stage, done, total)

            return progress

        def record_line(record: CurveRecord) -> None:
            print(record.model_dump_json(), flush=True)

        with live if is_main() and not as_json else contextlib.nullcontext():
            progress = stoppable(lines if as_json else live.progress)
            if options.dry_run:
                return _planned(options, pairs, start, settings, progress=progress)
            try:
                summary = train(
                    pairs,
                    start,
                    run=options.out,
                    settings=settings,
                    on_record=record_line if as_json else live.record,
                    progress=progress,
                    cpu=options.cpu,
                )
            except Diverged:
                _report_quietly(options.out)
                raise
            except Cancelled as stopped:
                _report_quietly(options.out)
                if is_main():
                    live.say(f"training: {stopped}")
                return _INTERRUPTED
        if not is_main():
            return 0
        with progress_of(options) as shown:
            finished = finish(
                options.out,
                pairs,
                start,
                own=options.own or "",
                held_out=options.held_out,
                device="cpu" if options.cpu else None,
                progress=stoppable(shown),
            )
    if as_json:
        json_line({"built": str(options.out / CHECKPOINT), "result": _summary(summary)})
    else:
        print("\n".join([_summary(summary), *_told(finished, start, summary)]))
    return 0


def _planned(
    options: argparse.Namespace,
    pairs: TrainingPairs,
    start: Checkpoint,
    settings: TrainingSettings,
    *,
    progress: Progress,
) -> int:
    """Say how long it would take; the exit code."""
    told = dry_run(
        pairs,
        start,
        settings,
        out=options.out or Path(),
        held_out=options.held_out,
        cpu=options.cpu,
        progress=progress,
    )
    if not is_main():
        return 0
    if options.progress == "json":
        json_line({"forecast": told.model_dump()})
    else:
        print("\n".join(told.lines(settings)))
    return 0


def _report_quietly(run: Path) -> None:
    """A report of a run that did not end well, where one can be written: there is something greater to say."""
    if is_main():
        with contextlib.suppress(CociteAtlasError):
            write_report([run])


def _summary(summary: RunSummary) -> str:
    best = summary.curves.best
    assert best is not None
    early = " It stopped early: the dev loss fell no more." if summary.record.status == "stopped early" else ""
    if best.step == 0:
        early += " So the dev loss never fell below the start's, and what is kept is the start itself."
    return (
        f"Done after {len(summary.curves.steps):,} of {summary.record.total_steps:,} steps. The best encoder is that "
        f"of step {best.step:,}, with a dev loss of {best.dev_loss:.4f}.{early}"
    )


def _told(finished: Finished, start: Checkpoint, summary: RunSummary) -> Iterator[str]:
    """What came out, a line each."""
    if (scores := finished.held_out) is not None:
        for row in score_rows(scores):
            yield (
                f"{row.name} on {scores.after.queries:,} papers of pairs it never saw, among {scores.after.papers:,}: "
                f"{row.before} by {start.name}, {row.after} now (p {row.p})"
            )
        yield verdict(scores)
    if finished.note:
        yield finished.note
    checkpoint = summary.folder / CHECKPOINT
    yield f"Encoder: {checkpoint}"
    yield f"  python -m corpus build FILES --name NAME --encoder {shlex.quote(str(checkpoint))}"
    if finished.own:
        yield f"The app offers it as {finished.own}"
    if finished.full:
        yield f"The -full release: {finished.full}"
    yield f"Model card: {finished.card}"
    yield f"Report: {finished.report}"
