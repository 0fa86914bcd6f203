"""Curves: what a run writes down of every step and of every look at the dev set, a JSON object a line."""

from dataclasses import dataclass

CURVES = "curves.jsonl"  # in the run's folder


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One update of the weights.

    step: from 1 on. epoch: how many epochs are done after it, a fraction. loss: the mean over its triplets.
    active: the share of its triplets with a loss above 0. self_negatives: how many triplets had their own positive as
        the negative. learning_rate: that it was taken with. gradient_norm: before clipping.
    tokens: word pieces that were read, without padding. seconds: that it took.
    """

    step: int
    epoch: float
    loss: float
    active: float
    self_negatives: int
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRecord:
    """One look at the dev set. step: how many updates were done, 0 before the first.

    dev_loss: the mean over the dev triplets. dev_accuracy: the share of them whose positive is nearer.
    best: whether no look before it had as low a loss. mix: the scalar mix's weights, the embedding layer's first; empty
        without one. seconds: that it took.
    """

    step: int
    dev_loss: float
    dev_accuracy: float
    best: bool
    mix: tuple[float, ...]
    seconds: float
