"""Dry runs: a few real steps and a look, in memory alone, and what they say of the whole training."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from components.encoder.checkpoints import Checkpoint
from components.training.curves import StepRecord
from components.training.processes import device_words
from components.training.settings import TrainingSettings
from components.training.training import Stop, Training, never
from components.training.wording import time_words
from corpus.cocitations.pairs import TrainingPairs
from corpus.io.files import format_bytes
from corpus.progress import Progress, no_progress

_STEPS = 12  # typical ones at most; the error of their mean is a tenth of the spread of steps then, or less
_FEWEST = 3
_SECONDS = 30.0  # after which no further step is begun, once there are the fewest
_LOOKED = 64  # dev triplets of the look
_SEED = 0
_LONG = 3_600.0  # seconds: what is worth advice
_NUMBER = 4  # bytes of a parameter
_MATRIX = 1_024  # rows and columns of the products that the machine's peak is measured by


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a few steps say of a run. Times are in seconds, memory and disk in bytes.

    steps: typical ones that were measured. step_seconds: their mean; error: twice its standard error. longest_seconds:
    the step with the longest texts. look_seconds: a look at the whole dev set, from a part of it; looks: how many
    there will be. ranking_seconds: of ranking the held-out papers by the start and by the encoder, at the end.
    flops: a second, of the arithmetic that the word pieces need, without padding; 0 where the model's shape is not
    known. peak_flops: of products of matrices in float32 or bfloat16 here.
    memory: at its highest, of the GPU where there is one (of memory_of_all, else 0), else of this process.
    checkpoint_bytes, state_bytes: of one; disk_bytes: at the moment when most of them are there; free_bytes: of the
    disk. cut: the share of the texts that were measured which reach max_tokens.
    """

    device: str
    on_gpu: bool
    settings: TrainingSettings
    total_steps: int
    steps: int
    step_seconds: float
    error: float
    longest_seconds: float
    look_seconds: float
    looks: int
    ranking_seconds: float
    tokens_a_second: float
    flops: float
    peak_flops: float
    memory: int
    memory_of_all: int
    parameters: int
    checkpoint_bytes: int
    state_bytes: int
    free_bytes: int
    text_tokens: float
    max_tokens: int
    cut: float

    @property
    def whole(self) -> tuple[float, float, float]:
        """How long the run takes: least, most likely, most."""
        looks = self.looks * self.look_seconds
        likely, error = self.total_steps * self.step_seconds, self.total_steps * self.error
        return max(0.0, likely - error) + looks, likely + looks, likely + error + looks

    @property
    def disk_bytes(self) -> int:
        """While a state or a checkpoint is replaced, both are there."""
        return 2 * self.state_bytes + 2 * self.checkpoint_bytes

    def lines(self) -> list[str]:
        """What is said of it."""
        least, likely, most = self.whole
        looking = self.looks * self.look_seconds
        found = [
            f"Nothing was written. {self.steps} typical steps and the longest were taken on {self.device}.",
            f"The whole training: {time_words(likely)} (between {time_words(least)} and {time_words(most)}), of which "
            f"{time_words(looking)} for {self.looks:,} looks at the dev set.",
            f"Steps: {self.total_steps:,}, {1 / self.step_seconds:,.2f} a second, {self.step_seconds:,.3f} s each; the "
            f"longest takes {self.longest_seconds:,.3f} s.",
            f"Word pieces: {self.tokens_a_second:,.0f} a second; a text has {self.text_tokens:,.0f} on average, and "
            f"{self.cut:.0%} of the texts are cut off at {self.max_tokens:,}.",
        ]
        if self.ranking_seconds:
            found.append(
                f"After it: about {time_words(self.ranking_seconds)} for the scores of held-out papers before and "
                "after; --held-out ranks fewer, or none."
            )
        if self.flops:
            share = f", {self.flops / self.peak_flops:.0%} of its products of matrices" if self.peak_flops else ""
            found.append(f"Arithmetic: {self.flops / 1e9:,.0f} GFLOP/s{share}.")
        whose = f" of {format_bytes(self.memory_of_all)} of the GPU" if self.memory_of_all else " of this process"
        if self.memory:
            found.append(f"Memory: {format_bytes(self.memory)}{whose} at the longest step.")
        found.append(
            f"Disk: {format_bytes(self.checkpoint_bytes)} for the encoder, "
            f"{format_bytes(self.state_bytes)} for a state, "
            f"up to {format_bytes(self.disk_bytes)} at once; {format_bytes(self.free_bytes)} are free."
        )
        return [*found, *self.advice()]

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        least, likely, most = self.whole
        return {**asdict(self), "disk_bytes": self.disk_bytes, "seconds": [least, likely, most]}

    def advice(self) -> list[str]:
        """What to change, where it is long or does not fit."""
        return list(self._advice())

    def _advice(self) -> Iterator[str]:
        settings, (_, likely, _) = self.settings, self.whole
        if self.disk_bytes > self.free_bytes:
            yield "The disk is too small: make room, or choose a folder of another disk with --out."
        if self.memory_of_all and self.memory > 0.9 * self.memory_of_all and not settings.gradient_checkpointing:
            yield "The GPU's memory is nearly full: --gradient-checkpointing needs much less, and a third more time."
        if likely < _LONG:
            return
        if not self.on_gpu:
            yield "It runs on the CPU. On a machine with a GPU the same command uses that."
        elif settings.precision == "float32":
            yield "--precision bfloat16 is several times faster on a GPU of the last years."
        if self.on_gpu and settings.gradient_checkpointing and self.memory < 0.3 * self.memory_of_all:
            yield "There is memory to spare: without --gradient-checkpointing it takes a quarter less time."
        if self.looks * self.look_seconds > 0.2 * likely:
            yield f"Looks take {self.looks * self.look_seconds / likely:.0%} of the time: raise --dev-every."
        if self.cut > 0.1 and self.max_tokens > 256:
            yield "Many texts are long: --max-tokens 256 reads less of each, and is another model for it."
        if not settings.max_steps:
            fitting = max(1, int(self.total_steps * _LONG / likely))
            warmup = f" --warmup-steps {fitting // 10}" if settings.warmup_steps >= fitting else ""
            yield (
                f"--max-steps {fitting}{warmup} is about what an hour has time for: enough to see whether the pairs "
                "teach anything before all of them are trained on."
            )


