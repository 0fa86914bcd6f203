"""Text to hits: ours against a plain transformers loop with a brute-force argsort over the same vectors."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from plain import PlainEncoder
from report import Row, percentiles

from components.atlas.store import Atlas
from components.encoder.bi_encoder import BiEncoder
from components.search.search import search, text_query

K = 10
BATCH = 256
_SEED = 5


def measure(atlas: Atlas, encoder: BiEncoder, plain: PlainEncoder, *, quick: bool) -> list[Row]:
    """Single queries by real abstracts, both ways in turn; then the encoding of a batch."""
    rng = np.random.default_rng(_SEED)
    rows = rng.permutation(len(atlas))
    texts = [(atlas.paper(int(row)).title, atlas.paper(int(row)).abstract) for row in rows[: 8 if quick else 40]]
    vectors = np.ascontiguousarray(atlas.vectors)

    def ours(text: tuple[str, str]) -> None:
        search(atlas, text_query(encoder, *text), k=K)

    def peer(text: tuple[str, str]) -> None:
        query = plain.encode([f"{text[0]} {text[1]}"])[0]
        np.argsort(np.linalg.norm(vectors - query, axis=1))[:K]

    ours_s, peer_s = in_turns(texts, ours, peer)
    ours_50, ours_95 = percentiles(ours_s)
    peer_50, peer_95 = percentiles(peer_s)
    name = "transformers loop, numpy argsort"
    found = [
        Row("search", "text to 10 hits, median", "ms", ours_50, peer_50, name),
        Row("search", "text to 10 hits, 95th percentile", "ms", ours_95, peer_95, name),
    ]
    batch = [atlas.paper(int(row)) for row in rows[-(32 if quick else BATCH) :]]
    pairs = [(paper.title, paper.abstract) for paper in batch]
    joined = [f"{paper.title} {paper.abstract}" for paper in batch]
    took: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(1 if quick else 3):
        took["ours"].append(seconds(lambda: encoder.encode(pairs)))
        took["peer"].append(seconds(lambda: plain.encode(joined)))
    rate = {who: len(batch) / min(times) for who, times in took.items()}
    found.append(
        Row(
            "search", f"encoding {len(batch)} abstracts", "a second", rate["ours"], rate["peer"],
            "transformers loop, batches of 32", more_is_better=True,
        )
    )  # fmt: skip
    return found


def in_turns(
    inputs: Sequence[Any], ours: Callable[[Any], None], peer: Callable[[Any], None]
) -> tuple[list[float], list[float]]:
    """Seconds of both for each input, ours first every other time, after one round that is not counted."""
    ours(inputs[0])
    peer(inputs[0])
    took: tuple[list[float], list[float]] = ([], [])
    for number, each in enumerate(inputs):
        for which in (0, 1) if number % 2 else (1, 0):
            took[which].append(seconds(lambda each=each, which=which: (ours, peer)[which](each)))
    return took


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
