"""The loop: a run from its first step to its last, looks and states between them, on disk; it goes on after a stop."""

import importlib.metadata
import math
import platform
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from components.encoder.checkpoints import Checkpoint
from components.training import run_folder
from components.training.curves import LookRecord, StepRecord
from components.training.processes import accelerator_for, device_words
from components.training.release import recover_checkpoint, write_checkpoint
from components.training.run_folder import RunRecord, Status
from components.training.settings import TrainingError, TrainingSettings
from components.training.training import Diverged, Stopped, Training, never
from corpus.cocitations.pairs import TrainingPairs

# auto: go on where a run was stopped, else begin. never: a run that is there is refused. only: so is none.
Resume = Literal["auto", "never", "only"]
_VERSIONS = ("torch", "transformers", "accelerate", "tokenizers")
# Times the first dev loss and the margin together: far above what a noisy run comes to.
_LOOK_EXPLODED, _STEP_EXPLODED = 10.0, 100.0


class Watch(Protocol):
    """Who is told of a run while it goes; by the main process alone, from the training thread."""

    def step(self, record: StepRecord) -> None:
        """After each step."""

    def look(self, record: LookRecord) -> None:
        """After each look at the dev set."""

    def told(self, stage: str, done: int, total: int) -> None:
        """While something else takes its time."""


class Unwatched:
    """A watch that does not look."""

    def step(self, record: StepRecord) -> None:
        """See `Watch`."""

    def look(self, record: LookRecord) -> None:
        """See `Watch`."""

    def told(self, stage: str, done: int, total: int) -> None:
        """See `Watch`."""


UNWATCHED = Unwatched()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """How a run ended. checkpoint: the best encoder. resumed_from: the step that it went on from, None at its start.

    steps: that were done. best_step, best_loss: of the look whose encoder is kept.
    """

    status: Status
    checkpoint: Path
    steps: int
    total_steps: int
    best_step: int
    best_loss: float
    resumed_from: int | None


def train(
    pairs: TrainingPairs,
    start: Checkpoint,
    *,
    run: Path,
    settings: TrainingSettings,
    watch: Watch = UNWATCHED,
    stop: Callable[[], bool] = never,
    resume: Resume = "auto",
    cpu: bool = False,
) -> TrainingResult:
    """Train in a folder, from the start or from where it was stopped; a run that is over is told of, and left alone.

    stop: asked between steps, and between the passes of one; once it says yes, a state is written and the result's
        status is "interrupted". cpu: leave a GPU alone.
    Gone on with, a run gives the same curves as one that was never stopped, to the bit on one CPU. With several
    processes every one of them calls this; the main one writes.
    Raises TrainingError where the folder holds another run or anything else, where it cannot be written, where pairs,
    start and settings do not go together, and Diverged; EncoderUnavailable where the start cannot be read.
    """
    accelerator = accelerator_for(settings, cpu=cpu)
    main = bool(accelerator.is_main_process)
    with run_folder.locked(run) if main else nullcontext():
        accelerator.wait_for_everyone()
        found = _found(run, resume)
        if found is not None:
            _refuse_other(run, found, pairs=pairs, start=start, settings=settings)
            if found.status in run_folder.OVER:
                if main:
                    run_folder.drop_states(run)  # of a kill within the last moment: nothing takes them up
                return _told_again(run, found)
        watch = watch if main else UNWATCHED
        training = Training(pairs, start, settings, cpu=cpu, told=watch.told)
        return _Run(training, run=run, watch=watch, stop=stop, main=main).go()