def forecast(
    pairs: TrainingPairs,
    start: Checkpoint,
    settings: TrainingSettings,
    *,
    out: Path,
    held_out: int = 0,
    cpu: bool = False,
    stop: Stop = never,
    told: Progress = no_progress,
    clock: Callable[[], float] = time.monotonic,
) -> Forecast:
    """Take a few steps and a look as the training would, and write nothing.

    out: where the run is to lie, for the room on that disk; it need not be there. held_out: how many papers are ranked
    at most once it is done; 0: none. stop: as `Training.step` asks it.
    Raises what `Training` does.
    """
    dev = pairs.dev[np.unique(np.linspace(0, len(pairs.dev) - 1, min(_LOOKED, len(pairs.dev))).astype(int))]
    training = Training(replace(pairs, dev=dev), start, settings, cpu=cpu, told=told)
    longest, typical = _chosen(training)
    told("Taking a few steps", 0, len(typical) + 3)
    training.step(longest, stop=stop)  # for the memory, and so that nothing is timed that is done only once
    told("Taking a few steps", 1, len(typical) + 3)
    record = training.step(longest, stop=stop)
    began = clock()
    records: list[StepRecord] = []
    for number in typical:
        # All processes take a step together, or none does; their clocks differ.
        if training.any_process(len(records) >= _FEWEST and clock() - began > _SECONDS):
            break
        told("Taking a few steps", 2 + len(records), len(typical) + 3)
        records.append(training.step(number, stop=stop))
    memory = _memory(training.device)
    training.look(training.total_steps, stop=stop)  # the first reads its texts
    look = training.look(training.total_steps, stop=stop)
    told("Taking a few steps", len(typical) + 3, len(typical) + 3)
    seconds = np.array([one.seconds for one in records])
    rows = np.unique(np.concatenate([training.rows_of(one.step).ravel() for one in records]))
    lengths = training.tokens.lengths(rows)
    work = sum(_flops(training, one.step) for one in records)
    parameters = sum(one.numel() for one in training.encoder.parameters())
    on_gpu = training.device.type == "cuda"
    a_paper = look.seconds / len(np.unique(dev))
    return Forecast(
        device=device_words(training.accelerator),
        on_gpu=on_gpu,
        settings=settings,
        total_steps=training.total_steps,
        steps=len(records),
        step_seconds=float(seconds.mean()),
        error=float(2 * seconds.std(ddof=1) / math.sqrt(len(seconds))) if len(seconds) > 1 else float(seconds.mean()),
        longest_seconds=record.seconds,
        look_seconds=a_paper * len(np.unique(pairs.dev)),
        looks=1 + math.ceil(training.total_steps / settings.dev_every),
        ranking_seconds=2 * a_paper * min(held_out, pairs.papers.num_rows) if len(pairs.test) else 0.0,
        tokens_a_second=sum(one.tokens for one in records) / float(seconds.sum()),
        flops=work / float(seconds.sum()),
        peak_flops=_matrix_peak(training.device, settings) if work else 0.0,
        memory=memory,
        memory_of_all=int(torch.cuda.get_device_properties(training.device).total_memory) if on_gpu else 0,
        parameters=parameters,
        checkpoint_bytes=_NUMBER * parameters,
        state_bytes=3 * _NUMBER * parameters,  # the weights, and Adam's two numbers of each
        free_bytes=_free(out),
        text_tokens=float(lengths.mean()),
        max_tokens=training.encoder.form.max_tokens,
        cut=float((lengths >= training.encoder.form.max_tokens).mean()),
    )


