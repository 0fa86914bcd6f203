"""What tests of building and growing share: watching progress and the encoder, numbered papers, checking rows."""

import numpy as np
import pytest

from components.atlas.store import Atlas, open_atlas
from components.encoder.base import Encoder
from components.encoder.bi_encoder import BiEncoder
from corpus.paper import Paper
from corpus.progress import Cancelled

WORDS = ("heart", "failure", "of", "galaxy", "star", "a")


class Watch:
    """Progress that remembers, and raises at one point if told to."""

    def __init__(self, *, stop_at: tuple[str, int] | None = None) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.stop_at = stop_at

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.calls.append((stage, done, total))
        if (stage, done) == self.stop_at:
            raise Cancelled("stopped by the test")

    def stages(self) -> list[str]:
        return list(dict.fromkeys(stage for stage, _, _ in self.calls))


def encoded_texts(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Every text that a BERT encodes from here on, as word pieces."""
    seen: list[np.ndarray] = []
    forward = BiEncoder._forward

    def watched(self: BiEncoder, rows: list[np.ndarray], pause: object) -> np.ndarray:
        seen.extend(rows)
        return forward(self, rows, pause)

    monkeypatch.setattr(BiEncoder, "_forward", watched)
    return seen


def numbered(number: int, **changed: object) -> Paper:
    """Paper `number` (below 216), whose text, PMID and DOI no other has."""
    words = [WORDS[number % 6], WORDS[number // 6 % 6], WORDS[number // 36 % 6]]
    fields = {
        "id": f"p{number}",
        "title": f"{' '.join(words)} {number}",
        "abstract": f"the {' and the '.join(reversed(words))}s",
        "authors": (f"Author{number}, A.",),
        "year": 1990 + number % 30,
        "pmid": str(1000 + number),
        "doi": f"10.1000/{number}",
        "topics": (words[0],),
    }
    return Paper(**{**fields, **changed})


def check_rows(name: str, encoder: Encoder, *, tolerance: float = 2e-5) -> Atlas:
    """The open atlas `name`, with row i checked to be paper i everywhere."""
    atlas = open_atlas(name)
    n = len(atlas)
    ids = atlas.papers["id"].to_pylist()
    assert len(ids) == len(set(ids)) == n
    papers = [atlas.paper(row) for row in range(n)]
    again = encoder.encode([(paper.title, paper.abstract) for paper in papers])
    assert np.abs(again - atlas.vectors).max() < tolerance
    if atlas.index.graph is not None:
        graph = atlas.index.graph._graph
        assert sorted(graph.get_ids_list()) == list(range(n))
        assert np.array_equal(np.array(graph.get_items(list(range(n)))), atlas.vectors)
    for row in range(n):
        nearest = atlas.index.search(atlas.vectors[row], k=1)
        assert np.array_equal(atlas.vectors[nearest.rows[0]], atlas.vectors[row])
    assert np.isfinite(atlas.coordinates).all()
    assert np.abs(atlas.coordinates).max() <= 1
    assert [region.id for region in atlas.manifest.regions] == list(range(len(atlas.manifest.regions)))
    for region in atlas.manifest.regions:
        assert region.size == (atlas.region_ids == region.id).sum() > 0
    return atlas
