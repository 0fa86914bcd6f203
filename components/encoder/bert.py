"""The forward pass of BERT without padding: texts lie end to end, only attention sees their bounds; the scalar mix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from components.encoder.catalogue import Pooling
from components.encoder.linear import GELU, Linear, linear
from components.encoder.weights import BertSettings, Weights


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


WordPieces = NDArray[np.int32]  # of one text
# oneDNN makes and keeps code for every number of rows that it meets: with any number of tokens a long encoding held
# a gigabyte of it. In multiples of this there are few, and 1.6 % more rows in a full batch.
_ROWS = 32
# Called twice a layer, so that what cannot wait gets the processor.
Pause = Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Where each of n texts lies among the tokens. starts: int32 (n + 1,) on the device, its last the end of all."""

    starts: torch.Tensor
    ranges: tuple[tuple[int, int], ...]
    longest: int


@dataclass(frozen=True, slots=True)
class _Layer:
    """One BERT layer.

    projections: (queries, keys and values in one), or, where only each text's first token has a query, (queries,
        keys and values).
    """

    projections: tuple[Linear, ...]
    output: Linear
    attention_norm: tuple[torch.Tensor, torch.Tensor]
    intermediate: Linear
    feed_forward: Linear
    output_norm: tuple[torch.Tensor, torch.Tensor]


class PackedBert:
    """A BERT for inference, in one precision, on one device. Nothing in it changes: safe to share between threads."""

    def __init__(self, weights: Weights, *, pooling: Pooling, device: torch.device, dtype: torch.dtype) -> None:
        """Raises ValueError where `can_pack` says no, and for a scalar mix that the weights do not have."""
        if not can_pack(weights.config):
            raise ValueError(f"the activation {weights.config.hidden_act!r:.40} is not one of {', '.join(GELU)}")
        if pooling == "scalar_mix" and weights.mix is None:
            raise ValueError("the weights hold no scalar mix")
        self._settings = weights.config
        self._pooling = pooling
        self._device = device
        self._dtype = dtype
        self.mix = ScalarMix(weights.mix).to(device) if pooling == "scalar_mix" and weights.mix is not None else None

        def tensor(name: str) -> torch.Tensor:
            # A copy, never a view of the file: files may change under a running app.
            return weights.tensors[name].detach().to(device=device, dtype=torch.float32, copy=True)

        self._words = tensor("embeddings.word_embeddings.weight")
        # One sequence a text: every segment id is 0.
        self._places = tensor("embeddings.position_embeddings.weight")
        self._places += tensor("embeddings.token_type_embeddings.weight")[0]
        self._norm = (tensor("embeddings.LayerNorm.weight"), tensor("embeddings.LayerNorm.bias"))
        self._layers = [
            self._layer(tensor, f"encoder.layer.{number}.", last=number == weights.config.layers - 1)
            for number in range(weights.config.layers)
        ]
        head = weights.config.hidden // weights.config.heads
        self._attend = _attend_varlen if _has_varlen(device, dtype, head=head) else _attend_each

    def _layer(self, tensor: Callable[[str], torch.Tensor], prefix: str, *, last: bool) -> _Layer:
        def named(*names: str) -> Linear:
            return linear(
                torch.cat([tensor(f"{prefix}{name}.weight") for name in names]).to(self._dtype),
                torch.cat([tensor(f"{prefix}{name}.bias") for name in names]).to(self._dtype),
            )

        def norm(name: str) -> tuple[torch.Tensor, torch.Tensor]:
            return tensor(f"{prefix}{name}.weight").to(self._dtype), tensor(f"{prefix}{name}.bias").to(self._dtype)

        query, key, value = (f"attention.self.{name}" for name in ("query", "key", "value"))
        firsts_alone = last and self._pooling != "mean"
        return _Layer(
            projections=(named(query), named(key, value)) if firsts_alone else (named(query, key, value),),
            output=named("attention.output.dense"),
            attention_norm=norm("attention.output.LayerNorm"),
            intermediate=named("intermediate.dense"),
            feed_forward=named("output.dense"),
            output_norm=norm("output.LayerNorm"),
        )

    @torch.inference_mode()
    def __call__(self, rows: Sequence[WordPieces], *, pause: Pause | None = None) -> torch.Tensor:
        """Word pieces of n texts, special ones included, each of 1 to `positions` → float32 (n, d), on the CPU.

        pause: called before each half of a layer; what it raises stops the work.
        """
        bounds = self._bounds(rows)
        firsts = bounds.starts[:-1].long()
        tokens = bounds.ranges[-1][1]
        spare = -tokens % (_ROWS if self._device.type == "cpu" else 1)  # rows that no text reads
        ids = torch.from_numpy(np.pad(np.concatenate(rows), (0, spare))).to(self._device)
        places = [torch.arange(stop - start) for start, stop in bounds.ranges]
        places_in_text = torch.cat([*places, torch.zeros(spare, dtype=torch.int64)]).to(self._device)
        x = functional.embedding(ids, self._words) + functional.embedding(places_in_text, self._places)
        x = functional.layer_norm(x, (self._settings.hidden,), *self._norm, self._settings.layer_norm_eps).to(
            self._dtype
        )
        states = [x[firsts].float()] if self.mix else []
        for layer in self._layers:
            x = self._fed_forward(layer, self._attended(layer, x, bounds, firsts, pause), pause)
            if self.mix:
                states.append((x if len(x) == len(firsts) else x[firsts]).float())
        if self.mix:
            pooled = self.mix(torch.stack(states))
        elif self._pooling == "mean":
            pooled = _means(x[:tokens].float(), bounds)
        else:
            pooled = x.float()
        found: torch.Tensor = pooled.cpu()
        return found

    def _bounds(self, rows: Sequence[WordPieces]) -> _Bounds:
        lengths = torch.tensor([0, *(len(row) for row in rows)])
        starts = torch.cumsum(lengths, dim=0)
        ends = starts.tolist()
        return _Bounds(
            starts=starts.to(device=self._device, dtype=torch.int32),
            ranges=tuple(pairwise(ends)),
            longest=max(len(row) for row in rows),
        )

    def _attended(
        self, layer: _Layer, x: torch.Tensor, bounds: _Bounds, firsts: torch.Tensor, pause: Pause | None
    ) -> torch.Tensor:
        """(tokens, d) → (tokens, d); of a layer with two projections (n, d): each text's first token alone."""
        if pause is not None:
            pause()
        hidden, heads = self._settings.hidden, self._settings.heads
        if len(layer.projections) == 1:
            query, key, value = layer.projections[0](x).view(len(x), 3, heads, -1).unbind(dim=1)
        else:
            key, value = layer.projections[1](x).view(len(x), 2, heads, -1).unbind(dim=1)
            x = x[firsts]
            query = layer.projections[0](x).view(len(x), heads, -1)
        attended = self._attend(query, key, value, bounds).reshape(len(x), hidden)
        added = layer.output.added_to(x, attended)
        return functional.layer_norm(added, (hidden,), *layer.attention_norm, self._settings.layer_norm_eps)

    def _fed_forward(self, layer: _Layer, x: torch.Tensor, pause: Pause | None) -> torch.Tensor:
        """(rows, d) → (rows, d), each row for itself."""
        if pause is not None:
            pause()
        inner = layer.intermediate.activated(x, self._settings.hidden_act)
        added = layer.feed_forward.added_to(x, inner)
        return functional.layer_norm(added, (self._settings.hidden,), *layer.output_norm, self._settings.layer_norm_eps)


