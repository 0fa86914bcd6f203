"""The plan of a run: which pairs each step takes, from the first to the last, settled before the first."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.training.batches import Cocited, Positions, plan_epoch
from components.training.schedule import check_schedule
from components.training.settings import TrainingError, TrainingSettings
from corpus.cocitations.pairs import TrainingPairs
from corpus.progress import Progress, no_progress


@dataclass(frozen=True, slots=True, eq=False)
class RunPlan:
    """All micro-batches of a run, one epoch behind the other; a step takes the next `each` of them.

    micro_batches: int32 (m, micro_batch), positions in the training pairs. ends: int64 (epochs,), how many
    micro-batches there are when each epoch is done. left_over: pairs that each epoch leaves out.
    """

    micro_batches: Positions
    ends: NDArray[np.int64]
    left_over: tuple[int, ...]
    each: int
    total_steps: int

    def places(self, step: int) -> range:
        """Which micro-batches a step takes, 1 ≤ step ≤ total_steps."""
        if not 1 <= step <= self.total_steps:
            raise ValueError(f"step {step} of {self.total_steps}")
        return range((step - 1) * self.each, step * self.each)

    def epochs_done(self, step: int) -> float:
        """How many epochs are done after a step."""
        done = self.places(step).stop
        epoch = int(np.searchsorted(self.ends, done, side="right"))
        if epoch == len(self.ends):
            return float(epoch)
        before = int(self.ends[epoch - 1]) if epoch else 0
        return epoch + (done - before) / (int(self.ends[epoch]) - before)


def plan_run(pairs: TrainingPairs, settings: TrainingSettings, *, told: Progress = no_progress) -> RunPlan:
    """The plan, a function of the pairs and of the settings. What is less than a step at the end is dropped.

    Raises TrainingError where it has not one step, or is over before its warm-up.
    """
    each = settings.batch // settings.micro_batch
    needed = settings.max_steps * each or math.inf
    cocited = Cocited(pairs.train)
    plans = []
    for epoch in range(settings.epochs):
        told("Planning the batches", epoch, settings.epochs)
        plans.append(
            plan_epoch(pairs.train, cocited, micro_batch=settings.micro_batch, seed=settings.seed, epoch=epoch)
        )
        needed -= len(plans[-1].micro_batches)
        if needed <= 0:
            break
    told("Planning the batches", settings.epochs, settings.epochs)
    micro_batches = np.concatenate([plan.micro_batches for plan in plans])
    steps = len(micro_batches) // each
    if not steps:
        raise TrainingError(
            f"{pairs.name}: its {len(pairs.train):,} training pairs make {len(micro_batches):,} micro-batches of "
            f"{settings.micro_batch}, in which no paper stands twice, and a step takes {each}. Take a smaller batch, "
            "more epochs or more pairs."
        )
    steps = min(steps, settings.max_steps) if settings.max_steps else steps
    check_schedule(settings, total_steps=steps)
    return RunPlan(
        micro_batches=micro_batches,
        ends=np.cumsum([len(plan.micro_batches) for plan in plans]),
        left_over=tuple(plan.left_over for plan in plans),
        each=each,
        total_steps=steps,
    )
