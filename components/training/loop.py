"""The training loop: settings → batches → model → steps, with validations and saved states between them."""

import contextlib
import importlib.metadata
import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from components.encoder.checkpoints import Checkpoint
from components.training.export import recover_folder, write_checkpoint
from components.training.run import (
    CHECKPOINT,
    RECORD,
    STATE,
    CurveRecord,
    PairsRecord,
    RunRecord,
    RunSummary,
    StartRecord,
    Status,
    StepRecord,
    ValidationRecord,
    append_record,
    cut_curves,
    flush_curves,
    holds_other_files,
    locked,
    read_curves,
    read_model,
    read_run,
    write_model,
)
from components.training.settings import TrainingError, TrainingSettings
from components.training.trainer import Trainer, device_name, make_accelerator
from corpus.cocitations.pairs import TrainingPairs
from corpus.io.disk import disk_errors
from corpus.progress import Cancelled, Progress, no_progress

TRAINING = "Training"

_VERSIONS = ("torch", "transformers", "accelerate", "tokenizers")
# Divergence. Bounds on the loss are multiples of the first dev loss + margin, far above what noisy runs reach.
_STEP_EXPLODED, _DEV_EXPLODED = 100.0, 10.0
# Vectors have collapsed if they lie this many times closer than at an earlier validation and the loss is the margin.
_COLLAPSED, _AT_MARGIN = 100.0, 0.99
_SAME = 1e-4  # margins; a spread below it is that of equal vectors: torch adds 1e-6 per coordinate


class Diverged(TrainingError):
    """Training diverged. The message says how, what is kept, and what to change."""


def train(
    pairs: TrainingPairs,
    start: Checkpoint,
    *,
    run: Path,
    settings: TrainingSettings,
    on_record: Callable[[CurveRecord], None] = lambda _: None,
    progress: Progress = no_progress,
    cpu: bool = False,
) -> RunSummary:
    """Train in the folder `run`, from the start or from its last state. A run that is over is only read.

    on_record: called after each step and each validation, by the main process. progress: called between steps, between
    the passes of a validation and while preparing; if it raises Cancelled, a state is saved first. cpu: use no GPU.
    With several processes each one calls this; the main process writes.
    Raises TrainingError if the folder holds another run or other files, or if pairs, start and settings do not fit
    together; Diverged; Cancelled; EncoderUnavailable if the start cannot be read; NoSpaceLeft and CannotWrite.
    """
    accelerator = make_accelerator(settings, cpu=cpu)
    main = bool(accelerator.is_main_process)
    with disk_errors(run), locked(run) if main else contextlib.nullcontext():
        accelerator.wait_for_everyone()
        found = _find_run(run, pairs=pairs, start=start, settings=settings)
        accelerator.wait_for_everyone()
        if found is None or not found.over:
            trainer = Trainer(pairs, start, settings, cpu=cpu, progress=progress)
            _train(trainer, run, on_record=on_record, progress=progress, main=main)
        elif main:
            (run / STATE).unlink(missing_ok=True)  # left by a kill in the last moment
        accelerator.wait_for_everyone()
        summary = read_run(run)
        if summary.record.status == "diverged":
            raise Diverged(f"{run}: {_divergence(summary)}")
        return summary


def _train(
    trainer: Trainer,
    run: Path,
    *,
    on_record: Callable[[CurveRecord], None],
    progress: Progress,
    main: bool,
) -> None:
    """Train until the run is over, or was cancelled."""
    settings, total = trainer.settings, trainer.plan.total_steps
    step, validations = _resume(trainer, run, main=main)
    saved = step  # the last step that is on disk

    def keep(record: CurveRecord) -> None:
        if main:
            append_record(run, record)
            on_record(record)

    def write_record(status: Status, reason: str = "") -> None:
        if main:
            write_model(run / RECORD, _run_record(trainer, status, reason))

    write_record("running")
    status: Status = "finished"
    problem = ""
    while not problem:
        try:
            due = step % settings.dev_every == 0 or step == total
            if due and not (validations and validations[-1].step == step):
                validation = trainer.validate(step, progress=progress)
                problem = _dev_problem(validation, validations, settings, start=trainer.start)
                if not problem and validation.dev_loss < min((one.dev_loss for one in validations), default=math.inf):
                    validation = validation.model_copy(update={"best": True})
                    if main:  # before the record, which promises it
                        write_checkpoint(run / CHECKPOINT, trainer.encoder, start=trainer.start)
                validations.append(validation)
                keep(validation)
            if step == total or problem:
                break
            if settings.patience and not any(one.best for one in validations[-settings.patience :]):
                status = "stopped early"
                break
            progress(TRAINING, step, total)
            cancelled = False
        except Cancelled:
            cancelled = True
        cancelled = trainer.any_process(cancelled)
        if main and step > saved and (cancelled or step % settings.save_every == 0):
            flush_curves(run)
            trainer.save_state(run / STATE, step=step)
            saved = step
        if cancelled:
            write_record("interrupted")
            raise Cancelled(f"Stopped after step {step:,} of {total:,}. The same command continues from there.")
        step += 1
        record = trainer.step(step)
        keep(record)
        problem = _step_problem(record, first=validations[0].dev_loss, margin=settings.margin)
    write_record("diverged" if problem else status, problem)
    if main:
        (run / STATE).unlink(missing_ok=True)  # nothing resumes from it any more