def can_pack(config: BertSettings) -> bool:
    """Whether a BERT of these settings has a packed forward; transformers takes the others."""
    return config.hidden_act in GELU


def _attend_each(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: _Bounds) -> torch.Tensor:
    """Attention text by text. query: (tokens or n, heads, d/heads), keys and values of all tokens → like query."""
    one_each = len(query) == len(bounds.ranges) and len(query) != len(key)
    # Zeros, for the spare rows: what an empty tensor holds by chance may take the processor long to add up.
    attended = torch.zeros(query.shape, dtype=query.dtype, device=query.device)
    for number, (start, stop) in enumerate(bounds.ranges):
        rows = slice(number, number + 1) if one_each else slice(start, stop)
        # (1, heads, tokens, d/heads), as the operator wants them.
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (query[rows], key[start:stop], value[start:stop]))
        attended[rows] = functional.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1)
    return attended


def _attend_varlen(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: _Bounds) -> torch.Tensor:
    """The same in one kernel, on CUDA: flash attention over texts of various lengths."""
    from torch.nn.attention.varlen import varlen_attn

    starts, longest = bounds.starts, bounds.longest
    if len(query) == len(bounds.ranges) and len(query) != len(key):
        ones = torch.arange(len(query) + 1, device=query.device, dtype=torch.int32)
        attended = varlen_attn(query.contiguous(), key, value, ones, starts, 1, longest)
    else:
        attended = varlen_attn(query, key, value, starts, starts, longest, longest)
    assert isinstance(attended, torch.Tensor)  # a pair only where more than that is asked for
    return attended


def _has_varlen(device: torch.device, dtype: torch.dtype, *, head: int) -> bool:
    """Whether PyTorch has its flash attention over various lengths for heads of that width: tried, not assumed."""
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
