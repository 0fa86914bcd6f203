"""Linear layers for inference: oneDNN's with weights packed once, or PyTorch's own, with the same numbers.

oneDNN's are private operators of PyTorch (`torch.ops.mkldnn`, what torch.compile itself uses): they may be gone in
another version, so they are tried first on a small product, and left alone where they are missing or differ.
"""

from functools import cache
from typing import Protocol

import torch
from torch.nn import functional

# Names of activations in a BERT's configuration → what functional.gelu calls them. Others are left to transformers.
GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


class Linear(Protocol):
    """x @ weight.T + bias, with what comes after it: an activation, or the residual that it is added to."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, in) → (tokens, out)."""

    def activated(self, x: torch.Tensor, activation: str) -> torch.Tensor:
        """(tokens, in) → (tokens, out), through an activation of `GELU`."""

    def added_to(self, residual: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """(tokens, in) → (tokens, out), plus the residual (tokens, out)."""


class PlainLinear:
    """PyTorch's own, on any device."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, in) → (tokens, out)."""
        return functional.linear(x, self._weight, self._bias)

    def activated(self, x: torch.Tensor, activation: str) -> torch.Tensor:
        """(tokens, in) → (tokens, out), through an activation of `GELU`."""
        return functional.gelu(self(x), approximate=GELU[activation])

    def added_to(self, residual: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """(tokens, in) → (tokens, out), plus the residual (tokens, out)."""
        return self(x) + residual


class PackedLinear:
    """oneDNN's, on the CPU: the weight is laid out once for the multiplication, which has the rest fused into it."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, in) → (tokens, out)."""
        return _pointwise(x, self._weight, self._bias, "none", [], "")

    def activated(self, x: torch.Tensor, activation: str) -> torch.Tensor:
        """(tokens, in) → (tokens, out), through an activation of `GELU`."""
        return _pointwise(x, self._weight, self._bias, "gelu", [], GELU[activation])

    def added_to(self, residual: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """(tokens, in) → (tokens, out), plus the residual (tokens, out)."""
        added: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self._weight, self._bias, "add")
        return added


def linear(weight: torch.Tensor, bias: torch.Tensor) -> Linear:
    """The fastest linear layer for a weight (out, in) and a bias (out,) where they lie, in their own precision."""
    if weight.device.type == "cpu" and packing_works(weight.dtype):
        return PackedLinear(weight, bias)
    return PlainLinear(weight, bias)


@cache
def packing_works(dtype: torch.dtype) -> bool:
    """Whether oneDNN's operators are there, on this processor and in this PyTorch, and give PyTorch's numbers."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    x, weight, bias, residual = random(5, 64), random(32, 64), random(32), random(5, 32)
    plain = PlainLinear(weight, bias)
    tolerance = 1e-4 if dtype == torch.float32 else 0.25
    try:
        with torch.inference_mode():
            packed = PackedLinear(weight, bias)
            pairs = [(packed(x), plain(x)), (packed.added_to(residual, x), plain.added_to(residual, x))]
            pairs += [(packed.activated(x, name), plain.activated(x, name)) for name in GELU]
            return all(torch.allclose(a.float(), b.float(), atol=tolerance, rtol=0.02) for a, b in pairs)
    # A private operator that is gone or has changed raises one of these.
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False


def _pointwise(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, name: str, scalars: list[float], algorithm: str
) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, scalars, algorithm)
    return found