class _Run:
    """One sitting of a run."""

    def __init__(self, training: Training, *, run: Path, watch: Watch, stop: Callable[[], bool], main: bool) -> None:
        self._training, self._run, self._watch, self._stop, self._main = training, run, watch, stop, main
        self._checkpoint = run / run_folder.CHECKPOINT
        self._saved = -1, -1  # step and look of the newest state
        self._record = _record(training)

    def go(self) -> TrainingResult:
        training, settings = self._training, self._training.settings
        resumed = self._take_up()
        status: Status = "finished"
        try:
            while True:
                step = training.progress.step
                last = step == training.total_steps
                if (step % settings.dev_every == 0 or last) and training.progress.looked < step:
                    self._look(step)
                if last:
                    break
                if settings.patience and training.progress.since_best >= settings.patience:
                    status = "stopped early"
                    break
                if step % settings.save_every == 0 and step:
                    self._save()
                if training.any_process(self._stop()):
                    raise Stopped
                self._step(step + 1)
        except Stopped:
            status = "interrupted"
            self._save()
        except Diverged as error:
            raise self._diverged(error) from error
        self._write(lambda: self._end(status))
        progress = training.progress
        return TrainingResult(
            status=status,
            checkpoint=self._checkpoint,
            steps=progress.step,
            total_steps=training.total_steps,
            best_step=progress.best_step,
            best_loss=progress.best_loss,
            resumed_from=resumed,
        )

    def _take_up(self) -> int | None:
        """Be where the last sitting stopped; the step that it was at, None where there was none."""
        training, run = self._training, self._run
        state = run_folder.last_state(run)
        if state is not None:
            self._watch.told("Taking up the run", 0, 1)
            training.load_state(state)
            self._saved = training.progress.step, training.progress.looked
        progress = training.progress

        def tidy() -> None:
            recover_checkpoint(self._checkpoint)
            if progress.best_step >= 0 and not self._checkpoint.is_dir():
                raise TrainingError(
                    f"{self._checkpoint}: the best encoder, that of step {progress.best_step:,}, is not there any "
                    "more, and perhaps none will be better. Put it back, or train in another folder."
                )
            run_folder.drop_states(run, but=state)
            run_folder.cut_curves(run, step=progress.step, looked=progress.looked)
            run_folder.write_run(run, self._standing("running"))

        self._write(tidy)
        return None if state is None else progress.step

    def _step(self, number: int) -> None:
        training = self._training
        record = training.step(number, stop=self._stop)
        self._write(lambda: run_folder.append_curve(self._run, record))
        self._watch.step(record)
        least = training.progress.first_loss + training.settings.margin
        if record.loss > _STEP_EXPLODED * least:
            raise Diverged(f"At step {number:,} the loss is {record.loss:,.1f}.")

    def _look(self, number: int) -> None:
        training = self._training
        record = training.look(number, stop=self._stop, told=self._watch.told)

        def keep() -> None:
            run_folder.append_curve(self._run, record)
            if record.best:
                write_checkpoint(self._checkpoint, training.encoder, start=training.start)
            run_folder.write_run(self._run, self._standing("running"))

        self._write(keep)
        self._watch.look(record)
        first = training.progress.first_loss
        if record.dev_loss > _LOOK_EXPLODED * (first + training.settings.margin):
            raise Diverged(
                f"After {number:,} steps the loss on the dev set is {record.dev_loss:,.1f}; it was {first:.2f} before "
                "the first."
            )

    def _save(self) -> None:
        progress = self._training.progress
        if (progress.step, progress.looked) == self._saved:
            return
        folder = run_folder.state_folder(self._run, step=progress.step, looked=progress.looked)

        def keep() -> None:
            run_folder.keep_curves(self._run)
            self._training.save_state(folder)
            run_folder.drop_states(self._run, but=folder)
            run_folder.write_run(self._run, self._standing("running"))

        self._write(keep)
        self._saved = progress.step, progress.looked

    def _end(self, status: Status) -> None:
        run_folder.write_run(self._run, self._standing(status))
        if status in run_folder.OVER:
            run_folder.drop_states(self._run)  # nothing can take it up any more

    def _diverged(self, error: Diverged) -> Diverged:
        """The error with what is kept and what to do, once that is written down."""
        settings = self._training.settings
        self._record = replace(self._record, reason=str(error))
        with suppress(TrainingError):  # that it diverged is the greater news

            def note() -> None:
                if error.record is not None:
                    run_folder.append_curve(self._run, error.record)
                self._end("diverged")

            self._write(note)
        advice = [f"a lower learning_rate, {settings.learning_rate / 10:g} say (it was {settings.learning_rate:g})"]
        if not settings.max_gradient_norm:
            advice.append("max_gradient_norm 1")
        if settings.precision == "float16":
            advice.append("precision bfloat16 or float32")
        return Diverged(
            f"The training diverged. {error} {self._kept_checkpoint()} Train again in another folder, with "
            f"{' or '.join(advice)}."
        )

    def _kept_checkpoint(self) -> str:
        progress = self._training.progress
        if progress.best_step < 0:
            return "No encoder is kept."
        return (
            f"The best encoder is kept in {self._checkpoint}: that of step {progress.best_step:,}, with a dev loss of "
            f"{progress.best_loss:.4f}."
        )

    def _standing(self, status: Status) -> RunRecord:
        progress = self._training.progress
        return replace(
            self._record,
            status=status,
            steps=progress.step,
            best_step=progress.best_step,
            best_loss=progress.best_loss if math.isfinite(progress.best_loss) else None,
        )

    def _write(self, work: Callable[[], None]) -> None:
        """Let the main process write. Raises TrainingError in all of them where it cannot."""
        error: TrainingError | None = None
        if self._main:
            step = self._saved[0]
            kept = f"The state after step {step:,} is whole" if step >= 0 else "No state was kept yet"
            again = "goes on from there" if step >= 0 else "begins again"
            try:
                with run_folder.disk_errors(
                    self._run, kept=f"{kept}: the same command {again}. {self._kept_checkpoint()}"
                ):
                    work()
            except TrainingError as caught:
                error = caught
        if self._training.any_process(error is not None):
            raise error or TrainingError(f"{self._run}: the main process could not write there. See what it says.")


