"""The packed forward pass of BERT: texts concatenated without padding. Word pieces → pooled vectors.

Every linear layer sees one matrix (tokens, d) of all texts; only attention knows where a text begins and ends. Of the
last layer only what the pooling reads is computed: one row per text for [CLS] and the scalar mix.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from components.encoder.catalogue import Pooling
from components.encoder.weights import BertConfig, Weights

WordPieces = NDArray[np.int32]  # of one text
Pause = Callable[[], None]  # called twice per layer, so that waiting queries get the processor

# Activations in a BERT's configuration → `approximate` of functional.gelu. Others are left to transformers.
GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
# oneDNN compiles and keeps code for every number of rows: with any number of tokens a long encoding held a gigabyte of
# it. There are few multiples of this, and a full batch has 1.6 % more rows.
_ROW_MULTIPLE = 32


class ScalarMix(torch.nn.Module):
    """The softmax-weighted sum of the hidden states' [CLS]: no bias, no scale (Mysore, Cohan, Hope, NAACL 2022).

    scalars: (layers + 1,), a parameter, before the softmax; the first is of the embedding layer's output.
    """

    def __init__(self, scalars: torch.Tensor) -> None:
        super().__init__()
        if scalars.ndim != 1 or len(scalars) < 2 or not torch.isfinite(scalars).all():
            raise ValueError(f"a scalar mix needs two or more finite scalars, not shape {tuple(scalars.shape)}")
        self.scalars = torch.nn.Parameter(scalars.detach().clone().float())

    @classmethod
    def equal(cls, layers: int) -> "ScalarMix":
        """The mix before training: equal weights."""
        return cls(torch.zeros(layers + 1))

    @property
    def weights(self) -> torch.Tensor:
        """The weight of each hidden state: (layers + 1,), positive, of sum 1."""
        return torch.softmax(self.scalars, dim=0)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(layers + 1, batch, d), the embedding layer first → (batch, d)."""
        return torch.einsum("l,lbd->bd", self.weights.to(states.dtype), states)


class Linear:
    """x @ weight.T + bias, with a following activation or residual. weight: (out, in). bias: (out,).

    packed: oneDNN's layer, on the CPU: the weight is reordered once, and what follows is fused. It is a private
    operator of PyTorch (torch.compile uses it) that another version may lack or change: see `packing_works`.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, packed: bool) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach()) if packed else weight
        self._bias = bias
        self._packed = packed

    def __call__(self, x: torch.Tensor, *, activation: str = "") -> torch.Tensor:
        """(tokens, in) → (tokens, out). activation: "", or one of `GELU`."""
        y: torch.Tensor
        if self._packed:
            name, algorithm = ("gelu", GELU[activation]) if activation else ("none", "")
            y = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, name, [], algorithm)
            return y
        y = functional.linear(x, self._weight, self._bias)
        return functional.gelu(y, approximate=GELU[activation]) if activation else y

    def added_to(self, residual: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """(tokens, in) → (tokens, out), plus the residual (tokens, out)."""
        if not self._packed:
            return self(x) + residual
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self._weight, self._bias, "add")
        return y


def linear(weight: torch.Tensor, bias: torch.Tensor) -> Linear:
    """The fastest linear layer on the weight's device and in its precision."""
    return Linear(weight, bias, packed=weight.device.type == "cpu" and packing_works(weight.dtype))