def _chosen(training: Training) -> tuple[int, NDArray[np.int64]]:
    """The number of the step with the longest texts, by characters, and those of typical steps, drawn by chance."""
    papers = training.pairs.papers
    lengths = [pc.utf8_length(papers[name]).to_numpy(zero_copy_only=False) for name in ("title", "abstract")]
    # What is cut off makes no step longer: a word piece has some four characters.
    characters = np.minimum(np.nan_to_num(sum(lengths)), 6 * training.encoder.form.max_tokens)
    used = training.plan.micro_batches[: training.total_steps * training.plan.each]
    # A micro-batch is padded to its longest text.
    widest = characters[training.pairs.train[used]].max(axis=(1, 2))
    by_step = widest.reshape(training.total_steps, -1).sum(axis=1)
    count = min(_STEPS, training.total_steps)
    drawn = np.random.default_rng(_SEED).choice(training.total_steps, size=count, replace=False)
    typical = np.sort(drawn) + 1
    # Of very short runs, the same steps once more.
    return int(by_step.argmax()) + 1, np.resize(typical, max(_FEWEST, count))


def _flops(training: Training, step: int) -> float:
    """Multiplications and additions of a step: forward and backward, twice as much, of every layer; no padding."""
    config = training.encoder.bert.config
    names = ("hidden_size", "intermediate_size", "num_hidden_layers")
    shape = [getattr(config, name, None) for name in names]
    if not all(isinstance(one, int) and one > 0 for one in shape):
        return 0.0
    hidden, wide, layers = (float(one or 0) for one in shape)
    lengths = training.tokens.lengths(training.rows_of(step).ravel()).astype(np.float64)
    layer = 2 * lengths * (4 * hidden**2 + 2 * hidden * wide) + 4 * lengths**2 * hidden
    return float(3 * layers * layer.sum())


def _matrix_peak(device: torch.device, settings: TrainingSettings) -> float:
    """FLOP a second of large products of matrices in the precision of a run, the best of a few."""
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[settings.precision]
    size = _MATRIX * 8 if device.type == "cuda" else _MATRIX
    one = torch.randn(size, size, device=device).to(dtype)
    best = math.inf
    for _ in range(4):
        began = time.perf_counter()
        (one @ one)[0, 0].item()  # which waits for it
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def _memory(device: torch.device) -> int:
    """Bytes at their highest: of the GPU, else of this process; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def _free(out: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    folder = out.absolute()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