def _resume(trainer: Trainer, run: Path, *, main: bool) -> tuple[int, list[ValidationRecord]]:
    """Continue from the last state; the step that it was saved after, and the validations up to it."""
    step = trainer.load_state(run / STATE) if (run / STATE).exists() else 0
    if main:
        recover_folder(run / CHECKPOINT)
        cut_curves(run, step=step)
    validations = [record for record in read_curves(run).validations if record.step <= step]
    if validations and main and not (run / CHECKPOINT).is_dir():
        raise TrainingError(
            f"{run / CHECKPOINT}: the best encoder so far is missing, and no better one may follow. Put it back, or "
            "train in another folder."
        )
    return step, validations


def _step_problem(record: StepRecord, *, first: float, margin: float) -> str:
    """Why training has diverged at this step; "" if it has not. first: the first dev loss."""
    if not math.isfinite(record.loss):
        return f"At step {record.step:,} the loss is not finite."
    if not math.isfinite(record.gradient_norm):
        return f"At step {record.step:,} the gradient is not finite."
    if record.loss > _STEP_EXPLODED * (first + margin):
        return f"At step {record.step:,} the loss is {record.loss:,.1f}."
    return ""


def _dev_problem(
    record: ValidationRecord, before: Sequence[ValidationRecord], settings: TrainingSettings, *, start: Checkpoint
) -> str:
    """Why training has diverged at this validation; "" if it has not. Raises TrainingError for a useless start."""
    margin, first = settings.margin, (before or [record])[0].dev_loss
    if not math.isfinite(record.dev_loss):
        return f"After {record.step:,} steps the loss on the dev set is not finite."
    if not before and record.spread < _SAME * margin:
        raise TrainingError(
            f"{start.name} gives all papers of the dev set the same vector. Its tokenizer may not be its own: start "
            "from another checkpoint."
        )
    widest = max((one.spread for one in before), default=0.0)
    if record.dev_loss > _AT_MARGIN * margin and record.spread < widest / _COLLAPSED:
        return (
            f"After {record.step:,} steps the vectors have collapsed: all papers of the dev set have nearly the same "
            "vector, so the loss is the margin."
        )
    if record.dev_loss > _DEV_EXPLODED * (first + margin):
        return f"After {record.step:,} steps the loss on the dev set is {record.dev_loss:,.1f}; it was {first:.2f}."
    return ""


def _divergence(summary: RunSummary) -> str:
    """How a run diverged, what is kept, and what to change."""
    settings, best = summary.record.settings, summary.curves.best
    kept = "No encoder is kept."
    if best is not None:
        kept = (
            f"The best encoder is kept in {summary.folder / CHECKPOINT}: that of step {best.step:,}, with a dev loss "
            f"of {best.dev_loss:.4f}."
        )
    advice = [f"a lower learning_rate, such as {settings.learning_rate / 10:g} (it was {settings.learning_rate:g})"]
    if not settings.max_gradient_norm:
        advice.append("max_gradient_norm 1")
    if settings.precision == "float16":
        advice.append("precision bfloat16 or float32")
    return (
        f"the training diverged. {summary.record.reason} {kept} Train again in another folder, with "
        f"{' or '.join(advice)}."
    )


def _find_run(run: Path, *, pairs: TrainingPairs, start: Checkpoint, settings: TrainingSettings) -> RunRecord | None:
    """The record of the run in a folder; None if the folder is empty. Raises TrainingError if it is another run's."""
    if not (run / RECORD).exists():
        if holds_other_files(run):
            raise TrainingError(f"{run} holds other files and no run. Name a new or empty folder.")
        return None
    record = read_model(run / RECORD, RunRecord)
    there = asdict(record.settings)
    differing = [
        f"{name} (there {there[name]!r:.40}, here {value!r:.40})"
        for name, value in asdict(settings).items()
        if there[name] != value
    ]
    if record.pairs.fingerprint != pairs.fingerprint:
        differing.append(f"the pairs (there {record.pairs.name!r:.80}, here {pairs.name!r:.80})")
    if record.start.fingerprint != start.fingerprint:
        differing.append(f"the start (there {record.start.name!r:.80}, here {start.name!r:.80})")
    if differing:
        raise TrainingError(
            f"{run}: the run in this folder differs in {', '.join(differing)}. Continue it with its own settings, or "
            "name another folder."
        )
    return record


def _run_record(trainer: Trainer, status: Status, reason: str) -> RunRecord:
    pairs, start, encoder = trainer.pairs, trainer.start, trainer.encoder
    versions = {name: importlib.metadata.version(name) for name in _VERSIONS}
    # Names of files may hold bytes that are no UTF-8.
    name, provenance = json.loads(
        json.dumps([pairs.name, pairs.provenance], ensure_ascii=False).encode("utf-8", "replace")
    )
    return RunRecord(
        status=status,
        settings=trainer.settings,
        pairs=PairsRecord(
            name=name,
            fingerprint=pairs.fingerprint,
            papers=pairs.papers.num_rows,
            train=len(pairs.train),
            dev=len(pairs.dev),
            test=len(pairs.test),
            provenance=provenance,
        ),
        start=StartRecord(name=start.name, source=start.source, fingerprint=start.fingerprint),
        model={
            **asdict(encoder.form),
            "dimensions": encoder.dimensions,
            "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        },
        versions={"python": platform.python_version()} | versions,
        device=device_name(trainer.device),
        processes=trainer.accelerator.num_processes,
        total_steps=trainer.plan.total_steps,
        left_over=list(trainer.plan.left_over),
        reason=reason,
    )