@cache
def packing_works(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has oneDNN's operators for this processor, and they give PyTorch's numbers."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    x, weight, bias, residual = random(5, 64), random(32, 64), random(32), random(5, 32)
    plain = Linear(weight, bias, packed=False)
    tolerance = 1e-4 if dtype == torch.float32 else 0.25
    try:
        with torch.inference_mode():
            packed = Linear(weight, bias, packed=True)
            pairs = [(packed(x), plain(x)), (packed.added_to(residual, x), plain.added_to(residual, x))]
            pairs += [(packed(x, activation=name), plain(x, activation=name)) for name in GELU]
            return all(torch.allclose(a.float(), b.float(), atol=tolerance, rtol=0.02) for a, b in pairs)
    # What a private operator that is gone or has changed raises.
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Where each of n texts lies among the tokens. starts: int32 (n + 1,) on the device; the last is the end of all."""

    starts: torch.Tensor
    ranges: tuple[tuple[int, int], ...]
    longest: int


@dataclass(frozen=True, slots=True)
class _Layer:
    """One BERT layer.

    projections: (queries, keys and values in one), or, where only each text's first token needs an output, (queries,
        keys and values).
    """

    projections: tuple[Linear, ...]
    output: Linear
    attention_norm: tuple[torch.Tensor, torch.Tensor]
    intermediate: Linear
    feed_forward: Linear
    output_norm: tuple[torch.Tensor, torch.Tensor]


class PackedBert:
    """A BERT for inference, in one precision, on one device. Immutable, so safe to share between threads."""

    def __init__(self, weights: Weights, *, pooling: Pooling, device: torch.device, dtype: torch.dtype) -> None:
        """Raises ValueError where `can_pack` is false, and for a scalar mix that the weights do not have."""
        if not can_pack(weights.config):
            raise ValueError(f"the activation {weights.config.hidden_act!r:.40} is not one of {', '.join(GELU)}")
        if pooling == "scalar_mix" and weights.mix is None:
            raise ValueError("the weights hold no scalar mix")
        self._config = weights.config
        self._pooling = pooling
        self._device = device
        self._dtype = dtype
        self.mix = ScalarMix(weights.mix).to(device) if pooling == "scalar_mix" and weights.mix is not None else None

        def tensor(name: str) -> torch.Tensor:
            # A copy, never a view of the file, which may change under a running app.
            return weights.tensors[name].detach().to(device=device, dtype=torch.float32, copy=True)

        self._words = tensor("embeddings.word_embeddings.weight")
        self._positions = tensor("embeddings.position_embeddings.weight")
        self._positions += tensor("embeddings.token_type_embeddings.weight")[0]  # a text is one segment
        self._norm = (tensor("embeddings.LayerNorm.weight"), tensor("embeddings.LayerNorm.bias"))
        layers = weights.config.num_hidden_layers
        self._layers = [
            self._layer(tensor, f"encoder.layer.{number}.", last=number == layers - 1) for number in range(layers)
        ]
        head = weights.config.hidden_size // weights.config.num_attention_heads
        self._attend = _attend_varlen if _has_varlen(device, dtype, head=head) else _attend_each

    def _layer(self, tensor: Callable[[str], torch.Tensor], prefix: str, *, last: bool) -> _Layer:
        def joined(*names: str) -> Linear:
            return linear(
                torch.cat([tensor(f"{prefix}{name}.weight") for name in names]).to(self._dtype),
                torch.cat([tensor(f"{prefix}{name}.bias") for name in names]).to(self._dtype),
            )

        def norm(name: str) -> tuple[torch.Tensor, torch.Tensor]:
            return tensor(f"{prefix}{name}.weight").to(self._dtype), tensor(f"{prefix}{name}.bias").to(self._dtype)

        query, key, value = (f"attention.self.{name}" for name in ("query", "key", "value"))
        first_tokens_only = last and self._pooling != "mean"
        return _Layer(
            projections=(joined(query), joined(key, value)) if first_tokens_only else (joined(query, key, value),),
            output=joined("attention.output.dense"),
            attention_norm=norm("attention.output.LayerNorm"),
            intermediate=joined("intermediate.dense"),
            feed_forward=joined("output.dense"),
            output_norm=norm("output.LayerNorm"),
        )

    @torch.inference_mode()
    def __call__(self, rows: Sequence[WordPieces], *, pause: Pause | None = None) -> torch.Tensor:
        """Word pieces of n texts, special ones included, 1 to `max_position_embeddings` each → float32 (n, d), CPU.

        pause: called before each half of a layer; may raise to stop the work.
        """
        ends = [0, *np.cumsum([len(row) for row in rows]).tolist()]
        bounds = _Bounds(
            starts=torch.tensor(ends, dtype=torch.int32, device=self._device),
            ranges=tuple(pairwise(ends)),
            longest=max(len(row) for row in rows),
        )
        firsts = bounds.starts[:-1].long()
        tokens = ends[-1]
        spare = -tokens % (_ROW_MULTIPLE if self._device.type == "cpu" else 1)  # rows that no text reads
        ids = torch.from_numpy(np.pad(np.concatenate(rows), (0, spare))).to(self._device)
        positions = torch.cat(
            [*(torch.arange(stop - start) for start, stop in bounds.ranges), torch.zeros(spare, dtype=torch.int64)]
        ).to(self._device)
        x = functional.embedding(ids, self._words) + functional.embedding(positions, self._positions)
        x = self._normalised(x, self._norm).to(self._dtype)
        states = [x[firsts].float()] if self.mix else []
        for layer in self._layers:
            if pause is not None:
                pause()
            x = self._attention(layer, x, bounds, firsts)
            if pause is not None:
                pause()
            inner = layer.intermediate(x, activation=self._config.hidden_act)
            x = self._normalised(layer.feed_forward.added_to(x, inner), layer.output_norm)
            if self.mix:
                states.append((x if len(x) == len(firsts) else x[firsts]).float())
        if self.mix:
            pooled = self.mix(torch.stack(states))
        elif self._pooling == "mean":
            pooled = _means(x[:tokens].float(), bounds)
        else:
            pooled = x.float()
        vectors: torch.Tensor = pooled.cpu()
        return vectors

    def _normalised(self, x: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return functional.layer_norm(x, (self._config.hidden_size,), *norm, self._config.layer_norm_eps)

    def _attention(self, layer: _Layer, x: torch.Tensor, bounds: _Bounds, firsts: torch.Tensor) -> torch.Tensor:
        """(tokens, d) → (tokens, d); of a layer with two projections (n, d), only for each text's first token."""
        heads = self._config.num_attention_heads
        if len(layer.projections) == 1:
            query, key, value = layer.projections[0](x).view(len(x), 3, heads, -1).unbind(dim=1)
        else:
            key, value = layer.projections[1](x).view(len(x), 2, heads, -1).unbind(dim=1)
            x = x[firsts]
            query = layer.projections[0](x).view(len(x), heads, -1)
        attended = self._attend(query, key, value, bounds).reshape(len(x), self._config.hidden_size)
        return self._normalised(layer.output.added_to(x, attended), layer.attention_norm)


