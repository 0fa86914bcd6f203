"""Verbs of training: pairs (in pairs.py), train, train-report."""

import contextlib
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from components.cli.output import AsJson, Stopped, print_json, progress_bars
from components.cli.pairs import pairs
from corpus.errors import CociteAtlasError
from corpus.progress import Cancelled, Progress

if TYPE_CHECKING:
    from components.encoder.catalogue import InputForm
    from components.training.finish import Finished
    from components.training.run import RunSummary
    from components.training.settings import TrainingSettings


def add(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("pairs")(pairs)
    app.command("train")(train)
    app.command("train-report")(train_report)


def train(
    pairs: Annotated[Path, typer.Option(metavar="DIR", help="The folder that `pairs` wrote.")],
    start: Annotated[
        str, typer.Option(help="The encoder to start from: a name of `encoders list`, a folder or a zip.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's folder: states, curves, encoder.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Take a few steps, estimate the rest, write nothing.")
    ] = False,
    own: Annotated[str | None, typer.Option(metavar="NAME", help="Add the encoder to your own, as own/NAME.")] = None,
    held_out: Annotated[
        int, typer.Option(help="Papers to rank for each test paper, before and after; 0: none.")
    ] = 50_000,
    cpu: Annotated[bool, typer.Option("--cpu", help="Do not use a GPU.")] = False,
    pooling: Annotated[
        Literal["start", "cls", "mean", "scalar_mix"],
        typer.Option(help="How layers become a vector; start: the start's, with a scalar mix in place of [CLS]."),
    ] = "start",
    margin: Annotated[
        float | None, typer.Option(help="Of the loss. Default: 1, or 0.1 where the start's vectors are normalised.")
    ] = None,
    negatives: Annotated[
        Literal["derangement", "permutation"], typer.Option(help="How in-batch negatives are drawn.")
    ] = "derangement",
    learning_rate: Annotated[float, typer.Option(help="The maximum of Adam's learning rate.")] = 1e-5,
    warmup_steps: Annotated[
        int, typer.Option(help="Steps in which the learning rate rises; then it falls to 0.")
    ] = 1_000,
    epochs: Annotated[int, typer.Option(help="How often each pair is used.")] = 1,
    max_steps: Annotated[int, typer.Option(help="The maximum number of steps; 0: those of the epochs.")] = 0,
    micro_batch: Annotated[int, typer.Option(help="Triplets that go through the model together.")] = 3,
    batch: Annotated[int, typer.Option(help="Triplets per step, a multiple of --micro-batch.")] = 30,
    dev_every: Annotated[int, typer.Option(help="Steps between validations; the best encoder is kept.")] = 500,
    patience: Annotated[int, typer.Option(help="Stop after so many validations without a lower loss; 0: never.")] = 0,
    save_every: Annotated[int, typer.Option(help="Steps between saved states.")] = 500,
    max_gradient_norm: Annotated[float, typer.Option(help="Clip the gradient at this norm; 0: do not.")] = 0.0,
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="Of the arithmetic; weights stay float32.")
    ] = "float32",
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="A third more time, much less memory.")
    ] = False,
    max_tokens: Annotated[int, typer.Option(help="Word pieces read of a text; 0: as many as the start reads.")] = 0,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: AsJson = False,
) -> int:
    """Train an encoder on pairs and keep the one with the lowest dev loss. The same command resumes a stopped run.

    The defaults of the settings are those of the SPECTER-CoCite model card. On several GPUs:
    accelerate launch -m components.cli train …
    """
    from components.encoder.catalogue import COCITE_FORM
    from components.encoder.checkpoints import find_checkpoint
    from components.training.dry_run import dry_run as measure
    from components.training.finish import finish, own_folder
    from components.training.live import LiveCurves
    from components.training.loop import Diverged
    from components.training.loop import train as run_training
    from components.training.run import CHECKPOINT, read_curves
    from components.training.settings import TrainingSettings
    from components.training.trainer import is_main
    from corpus.cocitations.pairs_folder import read_pairs

    if out is None and not dry_run:
        raise typer.BadParameter("name the run's folder, --out DIR, or use --dry-run")
    if held_out < 0:
        raise typer.BadParameter(f"--held-out is {held_out}; it must be 0 or more")
    settings = TrainingSettings(
        pooling=pooling, negatives=negatives, learning_rate=learning_rate, warmup_steps=warmup_steps, epochs=epochs,
        max_steps=max_steps, micro_batch=micro_batch, batch=batch, dev_every=dev_every, patience=patience,
        save_every=save_every, max_gradient_norm=max_gradient_norm, precision=precision,
        gradient_checkpointing=gradient_checkpointing, max_tokens=max_tokens, seed=seed,
    )  # fmt: skip
    settings = _with_margin(settings, COCITE_FORM, margin)  # refused before anything is read
    run = out or Path()
    if own:
        own_folder(own, run=out)  # a taken name is refused before hours of work
    training_pairs = read_pairs(pairs)
    checkpoint = find_checkpoint(start)
    settings = _with_margin(settings, checkpoint.form, margin)
    live = LiveCurves(Console(stderr=True), before=read_curves(run))
    with _stopping(live.say) as stop:

        def stoppable(shown: Progress) -> Progress:
            def progress(stage: str, done: int, total: int) -> None:
                if stop():
                    raise Cancelled("Stopped.")
                if is_main():
                    shown(stage, done, total)

            return progress

        with live if is_main() else contextlib.nullcontext():
            if dry_run:
                plan = measure(
                    training_pairs, checkpoint, settings,
                    out=run, held_out=held_out, cpu=cpu, progress=stoppable(live.progress),
                )  # fmt: skip
                if is_main():
                    print_json(plan.model_dump()) if as_json else print("\n".join(plan.lines(settings)))
                return 0
            try:
                summary = run_training(
                    training_pairs, checkpoint, run=run, settings=settings,
                    on_record=live.record, progress=stoppable(live.progress), cpu=cpu,
                )  # fmt: skip
            except Diverged:
                _report_if_possible(run)
                raise
            except Cancelled as stopped:
                _report_if_possible(run)
                raise Stopped(str(stopped)) from stopped
        if not is_main():
            return 0
        with progress_bars(as_json=as_json) as bars:
            finished = finish(
                run,
                training_pairs,
                checkpoint,
                own=own or "",
                held_out=held_out,
                device="cpu" if cpu else None,
                progress=stoppable(bars),
            )
    if as_json:
        print_json({"built": str(run / CHECKPOINT), "result": _summary(summary)})
    else:
        print("\n".join([_summary(summary), *_results(finished, checkpoint.name, run / CHECKPOINT)]))
    return 0


