"""One run in memory: model, optimiser and batches; a training step, a validation, a state.

Every random draw is a function of the seed, the step and the micro-batch. So a resumed run repeats the uninterrupted
one, to the bit on one CPU, and a step is the same for any number of processes.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.encoder.base import first_line
from components.encoder.bi_encoder import token_budget_batches
from components.encoder.checkpoints import Checkpoint
from components.training.batches import PaperTokens, WordPieces, draw_negatives, padded, plan_run
from components.training.model import TrainedEncoder, load_trained
from components.training.run import StepRecord, ValidationRecord, tensor_disk_errors
from components.training.settings import TrainingError, TrainingSettings
from corpus.cocitations.pairs import TrainingPairs
from corpus.io.files import beside
from corpus.progress import Progress, no_progress

if TYPE_CHECKING:
    from accelerate import Accelerator

VALIDATING = "Validating on the dev set"

_VALIDATION_TOKENS = {"cpu": 2_048, "cuda": 65_536}  # per pass, padding included; no gradients are kept
_NEGATIVES, _DROPOUT = 1, 2  # kinds of random draws, each with its own stream


class Trainer:
    """A run in memory: model, optimiser and batches."""

    def __init__(
        self,
        pairs: TrainingPairs,
        start: Checkpoint,
        settings: TrainingSettings,
        *,
        cpu: bool = False,
        progress: Progress = no_progress,
    ) -> None:
        """Raises what `train` does for pairs, start, settings and machine that do not fit together."""
        for name, rows in (("training", pairs.train), ("dev", pairs.dev)):
            if not len(rows):
                raise TrainingError(f"{pairs.name} has no {name} pairs. Make pairs from more citing papers.")
        self.pairs, self.start, self.settings = pairs, start, settings
        self.accelerator = make_accelerator(settings, cpu=cpu)
        self.device: torch.device = self.accelerator.device
        self.plan = plan_run(pairs, settings, progress=progress)
        self.encoder: TrainedEncoder = load_trained(start, settings)
        config = self.encoder.bert.config
        self._pad = int(getattr(config, "pad_token_id", 0) or 0)
        self.tokens = PaperTokens(pairs.papers, start, form=self.encoder.form, vocabulary=int(config.vocab_size))
        # prepare() moves the encoder itself to the device. With several processes, `_model` is DDP around it.
        optimiser = torch.optim.Adam(self.encoder.parameters(), lr=0.0)
        self._model, self._optimiser = self.accelerator.prepare(self.encoder, optimiser)

    def step(self, number: int) -> StepRecord:
        """Update the weights by the gradient of the sum of the step's losses. number: 1 ≤ number ≤ total_steps.

        If loss or gradient are not finite, the weights stay as they are.
        """
        began = time.perf_counter()
        rate = learning_rate(number, self.settings, total_steps=self.plan.total_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        sums, norm = self._gradients(number)
        scaler = self.accelerator.scaler
        while scaler is not None and bool(sums.isfinite().all()) and not math.isfinite(norm) and scaler.get_scale() > 1:
            self._optimiser.step()  # float16 overflowed: the scaler skips the update and halves its scale
            self._optimiser.zero_grad()
            sums, norm = self._gradients(number)
        loss, active, self_negatives, tokens = sums.tolist()
        if math.isfinite(loss) and math.isfinite(norm):
            self._optimiser.step()
        self._optimiser.zero_grad()
        return StepRecord(
            step=number,
            epoch=self.plan.epochs_done(number),
            loss=loss / self.settings.batch,
            active=active / self.settings.batch,
            self_negatives=int(self_negatives),
            learning_rate=rate,
            gradient_norm=norm,
            tokens=int(tokens),
            seconds=time.perf_counter() - began,
        )

    @torch.no_grad()
    def validate(self, number: int, *, progress: Progress = no_progress) -> ValidationRecord:
        """Loss and accuracy on the dev set after `number` steps, without dropout. Changes nothing."""
        began = time.perf_counter()
        papers, rows = np.unique(self.pairs.dev, return_inverse=True)  # each paper is encoded once
        vectors = self._encode(papers, progress)
        triplets = torch.from_numpy(rows.reshape(-1, 3)).to(self.device)
        anchors, positives, negatives = (vectors[triplets[:, i]] for i in range(3))
        near = torch.nn.functional.pairwise_distance(anchors, positives)
        far = torch.nn.functional.pairwise_distance(anchors, negatives)
        mix = self.encoder.mix
        return ValidationRecord(
            step=number,
            dev_loss=float(self._losses(anchors, positives, negatives).double().mean()),
            dev_accuracy=float((near < far).double().mean()),
            spread=float(far.double().mean()),
            mix=() if mix is None else tuple(mix.weights.detach().cpu().tolist()),
            seconds=time.perf_counter() - began,
        )

    def save_state(self, path: Path, *, step: int) -> None:
        """Write all that `load_state` needs, atomically. Raises OSError."""
        from safetensors.torch import save_file

        adam = self._optimiser.state_dict()["state"]
        tensors = {f"model.{name}": value for name, value in self.encoder.state_dict().items()}
        tensors |= {f"adam.{what}.{i}": value for i, found in adam.items() for what, value in found.items()}
        scaler = self.accelerator.scaler
        state = {"step": step, "scaler": {} if scaler is None else scaler.state_dict()}
        with beside(path) as partial, tensor_disk_errors(path):
            tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
            save_file(tensors, partial, metadata={"state": json.dumps(state)})

    def load_state(self, path: Path) -> int:
        """Restore a state; the step that it was saved after. Raises TrainingError if it is damaged or does not fit."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            step = int(state["step"])
            adam: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith("adam."):
                    _, what, parameter = key.split(".")
                    adam.setdefault(int(parameter), {})[what] = value
            self.encoder.load_state_dict(
                {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
            )
            groups = self._optimiser.state_dict()["param_groups"]
            self._optimiser.load_state_dict({"state": adam, "param_groups": groups})
            if self.accelerator.scaler is not None and state["scaler"]:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                f"{path}: the run cannot resume from this state ({first_line(error)}). Train in another folder."
            ) from error
        return step

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set in any of the processes."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.device)).item())

    def _gradients(self, step: int) -> tuple[torch.Tensor, float]:
        """Accumulate the gradients of a step.

        Returns the sums over its triplets of loss, active triplets, self-negatives and word pieces, float32 (4,), and
        the gradient's norm before clipping.
        """
        self._model.train()
        accelerator, settings = self.accelerator, self.settings
        mine = self._places(step)
        # Anchors before positives in each micro-batch.
        pieces = self.tokens.of(self.pairs.train[self.plan.micro_batches[mine]].transpose(0, 2, 1).ravel())
        if step < self.plan.total_steps:
            self.tokens.prepare(self.pairs.train[self.plan.micro_batches[self._places(step + 1)]].ravel())
        texts = 2 * settings.micro_batch
        negatives = [
            draw_negatives(
                settings.negatives,
                rows=settings.micro_batch,
                random=np.random.default_rng(self._seed(_NEGATIVES, place)),
            )
            for place in mine
        ]
        sums = torch.zeros(4)
        sums[2] = sum(int((drawn == np.arange(settings.micro_batch)).sum()) for drawn in negatives)
        sums[3] = sum(map(len, pieces))
        sums = sums.to(self.device)
        with _memory_errors(), torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            for turn, (place, drawn) in enumerate(zip(mine, negatives, strict=True)):
                torch.manual_seed(int(self._seed(_DROPOUT, place).generate_state(1, np.uint64)[0]))
                # Several processes exchange their gradients once per step, with the last micro-batch.
                with contextlib.nullcontext() if place == mine[-1] else accelerator.no_sync(self._model):
                    vectors = self._vectors(self._model, pieces[turn * texts : (turn + 1) * texts])
                    anchors, positives = vectors.chunk(2)
                    losses = self._losses(anchors, positives, positives[torch.from_numpy(drawn).to(self.device)])
                    # DDP takes the mean over processes; the gradient is that of the sum.
                    accelerator.backward(losses.sum() * accelerator.num_processes)
                sums[:2] += torch.stack([losses.detach().sum(), (losses.detach() > 0).sum().float()])
            if settings.max_gradient_norm:
                norm = accelerator.clip_grad_norm_(self.encoder.parameters(), settings.max_gradient_norm)
            else:
                accelerator.unscale_gradients()
                norm = torch.nn.utils.get_total_norm([p.grad for p in self.encoder.parameters() if p.grad is not None])
        return accelerator.reduce(sums), float(norm)

    def _losses(self, anchors: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        """max(0, d(a, p) − d(a, n) + margin) of each triplet, d the L2 distance: three (n, d) → (n,)."""
        return torch.nn.functional.triplet_margin_loss(
            anchors, positives, negatives, margin=self.settings.margin, p=2.0, reduction="none"
        )

    def _places(self, step: int) -> range:
        """The micro-batches of a step that this process does."""
        return self.plan.places(step)[self.accelerator.process_index :: self.accelerator.num_processes]

    def _seed(self, kind: int, place: int) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.settings.seed, kind, place])

    def _vectors(self, model: Any, pieces: list[WordPieces]) -> torch.Tensor:
        ids, mask = padded(pieces, pad=self._pad)
        vectors: torch.Tensor = model(ids.to(self.device), mask.to(self.device))
        return vectors

    def _encode(self, papers: NDArray[np.int32], progress: Progress) -> torch.Tensor:
        """Vectors of papers: float32 (n, d), the same in every process, each of which encodes its share."""
        accelerator = self.accelerator
        if accelerator.num_processes > 1:
            progress = no_progress  # a process that is cancelled here would leave the others waiting
        progress(VALIDATING, 0, 0)  # the first time, all texts are tokenised
        pieces = self.tokens.of(papers)
        budget = _VALIDATION_TOKENS["cpu" if self.device.type == "cpu" else "cuda"]
        batches = list(token_budget_batches([len(piece) for piece in pieces], budget=budget))
        mine = batches[accelerator.process_index :: accelerator.num_processes]
        vectors = torch.zeros((len(papers), self.encoder.dimensions), device=self.device)
        self._model.eval()
        with _memory_errors():
            for done, batch in enumerate(mine):
                progress(VALIDATING, done, len(mine))
                found = self._vectors(self.encoder, [pieces[i] for i in batch])
                vectors[torch.from_numpy(batch).to(self.device)] = found.float()
        progress(VALIDATING, len(mine), len(mine))
        gathered: torch.Tensor = accelerator.reduce(vectors)
        return gathered