def can_pack(config: BertConfig) -> bool:
    """Whether the packed forward pass supports a BERT; transformers runs the others."""
    return config.hidden_act in GELU


def _attend_each(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: _Bounds) -> torch.Tensor:
    """Attention text by text. query: (tokens or n, heads, d/heads), keys and values of all tokens → like query."""
    one_each = len(query) == len(bounds.ranges) and len(query) != len(key)
    # Zeros, for the spare rows: an empty tensor may hold denormal numbers, which are slow to add.
    attended = torch.zeros(query.shape, dtype=query.dtype, device=query.device)
    for number, (start, stop) in enumerate(bounds.ranges):
        rows = slice(number, number + 1) if one_each else slice(start, stop)
        # (1, heads, tokens, d/heads), as the operator expects.
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (query[rows], key[start:stop], value[start:stop]))
        attended[rows] = functional.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1)
    return attended


def _attend_varlen(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: _Bounds) -> torch.Tensor:
    """The same in one CUDA kernel: flash attention over texts of different lengths."""
    from torch.nn.attention.varlen import varlen_attn

    starts, longest = bounds.starts, bounds.longest
    if len(query) == len(bounds.ranges) and len(query) != len(key):
        ones = torch.arange(len(query) + 1, device=query.device, dtype=torch.int32)
        attended = varlen_attn(query.contiguous(), key, value, ones, starts, 1, longest)
    else:
        attended = varlen_attn(query, key, value, starts, starts, longest, longest)
    assert isinstance(attended, torch.Tensor)  # a pair only where more is requested
    return attended


def _has_varlen(device: torch.device, dtype: torch.dtype, *, head: int) -> bool:
    """Whether PyTorch's flash attention works here for heads of that width, tested on an example."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    bounds = _Bounds(torch.tensor([0, 2, 5], device=device, dtype=torch.int32), ((0, 2), (2, 5)), 3)
    x = torch.randn(5, 2, head, device=device, dtype=dtype)
    try:
        return torch.allclose(_attend_varlen(x, x, x, bounds), _attend_each(x, x, x, bounds), atol=0.05)
    except (ImportError, RuntimeError, TypeError, NotImplementedError):
        return False


def _means(x: torch.Tensor, bounds: _Bounds) -> torch.Tensor:
    """(tokens, d) → (n, d): the mean over each text's tokens."""
    lengths = (bounds.starts[1:] - bounds.starts[:-1]).long()
    texts = torch.repeat_interleave(torch.arange(len(lengths), device=x.device), lengths)
    sums = torch.zeros((len(lengths), x.shape[1]), dtype=x.dtype, device=x.device).index_add_(0, texts, x)
    return sums / lengths.unsqueeze(1)
