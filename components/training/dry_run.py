"""Dry run: take a few real steps and a validation in memory, and extrapolate time, memory and disk. Writes nothing."""

import datetime
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import humanize
import numpy as np
import pyarrow.compute as pc
import torch
from pydantic import BaseModel

from components.encoder.checkpoints import Checkpoint
from components.training.run import StepRecord
from components.training.settings import TrainingSettings
from components.training.trainer import Trainer, device_name
from corpus.cocitations.pairs import TrainingPairs
from corpus.progress import Progress, no_progress

_MEASURING = "Taking a few steps"
_MIN_STEPS, _MAX_STEPS = 3, 12  # typical steps that are timed
_SECONDS = 30.0  # after which no further step is begun
_TRIPLETS = 64  # of the dev set that are validated
_LONG = 3_600.0  # seconds; longer runs get advice


class DryRun(BaseModel):
    """What a few steps say about a run. Times in seconds, memory and disk in bytes.

    measured_steps: typical ones, drawn at random. ranking_seconds: for the held-out papers, before and after.
    memory: the peak of these steps, among them the one with the longest texts; of the GPU if there is one, else of
    this process. gpu_memory: all of it; 0 on a CPU.
    """

    device: str
    total_steps: int
    measured_steps: int
    step_seconds: float
    tokens_per_second: float
    validations: int
    validation_seconds: float
    ranking_seconds: float
    total_seconds: float
    memory: int
    gpu_memory: int
    checkpoint_bytes: int
    state_bytes: int
    free_bytes: int

    def lines(self, settings: TrainingSettings) -> Iterator[str]:
        """The result in sentences, with advice."""
        size = humanize.naturalsize
        validating = self.validations * self.validation_seconds
        yield f"Nothing was written. {self.measured_steps} typical steps were measured on {self.device}."
        yield (
            f"The whole training takes about {_duration(self.total_seconds)}: {self.total_steps:,} steps of "
            f"{self.step_seconds:,.3g} s, and {_duration(validating)} for {self.validations:,} validations on the dev "
            f"set. The model reads {self.tokens_per_second:,.0f} word pieces per second."
        )
        if self.ranking_seconds:
            yield (
                f"Then about {_duration(self.ranking_seconds)} to rank held-out papers before and after; --held-out "
                "ranks fewer, or none."
            )
        of_gpu = f" of the GPU's {size(self.gpu_memory)}" if self.gpu_memory else ""
        yield f"Memory: {size(self.memory)}{of_gpu} at the step with the longest texts."
        yield (
            f"Disk: {size(self.checkpoint_bytes)} for the encoder and {size(self.state_bytes)} for a state, twice that "
            f"while they are replaced; {size(self.free_bytes)} are free."
        )
        if 2 * (self.checkpoint_bytes + self.state_bytes) > self.free_bytes:
            yield "The disk is too small: free some space, or choose a folder on another disk with --out."
        if self.gpu_memory and self.memory > 0.9 * self.gpu_memory and not settings.gradient_checkpointing:
            yield "The GPU's memory is nearly full: --gradient-checkpointing needs much less, and a third more time."
        if self.total_seconds < _LONG:
            return
        if not self.gpu_memory:
            yield "This runs on the CPU. On a machine with a GPU the same command uses it."
        elif settings.precision == "float32":
            yield "--precision bfloat16 is several times faster on recent GPUs."
        if not settings.max_steps:
            fitting = max(1, int(self.total_steps * _LONG / self.total_seconds))
            warmup = f" --warmup-steps {fitting // 10}" if settings.warmup_steps >= fitting else ""
            yield (
                f"--max-steps {fitting}{warmup} takes about an hour: enough to see whether the pairs teach anything "
                "before you train on all of them."
            )


def dry_run(
    pairs: TrainingPairs,
    start: Checkpoint,
    settings: TrainingSettings,
    *,
    out: Path,
    held_out: int = 0,
    cpu: bool = False,
    progress: Progress = no_progress,
) -> DryRun:
    """Measure a few steps and a validation. out: the run's future folder. held_out: papers to be ranked at most.

    Raises what `Trainer` and `progress` raise.
    """
    dev = pairs.dev[np.unique(np.linspace(0, len(pairs.dev) - 1, min(_TRIPLETS, len(pairs.dev))).astype(int))]
    trainer = Trainer(replace(pairs, dev=dev), start, settings, cpu=cpu, progress=progress)
    plan, random = trainer.plan, np.random.default_rng(0)
    progress(_MEASURING, 0, _MAX_STEPS)
    trainer.step(_longest_step(trainer))  # for the memory, and so that one-time work is not measured
    records: list[StepRecord] = []
    began = time.monotonic()
    # All processes take a step together, or none does: their clocks differ.
    while len(records) < _MAX_STEPS and not trainer.any_process(
        len(records) >= _MIN_STEPS and time.monotonic() - began > _SECONDS
    ):
        progress(_MEASURING, len(records), _MAX_STEPS)
        records.append(trainer.step(int(random.integers(1, plan.total_steps + 1))))
    memory, gpu_memory = _memory(trainer.device)
    trainer.validate(0)  # tokenises the texts
    paper_seconds = trainer.validate(0).seconds / len(np.unique(dev))
    seconds = sum(record.seconds for record in records)
    step_seconds, validation_seconds = seconds / len(records), paper_seconds * len(np.unique(pairs.dev))
    validations = 1 + -(-plan.total_steps // settings.dev_every)
    parameters = sum(parameter.numel() for parameter in trainer.encoder.parameters())
    folder = out.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return DryRun(
        device=device_name(trainer.device),
        total_steps=plan.total_steps,
        measured_steps=len(records),
        step_seconds=step_seconds,
        tokens_per_second=sum(record.tokens for record in records) / seconds,
        validations=validations,
        validation_seconds=validation_seconds,
        ranking_seconds=2 * paper_seconds * min(held_out, pairs.papers.num_rows) if len(pairs.test) else 0.0,
        total_seconds=plan.total_steps * step_seconds + validations * validation_seconds,
        memory=memory,
        gpu_memory=gpu_memory,
        checkpoint_bytes=4 * parameters,
        state_bytes=12 * parameters,  # the weights, and Adam's two numbers for each
        free_bytes=shutil.disk_usage(folder).free,
    )


def _longest_step(trainer: Trainer) -> int:
    """The number of the step with the longest texts, by characters."""
    papers, plan = trainer.pairs.papers, trainer.plan
    lengths = sum(np.nan_to_num(pc.utf8_length(papers[name]).to_numpy()) for name in ("title", "abstract"))
    # Truncated texts take no longer; a word piece has some four characters. A micro-batch is padded to its longest.
    lengths = np.minimum(lengths, 6 * trainer.encoder.form.max_tokens)
    used = plan.micro_batches[: plan.total_steps * plan.per_step]
    widest = lengths[trainer.pairs.train[used]].max(axis=(1, 2))
    return int(widest.reshape(plan.total_steps, -1).sum(axis=1).argmax()) + 1


def _memory(device: torch.device) -> tuple[int, int]:
    """The peak so far and the GPU's whole memory, in bytes; on a CPU this process's peak and 0."""
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        return int(torch.cuda.max_memory_reserved(device)), int(whole)
    try:
        import resource
    except ImportError:  # Windows
        return 0, 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1_024 * peak, 0


def _duration(seconds: float) -> str:
    unit = "seconds" if seconds < 3_600 else "minutes"
    return humanize.precisedelta(datetime.timedelta(seconds=seconds), minimum_unit=unit, format="%.0f")
