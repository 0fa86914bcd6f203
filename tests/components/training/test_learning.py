"""Training by several processes, and on a planted corpus whose only signal is co-citation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.encoder.bi_encoder import load_encoder
from components.encoder.checkpoints import Checkpoint
from components.training.loop import train
from components.training.run import RunSummary, read_run
from components.training.settings import TrainingSettings
from corpus.paper import paper_at
from tests.components.training.training_toys import (
    TINY,
    Planted,
    files,
    planted,
    records,
    run_script,
    toy_pairs,
    toy_start,
)

pytestmark = pytest.mark.usefixtures("one_thread")

TOGETHER = """
import sys
from dataclasses import replace
from pathlib import Path
from components.encoder.checkpoints import find_checkpoint
from components.training.dry_run import dry_run
from components.training.loop import train
from components.training.settings import TrainingError
from tests.components.training.training_toys import TINY, toy_pairs
start, run = find_checkpoint(sys.argv[1]), Path(sys.argv[2])
settings = replace(TINY, batch=12, max_steps=6, warmup_steps=1, max_gradient_norm=50.0)
try:
    train(toy_pairs(), start, run=run, settings=replace(settings, batch=9), cpu=True)
except TrainingError as error:
    print(error)
dry_run(toy_pairs(), start, settings, out=run, cpu=True)
train(toy_pairs(), start, run=run, settings=settings, cpu=True)
"""


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    pairs, start = toy_pairs(), toy_start(tmp_path / "start")
    settings = replace(TINY, batch=12, max_steps=6, warmup_steps=1, max_gradient_norm=50.0)
    train(pairs, start, run=tmp_path / "one", settings=settings, cpu=True)
    refused = run_script(TOGETHER, start.folder, tmp_path / "two", processes=2)
    assert "(batch 9, micro_batch 3), which do not divide among 2 processes. Set batch to 12" in refused
    assert read_run(tmp_path / "two").record.processes == 2
    for ours, theirs in zip(records(tmp_path / "one"), records(tmp_path / "two"), strict=True):
        assert ours.pop("mix", ()) == pytest.approx(theirs.pop("mix", ()), rel=1e-4)
        assert ours.pop("kind") == theirs.pop("kind")
        assert ours == pytest.approx(theirs, rel=2e-4)
    assert files(tmp_path / "one") == files(tmp_path / "two")


# -- Learning ----------------------------------------------------------------------------------------------------------


def top_1(encoder: Any, corpus: Planted) -> float:
    """How often the nearest of one unseen paper per topic, in the other vocabulary, is of the query's topic."""
    papers = [paper_at(corpus.pairs.papers, row) for row in corpus.unseen.flat]
    vectors = encoder.encode([(paper.title, paper.abstract) for paper in papers]).reshape(*corpus.unseen.shape, -1)
    queries, candidates = vectors[:, :, 0], vectors[:, :, 1]
    distances = np.linalg.norm(queries[:, None] - candidates[None], axis=-1)  # (topics, topics, each)
    return float((distances.argmin(axis=1) == np.arange(len(vectors))[:, None]).mean())


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Planted, Checkpoint, dict[str, RunSummary]]:
    """A planted corpus, a random start, and a run with each kind of negatives."""
    folder, corpus = tmp_path_factory.mktemp("planted"), planted()
    start = toy_start(folder / "start", corpus.words, dropout=0.0)
    settings = TrainingSettings(micro_batch=2, batch=24, learning_rate=1e-3, warmup_steps=10, dev_every=20, epochs=2)
    runs = {
        kind: train(corpus.pairs, start, run=folder / kind, settings=replace(settings, negatives=kind), cpu=True)
        for kind in ("derangement", "permutation")
    }
    return corpus, start, runs


def test_cocitation_alone_is_learned_from_random_weights(
    learned: tuple[Planted, Checkpoint, dict[str, RunSummary]],
) -> None:
    corpus, start, runs = learned
    run, best = runs["derangement"], runs["derangement"].curves.best
    assert top_1(load_encoder(str(start.folder), device="cpu"), corpus) < 0.3
    assert top_1(load_encoder(str(run.folder / "checkpoint"), device="cpu"), corpus) > 0.9
    assert run.curves.validations[0].dev_loss == pytest.approx(1.0, abs=0.05)
    assert best is not None and best.dev_loss < 0.2


def test_a_derangement_learns_faster_than_a_permutation(
    learned: tuple[Planted, Checkpoint, dict[str, RunSummary]],
) -> None:
    deranged, permuted = (learned[2][kind].curves for kind in ("derangement", "permutation"))
    assert sum(step.self_negatives for step in deranged.steps) == 0
    # In micro-batches of two, every other triplet meets its own positive.
    assert 0.4 < sum(step.self_negatives for step in permuted.steps) / (24 * len(permuted.steps)) < 0.6
    for ours, theirs in list(zip(deranged.validations, permuted.validations, strict=True))[1:4]:
        assert ours.dev_loss < theirs.dev_loss
