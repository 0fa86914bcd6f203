"""Measure how fast an encoder is on this machine before it is downloaded.

A BERT's layers take the same time whatever their weights: one layer of random weights, of the encoder's size and on
texts of the corpus's lengths, is timed and multiplied by the number of layers.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from components.encoder.base import Precision
from components.encoder.bert import PackedBert
from components.encoder.bi_encoder import TOKEN_BUDGET
from components.encoder.weights import BertConfig, Weights

_MEASURE_S = 1.0
_SEED = 2
_VOCAB = 128  # looking a word up takes no time


@dataclass(frozen=True, slots=True)
class Probe:
    """seconds_a_text: mean time of one text in a long run. device: "cpu" or "cuda"."""

    seconds_a_text: float
    device: str


def probe(
    *,
    hidden_size: int,
    layers: int,
    heads: int,
    intermediate_size: int,
    lengths: Sequence[int],
    precision: Precision,
    device: str | None = None,
) -> Probe:
    """Time one layer of a BERT of this size on texts of `lengths` word pieces. Takes about a second."""
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rng = np.random.default_rng(_SEED)
    config = BertConfig(
        hidden_size=hidden_size,
        num_hidden_layers=1,
        num_attention_heads=heads,
        intermediate_size=intermediate_size,
        vocab_size=_VOCAB,
        max_position_embeddings=max(lengths),
        type_vocab_size=1,
        layer_norm_eps=1e-12,
        pad_token_id=0,
    )
    generator = torch.Generator().manual_seed(_SEED)
    random = {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in config.shapes().items()}
    # With mean pooling the last layer computes as much as the others.
    model = PackedBert(Weights(config, random, None), pooling="mean", device=where, dtype=getattr(torch, precision))
    budget = TOKEN_BUDGET["cpu" if where.type == "cpu" else "cuda"]
    batch: list[np.ndarray] = []
    while not batch or sum(len(row) for row in batch) < budget:
        length = int(rng.choice(lengths))
        batch.append(rng.integers(0, _VOCAB, size=length).astype(np.int32))
    model(batch)  # the first pass is slower than those of a long run
    times: list[float] = []
    start = time.perf_counter()
    while not times or time.perf_counter() - start < _MEASURE_S:
        before = time.perf_counter()
        model(batch)
        times.append(time.perf_counter() - before)
    # The best: what else runs now will not slow down a build of an hour. Per token, for texts of the mean length.
    per_token = min(times) / sum(len(row) for row in batch)
    return Probe(seconds_a_text=per_token * layers * float(np.mean(lengths)), device=where.type)
