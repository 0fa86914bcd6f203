"""The loss: a triplet's anchor should be nearer to its positive than to its negative, by a margin."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False)
class TripletLosses:
    """Losses of n triplets, each 0 or more: float32 (n,). Their sum is what is made small."""

    each: torch.Tensor

    @property
    def sum(self) -> torch.Tensor:
        """A scalar, as the model card has it: not the mean."""
        return self.each.sum()

    @property
    def active(self) -> torch.Tensor:
        """How many are above 0, a scalar: the others pull at nothing."""
        return (self.each.detach() > 0).sum()


def triplet_losses(
    anchors: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, *, margin: float
) -> TripletLosses:
    """max(0, d(a, p) − d(a, n) + margin) of each of n triplets, d the L2 distance; three (n, d) → (n,).

    torch's own: it adds 1e-6 to every difference of coordinates, so that the distance of equal vectors has a gradient.
    """
    losses = torch.nn.functional.triplet_margin_loss(
        anchors, positives, negatives, margin=margin, p=2.0, reduction="none"
    )
    return TripletLosses(losses)
