"""How long an encoder takes on this machine, from a second's measurement, before it is fetched.

A BERT's layers do the same work whatever their weights say: one of random weights, of the encoder's own size and on
texts of the corpus's lengths, is timed and counted as often as the encoder has layers.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.encoder.weights import BertSettings, Weights

_LONGEST = 1.0  # seconds of measuring
_SEED = 2
_VOCAB = 128  # looking a word up costs nothing beside a layer


@dataclass(frozen=True, slots=True)
class Probe:
    """seconds_a_text: of encoding one text of the corpus, on average, in a long run. device: "cpu" or "cuda"."""

    seconds_a_text: float
    device: str
    precision: str


def probe(
    *,
    hidden: int,
    layers: int,
    heads: int,
    intermediate: int,
    lengths: Sequence[int],
    precision: Literal["float32", "bfloat16"],
    device: str | None = None,
) -> Probe:
    """Time one layer of a BERT of this size on texts of `lengths` word pieces (some, drawn from the corpus).

    Takes about a second on any machine. Raises ValueError where there are no lengths.
    """
    import torch

    from components.encoder.bert import PackedBert
    from components.encoder.bi_encoder import TOKEN_BUDGET

    if not lengths:
        raise ValueError("no lengths of texts to measure with")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rng = np.random.default_rng(_SEED)
    settings = BertSettings(
        hidden=hidden,
        layers=1,
        heads=heads,
        intermediate=intermediate,
        vocab=_VOCAB,
        positions=max(lengths),
        types=1,
        layer_norm_eps=1e-12,
        hidden_act="gelu",
        pad_id=0,
    )
    # Pooled by the mean, a last layer does all the work of the others.
    model = PackedBert(_random(settings), pooling="mean", device=where, dtype=getattr(torch, precision))
    budget = TOKEN_BUDGET["cpu" if where.type == "cpu" else "cuda"]
    batch: list[np.ndarray] = []
    while not batch or sum(len(row) for row in batch) < budget:
        length = int(rng.choice(lengths))
        batch.append(rng.integers(0, _VOCAB, size=length).astype(np.int32))
    model(batch)  # the first pass is slower than those of a long run
    took: list[float] = []
    start = time.perf_counter()
    while not took or time.perf_counter() - start < _LONGEST:
        before = time.perf_counter()
        model(batch)
        took.append(time.perf_counter() - before)
    # The best of them: what else runs at this moment is not what a build of an hour will meet. By token, for texts of
    # the corpus's mean length, whatever this batch happens to hold.
    a_token = min(took) / sum(len(row) for row in batch)
    return Probe(seconds_a_text=a_token * layers * float(np.mean(lengths)), device=where.type, precision=precision)


def _random(settings: BertSettings) -> Weights:
    import torch

    from components.encoder.weights import bert_shapes

    generator = torch.Generator().manual_seed(_SEED)
    tensors = {
        name: torch.randn(shape, generator=generator) * 0.02
        for name, shape in bert_shapes(settings, full=False).items()
    }
    return Weights(config=settings, tensors=tensors, mix=None)
