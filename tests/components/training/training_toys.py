"""What tests of training share: toy BERTs, pairs of toy papers, a planted corpus, and watches."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from components.encoder import Checkpoint, find_checkpoint
from components.training.curves import CURVES, LookRecord, StepRecord, read_curves
from components.training.run_folder import read_run
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


@dataclass
class Watching:
    """A watch that remembers."""

    steps: list[StepRecord] = field(default_factory=list)
    looks: list[LookRecord] = field(default_factory=list)
    stages: list[tuple[str, int, int]] = field(default_factory=list)

    def step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def look(self, record: LookRecord) -> None:
        self.looks.append(record)

    def told(self, stage: str, done: int, total: int) -> None:
        self.stages.append((stage, done, total))


@dataclass(frozen=True)
class Planted:
    """A planted corpus. unseen: rows of papers in no pair, (topics, each, 2): written in the first and in the second
    vocabulary of their topic."""

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


def told(run: Path) -> list[dict[str, Any]]:
    """The curves, without what the clock says."""
    curves = read_curves(run / CURVES)
    return [{**asdict(record), "seconds": 0} for record in (*curves.steps, *curves.looks)]


def same_run(run: Path, other: Path) -> None:
    assert told(run) == told(other)
    for name in ("model.safetensors", "scalar_mix.safetensors"):
        assert (run / "checkpoint" / name).read_bytes() == (other / "checkpoint" / name).read_bytes()
    ours, theirs = read_run(run), read_run(other)
    assert replace(ours, start={}) == replace(theirs, start={})


def files(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()} - {".lock"}


def script(body: str, *arguments: object, timeout: int = 240, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run lines of Python in a process of its own, one thread of torch's."""
    head = (
        "import json, os, resource, signal, sys\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "import torch\ntorch.set_num_threads(1)\nfrom components.encoder import find_checkpoint\n"
        "from components.training.loop import train\nfrom components.training.settings import TrainingError\n"
        "from training_toys import TINY, Watching, toy_pairs\n"
    )
    places = os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent)])
    return subprocess.run(
        [sys.executable, "-c", head + body, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
