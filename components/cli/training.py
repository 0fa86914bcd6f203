"""Verbs of training: pairs (in pairs.py), train, train-report."""

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from components.cli.output import AsJson, print_error, print_json, progress_bars
from components.cli.pairs import pairs
from corpus.progress import Cancelled

if TYPE_CHECKING:
    from components.encoder.catalogue import InputForm
    from components.training.finishing import Finished
    from components.training.loop import TrainingResult
    from components.training.settings import TrainingSettings

STOPPED = 130


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
    ] = 10_000,
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
    from components.encoder import find_checkpoint
    from components.encoder.catalogue import COCITE_FORM
    from components.training.finishing import finish, own_target
    from components.training.loop import train as run_training
    from components.training.planning import forecast
    from components.training.processes import is_main
    from components.training.settings import TrainingSettings
    from components.training.training import Diverged, Stopped
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
        own_target(own, run=out)  # a taken name is refused before hours of work
    training_pairs = read_pairs(pairs)
    checkpoint = find_checkpoint(start)
    settings = _with_margin(settings, checkpoint.form, margin)
    live = _live_display(run)
    with _stopping(live.say) as stop:
        with live:
            watch = live if is_main() else _unwatched()
            if dry_run:
                try:
                    plan = forecast(
                        training_pairs, checkpoint, settings,
                        out=run, held_out=held_out, cpu=cpu, stop=stop, told=watch.told,
                    )  # fmt: skip
                except Stopped as error:
                    raise Cancelled("Stopped.") from error
                if is_main():
                    print_json(plan.as_json()) if as_json else print("\n".join(plan.lines()))
                return 0
            try:
                result = run_training(
                    training_pairs, checkpoint, run=run, settings=settings, watch=watch, stop=stop, cpu=cpu
                )
            except Diverged:
                _report_if_possible(run)
                raise
        if result.status == "interrupted":
            _report_if_possible(run)
            if is_main():
                print_error(
                    f"stopped after step {result.steps:,} of {result.total_steps:,}. The same command resumes there."
                )
            return STOPPED
        if not is_main():
            return 0
        with progress_bars() as bars:

            def progress(stage: str, done: int, total: int) -> None:
                if stop():
                    raise Cancelled("Stopped.")
                bars(stage, done, total)

            finished = finish(
                run,
                training_pairs,
                checkpoint,
                settings,
                own=own,
                held_out=held_out,
                device="cpu" if cpu else None,
                progress=progress,
            )
    if as_json:
        print_json({"built": str(result.checkpoint), "result": _summary(result)})
    else:
        print("\n".join([_summary(result), *_results(finished, checkpoint.name, result)]))
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
    from components.training.settings import trained_form, usual_margin

    return replace(settings, margin=usual_margin(trained_form(form, settings)) if margin is None else margin)


def _live_display(run: Path) -> Any:
    from components.training.curves import CURVES, NO_CURVES, read_curves
    from components.training.live import Live
    from components.training.run_folder import read_run

    before = read_curves(run / CURVES) if (run / CURVES).exists() else NO_CURVES
    return Live(sys.stderr, total_steps=lambda: read_run(run).total_steps, before=before)


def _unwatched() -> Any:
    from components.training.loop import UNWATCHED

    return UNWATCHED


def _report_if_possible(run: Path) -> None:
    """A report of a run that did not end well: where it cannot be written, the other error matters more."""
    from components.training.processes import is_main
    from components.training.report import write_report
    from components.training.settings import TrainingError

    if is_main():
        with contextlib.suppress(TrainingError):
            write_report([run])


@contextlib.contextmanager
def _stopping(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Whether to stop: after one Ctrl-C or SIGTERM. A second one stops at once."""
    from components.training.processes import is_main

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


def _summary(result: "TrainingResult") -> str:
    notes = " It stopped early, because the dev loss did not fall any more." if result.status == "stopped early" else ""
    if result.best_step == 0:
        notes += " The dev loss never fell below the start's, so the start itself is kept."
    return (
        f"Done after {result.steps:,} of {result.total_steps:,} steps. The best encoder is that of step "
        f"{result.best_step:,}, with a dev loss of {result.best_loss:.4f}.{notes}"
    )


def _results(finished: "Finished", start: str, result: "TrainingResult") -> Iterator[str]:
    from components.training.held_out_file import verdict

    for row in finished.held_out:
        yield (
            f"{row.called} on {row.queries:,} papers of unseen pairs, among {row.papers:,}: {row.before_words} "
            f"by {start}, {row.after_words} now (p {row.p_words})"
        )
    if conclusion := verdict(finished.held_out):
        yield conclusion
    yield from finished.notes
    yield f"Encoder: {result.checkpoint}"
    yield f"  cocite build FILES --name NAME --encoder {shlex.quote(str(result.checkpoint))}"
    if finished.own:
        yield f"The app offers it as {finished.own}"
    if finished.full:
        yield f"The -full release: {finished.full}"
    yield f"Model card: {finished.card}"
    yield f"Report: {finished.report}"
