"""ScalarMix: the learned mean over a BERT's layers that the `-full` checkpoints end in."""

import torch


class ScalarMix(torch.nn.Module):
    """The softmax-weighted sum of the hidden states' [CLS]: no bias, no scale (Mysore, Cohan, Hope, NAACL 2022).

    scalars: (layers + 1,), one for the embedding layer's output and one for each layer, before their softmax. They
    are a parameter, so that training can learn them; `weights` is what they come to.
    """

    def __init__(self, scalars: torch.Tensor) -> None:
        super().__init__()
        if scalars.ndim != 1 or len(scalars) < 2 or not torch.isfinite(scalars).all():
            raise ValueError(f"a scalar mix needs two finite scalars or more in a row, not {tuple(scalars.shape)}")
        self.scalars = torch.nn.Parameter(scalars.detach().clone().float())

    @classmethod
    def equal(cls, layers: int) -> "ScalarMix":
        """The mix before training: every hidden state of a BERT of so many layers weighs the same."""
        return cls(torch.zeros(layers + 1))

    @property
    def weights(self) -> torch.Tensor:
        """What each hidden state weighs: (layers + 1,), above 0, their sum 1."""
        return torch.softmax(self.scalars, dim=0)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(layers + 1, batch, d), the embedding layer's first → (batch, d)."""
        return torch.einsum("l,lbd->bd", self.weights.to(states.dtype), states)
