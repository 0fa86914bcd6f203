"""Shared by tests of training: toy BERTs, pairs of toy papers, a planted corpus, and runs in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.training.run import Curves, StepRecord, ValidationRecord, read_curves, read_run
from components.training.settings import TrainingSettings
from corpus.cocitations.pairs import TrainingPairs
from corpus.paper import Paper, to_table

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = tuple(f"w{i}" for i in range(60))
TINY = TrainingSettings(
    micro_batch=3, batch=6, learning_rate=1e-3, warmup_steps=2, dev_every=4, save_every=3, max_steps=10
)


def toy_start(folder: Path, words: tuple[str, ...] = WORDS, *, layers: int = 2, dropout: float = 0.1) -> Checkpoint:
    """A random BERT of 32 dimensions that reads `words`, in a folder as transformers saves one."""
    import torch
    from transformers import BertConfig, BertModel

    with torch.random.fork_rng():
        torch.manual_seed(4)
        config = BertConfig(
            vocab_size=len(SPECIAL) + len(words),
            hidden_size=32,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=24,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n")
    return find_checkpoint(str(folder))


def toy_paper(number: int, words: list[str]) -> Paper:
    """A paper of these words, a third of them its title."""
    third = max(1, len(words) // 3)
    return Paper(id=str(number), title=" ".join(words[:third]), abstract=" ".join(words[third:]))


def toy_pairs(papers: int = 60, *, train: int = 200, dev: int = 20, seed: int = 0) -> TrainingPairs:
    """Pairs of papers of words at random, 4 to 18 a paper: there is nothing to learn."""
    random = np.random.default_rng(seed)
    made = [toy_paper(i, random.choice(WORDS, int(random.integers(4, 19))).tolist()) for i in range(papers)]
    rows = [random.permuted(np.tile(np.arange(papers), (count, 1)), axis=1) for count in (train, dev)]
    return TrainingPairs(
        name="toy",
        fingerprint=f"{seed:064x}",
        papers=to_table(made),
        train=rows[0][:, :2].astype(np.int32),
        dev=rows[1][:, :3].astype(np.int32),
        test=np.empty((0, 2), dtype=np.int32),
        provenance={"of": "toys"},
    )


@dataclass(frozen=True)
class Planted:
    """A planted corpus. unseen: rows of papers in no pair, (topics, each, 2): one in each vocabulary of the topic."""

    pairs: TrainingPairs
    words: tuple[str, ...]
    unseen: np.ndarray


def planted(*, topics: int = 10, pairs: int = 1_200, unseen: int = 8, seed: int = 0) -> Planted:
    """Topics of two vocabularies that share no word. A pair is of one topic, a paper in each of its vocabularies: only
    co-citation says that they belong together, and whatever counts shared words is at chance."""
    random = np.random.default_rng(seed)
    vocabulary = {(t, half): [f"t{t}{'ab'[half]}{i}" for i in range(6)] for t in range(topics) for half in (0, 1)}
    made: list[Paper] = []

    def paper(topic: int, half: int) -> int:
        made.append(toy_paper(len(made), random.choice(vocabulary[topic, half], 6).tolist()))
        return len(made) - 1

    def pair(topic: int) -> list[int]:
        # Either may be the anchor.
        found = [paper(topic, 0), paper(topic, 1)]
        return found if random.random() < 0.5 else found[::-1]

    train = [pair(int(random.integers(topics))) for _ in range(pairs)]
    dev = []
    for _ in range(60):
        topic, other = random.choice(topics, 2, replace=False).tolist()
        dev.append([*pair(topic), paper(other, int(random.integers(2)))])
    rows = [[[paper(t, 0), paper(t, 1)] for _ in range(unseen)] for t in range(topics)]
    return Planted(
        pairs=TrainingPairs(
            name="planted",
            fingerprint=f"{seed:064x}",
            papers=to_table(made),
            train=np.array(train, dtype=np.int32),
            dev=np.array(dev, dtype=np.int32),
            test=np.empty((0, 2), dtype=np.int32),
            provenance={},
        ),
        words=tuple(word for words in vocabulary.values() for word in words),
        unseen=np.array(rows),
    )


def planted_step(step: int, **changes: float) -> StepRecord:
    values = {"epoch": step / 100, "loss": 1 / step, "active": 0.5, "self_negatives": 0, "learning_rate": 1e-5}
    return StepRecord(**{"step": step, **values, "gradient_norm": 2.0, "tokens": 1_000, "seconds": 0.5} | changes)


def planted_validation(step: int, dev_loss: float, *, best: bool, mix: tuple[float, ...] = ()) -> ValidationRecord:
    return ValidationRecord(
        step=step, dev_loss=dev_loss, dev_accuracy=0.75, spread=2.0, best=best, mix=mix, seconds=1.0
    )


def planted_curves(steps: int = 100, *, mix: tuple[float, ...] = (0.25, 0.25, 0.5)) -> Curves:
    """A training loss of 1 / step; the dev loss falls to 0.3 at the half and rises then."""
    validations = [(0, 0.9, True), (steps // 2, 0.3, True), (steps, 0.4, False)]
    return Curves(
        [planted_step(step) for step in range(1, steps + 1)],
        [planted_validation(step, loss, best=best, mix=mix) for step, loss, best in validations],
    )


def records(run: Path) -> list[dict[str, Any]]:
    """The curves without their times."""
    curves = read_curves(run)
    return [record.model_dump(exclude={"seconds"}) for record in [*curves.steps, *curves.validations]]


def same_run(run: Path, other: Path) -> None:
    assert records(run) == records(other)
    for name in ("model.safetensors", "scalar_mix.safetensors"):
        assert (run / "checkpoint" / name).read_bytes() == (other / "checkpoint" / name).read_bytes()
    assert read_run(run).record == read_run(other).record
    assert files(run) == files(other)


def files(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()} - {".lock"}


def run_script(body: str, *arguments: object, processes: int = 1) -> str:
    """Run Python in one process, or in several under torch's launcher. Returns standard output."""
    root = Path(__file__).resolve().parents[3]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(body)
        done = subprocess.run(
            [sys.executable, *(launcher if processes > 1 else []), script, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout
