"""Training: a model, its optimiser and its batches, one step or one look at a time. It writes nothing by itself."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from components.encoder.batching import token_budget_batches
from components.encoder.checkpoints import Checkpoint
from components.encoder.errors import first_line
from components.training.curves import LookRecord, StepRecord
from components.training.loss import TripletLosses, triplet_losses
from components.training.model import TrainedEncoder, load_trained
from components.training.negatives import draw_negatives
from components.training.plan import plan_run
from components.training.processes import accelerator_for, prepared_model
from components.training.schedule import learning_rate_at
from components.training.settings import TrainingError, TrainingSettings
from components.training.state import RunProgress, TrainingState, read_state, write_state
from components.training.tokens import PaperTokens, padded
from corpus.cocitations.pairs import TrainingPairs
from corpus.progress import Progress, no_progress

# Word pieces, with padding, that go through at once in a look, which keeps no gradients.
_LOOK_BUDGET = {"cpu": 2_048, "cuda": 65_536}
_READ_AT_ONCE = 512  # texts of the dev set that are made word pieces between two words of progress
# Distances below so much of the margin are those of equal vectors: torch adds 1e-6 a coordinate.
_SAME = 1e-4
# Vectors have collapsed where they lie so many times closer than at another look, and the loss is the margin again.
_COLLAPSED, _AT_MARGIN = 100.0, 0.99
_ADAM = ("step", "exp_avg", "exp_avg_sq")
_DEEPEST = 50  # layers of what pairs tell of themselves: a few are usual, and what writes them goes down in each
_NEGATIVES, _DROPOUT = 1, 2  # kinds of chance: each of its own stream of random numbers

Stop = Callable[[], bool]


class Stopped(Exception):
    """A step or a look was left in its middle, as was asked for; the weights are what they were before it."""


class Diverged(TrainingError):
    """Training that went wrong; it says how. record: of the step or the look at which it was seen, where that has none
    of its own: a loss or a norm in it is no number."""

    def __init__(self, reason: str, *, record: StepRecord | LookRecord | None = None) -> None:
        super().__init__(reason)
        self.record = record


def never() -> bool:
    """A stop that is not asked for."""
    return False


class Training:
    """A run in memory. Every random draw is a function of the seed, the step and the micro-batch, so that a step gives
    the same whatever was done before it, and by however many processes it is done."""

    def __init__(
        self,
        pairs: TrainingPairs,
        start: Checkpoint,
        settings: TrainingSettings,
        *,
        cpu: bool = False,
        told: Progress = no_progress,
    ) -> None:
        """cpu: leave a GPU alone. told: progress of what takes its time.

        Raises TrainingError where pairs, start, settings and machine do not go together, EncoderUnavailable where the
        start cannot be read.
        """
        self.pairs, self.settings, self.start = pairs, settings, start
        self._check_pairs()
        self.accelerator = accelerator_for(settings, cpu=cpu)
        self.device: torch.device = self.accelerator.device
        self.plan = plan_run(pairs, settings, told=told)
        self.total_steps = self.plan.total_steps
        encoder = load_trained(start, settings)
        if settings.gradient_checkpointing:
            encoder.bert.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        config = encoder.bert.config
        self._pad = int(getattr(config, "pad_token_id", 0) or 0)
        self.tokens = PaperTokens(pairs.papers, start, form=encoder.form, vocabulary=int(config.vocab_size))
        # The very module that learns, prepared in its place: with several processes `_model` is DDP around it.
        self.encoder: TrainedEncoder = encoder
        self._model, self._optimiser = prepared_model(self.accelerator, encoder)
        self._names = [name for name, _ in encoder.named_parameters()]
        self.progress = RunProgress()
        self._dev_papers, self._dev = np.unique(pairs.dev, return_inverse=True)
        self._dev = self._dev.reshape(pairs.dev.shape)

    def rows_of(self, step: int) -> NDArray[np.int32]:
        """The pairs of a step, from 1 on: int32 (micro-batches, micro_batch, 2), rows of papers."""
        found: NDArray[np.int32] = self.pairs.train[self.plan.micro_batches[self.plan.places(step)]]
        return found

    def step(self, number: int, *, stop: Stop = never) -> StepRecord:
        """Update the weights by the gradient of the sum of the step's losses. number: 1 ≤ number ≤ total_steps.

        stop: asked between micro-batches (of one process; several only stop between steps).
        Raises Stopped, and Diverged where a loss or the gradient is not finite; both leave the weights as they were.
        """
        began = time.perf_counter()
        rate = learning_rate_at(number, self.settings, total_steps=self.total_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        sums, norm = self._gradients(number, stop)
        scaler = self.accelerator.scaler
        while scaler is not None and bool(sums.isfinite().all()) and not math.isfinite(norm) and scaler.get_scale() > 1:
            # float16 ran over: the scaler skips the update and halves its scale, and the step is taken again.
            self._optimiser.step()
            self._optimiser.zero_grad()
            sums, norm = self._gradients(number, stop)
        loss, active, self_negatives, tokens = sums.tolist()
        triplets = self.settings.batch
        record = StepRecord(
            step=number,
            epoch=self.plan.epochs_done(number),
            loss=loss / triplets,
            active=active / triplets,
            self_negatives=int(self_negatives),
            learning_rate=rate,
            gradient_norm=norm,
            tokens=int(tokens),
            seconds=time.perf_counter() - began,
        )
        fine = math.isfinite(loss) and math.isfinite(norm)
        if fine:
            self._optimiser.step()
        self._optimiser.zero_grad()
        if not fine:
            what = "gradient" if math.isfinite(loss) else "loss"
            raise Diverged(f"At step {number:,} the {what} is not finite.", record=record)
        self.progress = replace(self.progress, step=number)
        return record

    def look(self, number: int, *, stop: Stop = never, told: Progress = no_progress) -> LookRecord:
        """The loss and the accuracy on the dev set after `number` steps, without dropout and gradients.

        Raises Stopped, and Diverged where the loss is not finite or every paper has the same vector.
        """
        began = time.perf_counter()
        vectors = self._dev_vectors(stop, told)
        anchors, positives, negatives = (vectors[torch.from_numpy(self._dev[:, i]).to(self.device)] for i in range(3))
        losses = triplet_losses(anchors, positives, negatives, margin=self.settings.margin).each
        near = torch.nn.functional.pairwise_distance(anchors, positives)
        far = torch.nn.functional.pairwise_distance(anchors, negatives)
        loss, accuracy = float(losses.double().mean()), float((near < far).double().mean())
        best = loss < self.progress.best_loss
        mix = self.encoder.mix
        record = LookRecord(
            step=number,
            dev_loss=loss,
            dev_accuracy=accuracy,
            best=best,
            mix=() if mix is None else tuple(mix.weights.detach().cpu().tolist()),
            seconds=time.perf_counter() - began,
        )
        if not math.isfinite(loss):
            raise Diverged(f"After {number:,} steps the loss on the dev set is not finite.", record=record)
        spread, margin = float(far.double().mean()), self.settings.margin
        if number == 0 and float(torch.maximum(near, far).max()) < _SAME * margin:
            raise TrainingError(
                f"{self.start.name} gives every paper of the dev set the same vector. Its words may not be theirs: "
                "start from another checkpoint."
            )
        if loss > _AT_MARGIN * margin and spread < self.progress.spread / _COLLAPSED:
            raise Diverged(
                f"After {number:,} steps all papers of the dev set have all but the same vector, so the loss is the "
                "margin.",
                record=replace(record, best=False),  # its weights are not kept, though a poor start may have more loss
            )
        first = loss if self.progress.looked < 0 else self.progress.first_loss
        self.progress = replace(
            self.progress,
            looked=number,
            best_step=number if best else self.progress.best_step,
            best_loss=loss if best else self.progress.best_loss,
            since_best=0 if best else self.progress.since_best + 1,
            first_loss=first,
            spread=max(spread, self.progress.spread),
        )
        return record

    def save_state(self, folder: Path) -> None:
        """Write all that `load_state` needs, all of it or nothing; by the main process alone. Raises OSError."""
        optimiser = self._optimiser.state_dict()["state"]
        scaler = self.accelerator.scaler
        write_state(
            folder,
            TrainingState(
                progress=self.progress,
                model=self.encoder.state_dict(),
                optimiser={
                    f"{what}.{name}": value
                    for number, name in enumerate(self._names)
                    for what, value in optimiser.get(number, {}).items()
                },
                scaler={} if scaler is None else scaler.state_dict(),
            ),
        )

    def load_state(self, folder: Path) -> None:
        """Go on from a state: the next step is as if nothing had been between. Raises TrainingError where it does not
        fit, and is then of no use any more."""
        state = read_state(folder)
        if max(state.progress.step, state.progress.looked, state.progress.best_step) > self.total_steps:
            raise TrainingError(
                f"{folder}: this state is of step {state.progress.step:,}, and the run has {self.total_steps:,}. Train "
                "in another folder."
            )
        optimiser: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in state.optimiser.items():
            what, _, name = key.partition(".")
            if name in self._names and what in _ADAM:
                optimiser.setdefault(self._names.index(name), {})[what] = value
        shapes = [parameter.shape for parameter in self.encoder.parameters()]
        try:
            for number, found in optimiser.items():
                if set(found) != set(_ADAM) or any(found[what].shape != shapes[number] for what in _ADAM[1:]):
                    raise ValueError(f"Adam's numbers of {self._names[number]} do not fit")
            self.encoder.load_state_dict(dict(state.model))
            groups = self._optimiser.state_dict()["param_groups"]
            self._optimiser.load_state_dict({"state": optimiser, "param_groups": groups})
            if self.accelerator.scaler is not None and state.scaler:
                self.accelerator.scaler.load_state_dict(dict(state.scaler))
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{folder}: this state is of another model ({first_line(error)}). Train in another folder."
            ) from error
        self.progress = state.progress

    def any_process(self, flag: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.device)).item())

    def _check_pairs(self) -> None:
        pairs = self.pairs
        for name, rows, width in (("train", pairs.train, 2), ("dev", pairs.dev, 3)):
            if not len(rows):
                raise TrainingError(f"{pairs.name}: there is no {name} pair. Make pairs of more citing papers.")
            if rows.ndim != 2 or rows.shape[1] != width or rows.min() < 0 or rows.max() >= pairs.papers.num_rows:
                raise TrainingError(f"{pairs.name}: its {name} pairs name papers that are not there. Make it again.")

        if _depth(pairs.provenance) > _DEEPEST:
            raise TrainingError(
                f"{pairs.name}: what it tells of how it was made lies in more than {_DEEPEST} layers. Make it again."
            )

    def _mine(self, step: int) -> range:
        """Those of them that this process does."""
        return self.plan.places(step)[self.accelerator.process_index :: self.accelerator.num_processes]

    def _gradients(self, step: int, stop: Stop) -> tuple[torch.Tensor, float]:
        """Fill in the gradients of a step. Returns the sums over its triplets of loss, active ones, self-negatives
        and word pieces, float32 (4,), and the gradient's norm before it was clipped."""
        self._model.train()
        accelerator, alone = self.accelerator, self.accelerator.num_processes == 1
        mine = self._mine(step)
        rows = self.pairs.train[self.plan.micro_batches[mine]]
        # Anchors before positives in each micro-batch.
        pieces = self.tokens.of(rows.transpose(0, 2, 1).ravel())
        if step < self.total_steps:
            self.tokens.prepare(self.pairs.train[self.plan.micro_batches[self._mine(step + 1)]].ravel())
        texts = 2 * self.settings.micro_batch
        sums = torch.zeros(4, device=self.device)
        # Counted here, not there: a number sent to a GPU makes the two wait for each other.
        sums[2:] = torch.tensor([self._self_negatives(mine), sum(len(piece) for piece in pieces)])
        with _memory_errors(), torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            for turn, place in enumerate(mine):
                if alone and stop():
                    self._optimiser.zero_grad()
                    raise Stopped
                found = pieces[turn * texts : (turn + 1) * texts]
                # What several processes have is put together once a step, with the last micro-batch.
                with contextlib.nullcontext() if place == mine[-1] else accelerator.no_sync(self._model):
                    losses = self._micro_batch(place, found)
                    # DDP takes the mean over the processes; the gradient is that of the sum.
                    accelerator.backward(losses.sum * accelerator.num_processes)
                sums[:2] += torch.stack([losses.sum.detach(), losses.active.float()])
            if self.settings.max_gradient_norm:
                norm = accelerator.clip_grad_norm_(self.encoder.parameters(), self.settings.max_gradient_norm)
            else:
                accelerator.unscale_gradients()
                found_gradients = [one.grad for one in self.encoder.parameters() if one.grad is not None]
                norm = torch.nn.utils.get_total_norm(found_gradients)
        return accelerator.reduce(sums), float(norm)

    def _micro_batch(self, place: int, pieces: list[NDArray[np.int32]]) -> TripletLosses:
        """The losses of a micro-batch."""
        torch.manual_seed(int(self._chance(_DROPOUT, place).generate_state(1, np.uint64)[0]))
        anchors, positives = self._vectors(self._model, pieces).chunk(2)
        negatives = positives[torch.from_numpy(self._negatives(place)).to(self.device)]
        return triplet_losses(anchors, positives, negatives, margin=self.settings.margin)

    def _negatives(self, place: int) -> NDArray[np.intp]:
        """The rows of a micro-batch whose positives are the negatives of each."""
        random = np.random.default_rng(self._chance(_NEGATIVES, place))
        return draw_negatives(self.settings.negatives, rows=self.settings.micro_batch, random=random)

    def _self_negatives(self, places: range) -> int:
        """How many rows of these micro-batches meet their own positive."""
        rows = np.arange(self.settings.micro_batch)
        return sum(int((self._negatives(place) == rows).sum()) for place in places)

    def _chance(self, kind: int, place: int) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.settings.seed, kind, place])

    def _vectors(self, model: Any, pieces: list[NDArray[np.int32]]) -> torch.Tensor:
        ids, mask = padded(pieces, pad=self._pad)
        vectors: torch.Tensor = model(ids.to(self.device), mask.to(self.device))
        return vectors

    @torch.no_grad()
    def _dev_vectors(self, stop: Stop, told: Progress) -> torch.Tensor:
        """The vectors of the papers of the dev set, each once: float32 (n, d), the same in every process."""
        papers, accelerator = self._dev_papers, self.accelerator
        for done in range(0, len(papers), _READ_AT_ONCE):
            told("Reading the dev set", done, len(papers))
            self.tokens.lengths(papers[done : done + _READ_AT_ONCE])
        budget = _LOOK_BUDGET["cpu" if self.device.type == "cpu" else "cuda"]
        batches = list(token_budget_batches(self.tokens.lengths(papers).tolist(), budget=budget))
        mine = batches[accelerator.process_index :: accelerator.num_processes]
        vectors = torch.zeros((len(papers), self.encoder.dimensions), device=self.device)
        self._model.eval()
        with _memory_errors():
            for done, batch in enumerate(mine):
                if accelerator.num_processes == 1 and stop():
                    raise Stopped
                told("Looking at the dev set", done, len(mine))
                found = self._vectors(self.encoder, self.tokens.of(papers[batch]))
                vectors[torch.from_numpy(batch).to(self.device)] = found.float()
        told("Looking at the dev set", len(mine), len(mine))
        gathered: torch.Tensor = accelerator.reduce(vectors)
        return gathered


def _depth(told: Any) -> int:
    """How deep JSON values lie within each other, however deep that is."""
    depth, layer = 0, [told]
    while layer := [one for one in layer if isinstance(one, dict | list)]:
        depth += 1
        layer = [inner for one in layer for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    """Say what to do where the GPU's memory is too small."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"The GPU's memory is too small ({first_line(error)}). Turn on gradient_checkpointing, take bfloat16, a "
            "smaller micro_batch or a smaller max_tokens."
        ) from error