def train_report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of runs, as `train --out` names them.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Required for several runs. Default: report.html in the run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the curves of one or several runs as one HTML file that needs no network."""
    from components.training.report import write_report

    report = write_report(runs, out)
    print_json({"written": str(report)}) if as_json else print(report)


def _with_margin(settings: "TrainingSettings", form: "InputForm", margin: float | None) -> "TrainingSettings":
    from components.training.settings import default_margin, trained_form

    return replace(settings, margin=default_margin(trained_form(form, settings)) if margin is None else margin)


def _report_if_possible(run: Path) -> None:
    """A report of a run that did not end well: where it cannot be written, the other error matters more."""
    from components.training.report import write_report
    from components.training.trainer import is_main

    if is_main():
        with contextlib.suppress(CociteAtlasError):
            write_report([run])


@contextlib.contextmanager
def _stopping(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Whether to stop: after one Ctrl-C or SIGTERM. A second one stops at once."""
    from components.training.trainer import is_main

    requested = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        if is_main():
            # The signal may interrupt a write to this very stream, which cannot be written to within that.
            with contextlib.suppress(RuntimeError):
                say("Stopping after the state is saved. Press Ctrl-C again to stop at once.")

    # Only the main thread may set signal handlers.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summary(summary: "RunSummary") -> str:
    record, best, steps = summary.record, summary.curves.best, len(summary.curves.steps)
    assert best is not None  # the first validation always is, unless training diverged
    notes = " It stopped early, because the dev loss did not fall any more." if record.status == "stopped early" else ""
    if best.step == 0:
        notes += " The dev loss never fell below the start's, so the start itself is kept."
    return (
        f"Done after {steps:,} of {record.total_steps:,} steps. The best encoder is that of step {best.step:,}, with a "
        f"dev loss of {best.dev_loss:.4f}.{notes}"
    )


def _results(finished: "Finished", start: str, checkpoint: Path) -> Iterator[str]:
    from components.training.held_out import score_rows, verdict

    if (scores := finished.held_out) is not None:
        for row in score_rows(scores):
            yield (
                f"{row.name} on {scores.after.queries:,} papers of unseen pairs, among {scores.after.papers:,}: "
                f"{row.before} by {start}, {row.after} now (p {row.p})"
            )
        yield verdict(scores)
    if finished.note:
        yield finished.note
    yield f"Encoder: {checkpoint}"
    yield f"  cocite build FILES --name NAME --encoder {shlex.quote(str(checkpoint))}"
    if finished.own:
        yield f"The app offers it as {finished.own}"
    if finished.full:
        yield f"The -full release: {finished.full}"
    yield f"Model card: {finished.card}"
    yield f"Report: {finished.report}"