def _found(run: Path, resume: Resume) -> RunRecord | None:
    """The record of a run that is there. Raises TrainingError where it may not be, or where one must be."""
    if (run / run_folder.RUN).exists():
        if resume == "never":
            raise TrainingError(f"{run}: a run is there already. Name another folder, or let it go on.")
        return run_folder.read_run(run)
    if resume == "only":
        raise TrainingError(f"{run}: there is no run to go on with. Name the folder that it was begun in.")
    if run_folder.holds_other_files(run):
        raise TrainingError(f"{run}: this folder holds files and no run. Name a folder that is empty or not there.")
    return None


def _refuse_other(
    run: Path, found: RunRecord, *, pairs: TrainingPairs, start: Checkpoint, settings: TrainingSettings
) -> None:
    """Raises TrainingError, naming what differs, where a run is of other pairs, another start or other settings."""
    differing = [
        f"{name} (there {found.settings.get(name)!r:.40}, here {value!r:.40})"
        for name, value in asdict(settings).items()
        if found.settings.get(name) != value
    ]
    if found.pairs.get("fingerprint") != pairs.fingerprint:
        differing.append(f"the pairs (there {found.pairs.get('name')!r:.80}, here {pairs.name!r:.80})")
    if found.start.get("fingerprint") != start.fingerprint:
        differing.append(f"the start (there {found.start.get('name')!r:.80}, here {start.name!r:.80})")
    if differing:
        raise TrainingError(
            f"{run}: the run that was begun there differs in {', '.join(differing)}. Go on with what it was begun "
            "with, or name another folder."
        )


def _told_again(run: Path, found: RunRecord) -> TrainingResult:
    if found.status == "diverged":
        raise TrainingError(f"{run}: this run diverged. {found.reason} Train in another folder, with other settings.")
    return TrainingResult(
        status=found.status,
        checkpoint=run / run_folder.CHECKPOINT,
        steps=found.steps,
        total_steps=found.total_steps,
        best_step=found.best_step,
        best_loss=math.inf if found.best_loss is None else found.best_loss,
        resumed_from=found.steps,
    )


def _record(training: Training) -> RunRecord:
    pairs, start, encoder = training.pairs, training.start, training.encoder
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in _VERSIONS}
    return RunRecord(
        status="running",
        settings=asdict(training.settings),
        pairs={
            "name": pairs.name,
            "fingerprint": pairs.fingerprint,
            "papers": pairs.papers.num_rows,
            "train": len(pairs.train),
            "dev": len(pairs.dev),
            "test": len(pairs.test),
            "told": pairs.provenance,
        },
        start={"name": start.name, "source": start.source, "fingerprint": start.fingerprint},
        model={
            **asdict(encoder.form),
            "dimensions": encoder.dimensions,
            "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        },
        versions=versions,
        device=device_words(training.accelerator),
        processes=training.accelerator.num_processes,
        total_steps=training.total_steps,
        left_over=list(training.plan.left_over),
    )