def learning_rate(step: int, settings: TrainingSettings, *, total_steps: int) -> float:
    """The learning rate of a step, 1 ≤ step ≤ total_steps: linear warm-up from 0, then linear decay to 0.

    It would be 0 before the first and after the last step, so that no step is wasted; step `warmup_steps` has the peak.

    >>> settings = TrainingSettings(learning_rate=1.0, warmup_steps=2)
    >>> [learning_rate(step, settings, total_steps=6) for step in range(1, 7)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    warmup = settings.warmup_steps
    if step <= warmup:
        return settings.learning_rate * step / warmup
    return settings.learning_rate * (total_steps - step + 1) / (total_steps - warmup)


def make_accelerator(settings: TrainingSettings, *, cpu: bool) -> "Accelerator":
    """accelerate's Accelerator: a GPU if there is one, else the CPU, with the processes that it was launched with.

    Raises TrainingError if the machine does not support the precision, or if a step's micro-batches cannot be shared
    out evenly among the processes.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

    # Told explicitly that it is on the CPU: else each of several processes believes that it is the only one.
    on_cpu = cpu or not torch.accelerator.is_available()
    precision = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[settings.precision]
    if AcceleratorState._shared_state:
        state = AcceleratorState()
        if state.mixed_precision != precision or (state.device.type == "cpu") != on_cpu:
            # accelerate keeps one state per process; an earlier run of this process wanted another.
            AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        mixed_precision=precision,
        cpu=on_cpu,
        # The plugin ignores the environment: steps are counted here.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1, sync_with_dataloader=False),
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    kind = accelerator.distributed_type.name
    if kind != "NO" and not kind.startswith("MULTI_"):
        raise TrainingError(
            f"This was launched for {kind}, but each process must hold the whole model. Launch it with --multi_gpu, or "
            "without accelerate."
        )
    if settings.precision == "float16" and accelerator.device.type == "cpu":
        raise TrainingError("precision is float16, which needs a GPU. Use bfloat16 or float32 on a CPU.")
    processes, micro_batches = accelerator.num_processes, settings.batch // settings.micro_batch
    if micro_batches % processes:
        fitting = settings.micro_batch * processes * max(1, round(micro_batches / processes))
        raise TrainingError(
            f"A step has {micro_batches} micro-batches (batch {settings.batch}, micro_batch {settings.micro_batch}), "
            f"which do not divide among {processes} processes. Set batch to {fitting}, or launch fewer processes."
        )
    return accelerator


def is_main() -> bool:
    """Whether this is the main process of those that a launcher started; known before there is an Accelerator."""
    return os.environ.get("RANK", "0") == "0"


def device_name(device: torch.device) -> str:
    """For people: "NVIDIA H200", "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    """Say what to change if the GPU runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"The GPU ran out of memory ({first_line(error)}). Turn on gradient_checkpointing, or use bfloat16, a "
            "smaller micro_batch or a smaller max_tokens."
        ) from error
