"""Training by several processes, and on a planted corpus whose only signal is co-citation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.encoder import Checkpoint, load_encoder
from components.training.loop import TrainingResult, train
from components.training.run_folder import read_run
from components.training.settings import TrainingSettings
from corpus.cocitations.pairs import TrainingPairs
from corpus.cocitations.pairs_folder import write_pairs
from corpus.paper import paper_at
from tests.components.training.training_toys import TINY, Watching, files, planted, told, toy_pairs, toy_start

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pairs() -> TrainingPairs:
    return toy_pairs()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return toy_start(tmp_path_factory.mktemp("toys") / "start")


# Several processes.

TOGETHER = """
from components.training.settings import TrainingSettings
settings = replace(TINY, **json.loads(sys.argv[3]))
try:
    train(toy_pairs(), find_checkpoint(sys.argv[1]), run=Path(sys.argv[2]), settings=settings, cpu=True)
except TrainingError as error:
    print("said:", error)
"""


def together(start: Checkpoint, run: Path, tmp_path: Path, change: dict[str, Any]) -> str:
    """Two processes of torch's own launcher, on the CPU, by gloo."""
    head = (
        "import json, sys\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from components.encoder import find_checkpoint\nfrom components.training.loop import train\n"
        "from components.training.settings import TrainingError\nfrom training_toys import TINY, toy_pairs\n"
    )
    return launched(head + TOGETHER, tmp_path, start.folder, run, json.dumps(change))


def launched(program: str, tmp_path: Path, *arguments: object) -> str:
    """What two processes of a program say on standard output."""
    (tmp_path / "together.py").write_text(program)
    places = os.pathsep.join([str(Path.cwd()), str(Path(__file__).parent)])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [sys.executable, *launcher, tmp_path / "together.py", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr[-3_000:]
    return ended.stdout


def test_two_processes_train_as_one_does(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    change = {"batch": 12, "max_steps": 6, "warmup_steps": 1, "max_gradient_norm": 50.0}
    train(pairs, start, run=tmp_path / "one", settings=replace(TINY, **change), cpu=True)
    together(start, tmp_path / "two", tmp_path, change)
    assert read_run(tmp_path / "two").processes == 2
    for ours, theirs in zip(told(tmp_path / "one"), told(tmp_path / "two"), strict=True):
        assert ours.pop("mix", ()) == pytest.approx(theirs.pop("mix", ()), rel=1e-4)
        assert ours == pytest.approx(theirs, rel=2e-4)
        assert ours.get("tokens") == theirs.get("tokens")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_micro_batches_that_do_not_divide_among_processes_are_refused(tmp_path: Path, start: Checkpoint) -> None:
    said = together(start, tmp_path / "run", tmp_path, {"batch": 9})
    # What two processes print may stand within each other.
    assert said.count("A step has 3 micro-batches (batch 9, micro_batch 3), which do not divide among 2") >= 1
    assert "Set batch to 12, or" in said


PLANNED = """
import os
import sys
from pathlib import Path
from components.encoder import find_checkpoint
from components.training.__main__ import main
from components.training.planning import forecast
from training_toys import TINY, toy_pairs

class Clock:
    now = 0.0
    def __call__(self):
        self.now += 40.0 * int(os.environ["RANK"])  # one process finds that it takes long, the other does not
        return self.now

start, pairs = sys.argv[1:]
told = forecast(toy_pairs(), find_checkpoint(start), TINY, out=Path(), cpu=True, clock=Clock())
(Path(pairs).parent / os.environ["RANK"]).write_text(str(told.steps))
few = ["--micro-batch=3", "--batch=6", "--warmup-steps=2", "--max-steps=4", "--cpu", "--dry-run"]
sys.exit(main(["train", f"--pairs={pairs}", f"--start={start}", *few]))
"""


def test_two_processes_plan_the_same_steps_and_one_speaks(tmp_path: Path, start: Checkpoint) -> None:
    write_pairs(tmp_path / "pairs", **apart(toy_pairs()))
    out = launched(PLANNED, tmp_path, start.folder, tmp_path / "pairs")
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() == "3"
    assert out.count("Nothing was written.") == 1


def apart(pairs: TrainingPairs) -> dict[str, Any]:
    """What `write_pairs` takes, of toy pairs none of which stands in two splits."""
    train = pairs.train[np.sort(np.unique(np.sort(pairs.train, axis=1), axis=0, return_index=True)[1])]
    known = {frozenset(pair) for pair in train.tolist()}
    dev = [row for row in pairs.dev.tolist() if not {frozenset(row[:2]), frozenset(row[::2])} & known]
    dev = [row for row in dev if frozenset(row[::2]) not in {frozenset(other[:2]) for other in dev}]
    return {"papers": pairs.papers, "train": train, "dev": np.array(dev, dtype=np.int32), "test": pairs.test}


# The planted corpus.


def top_1(encoder: Any, corpus: Any) -> float:
    """How often the nearest of one unseen paper a topic, each in its topic's other vocabulary, is of the own topic."""
    texts = [
        (paper.title, paper.abstract) for paper in (paper_at(corpus.pairs.papers, row) for row in corpus.unseen.flat)
    ]
    vectors = encoder.encode(texts).reshape(*corpus.unseen.shape, -1)
    queries, candidates = vectors[:, :, 0], vectors[:, :, 1]
    distances = np.linalg.norm(queries[:, None] - candidates[None], axis=-1)  # (topics, topics, each)
    return float((distances.argmin(axis=1) == np.arange(len(vectors))[:, None]).mean())


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A planted corpus, its random start, and what was learned of it with each kind of negatives."""
    folder = tmp_path_factory.mktemp("planted")
    corpus = planted()
    start = toy_start(folder / "start", corpus.words, dropout=0.0)
    asked = TrainingSettings(micro_batch=2, batch=24, learning_rate=1e-3, warmup_steps=10, dev_every=20, epochs=2)
    runs: dict[str, tuple[TrainingResult, Watching]] = {}
    for kind in ("derangement", "permutation"):
        watch = Watching()
        chosen = replace(asked, negatives=kind)
        runs[kind] = train(corpus.pairs, start, run=folder / kind, settings=chosen, watch=watch, cpu=True), watch
    return corpus, start, runs


def test_cocitation_alone_is_learned_from_random_weights(learned: Any) -> None:
    corpus, start, runs = learned
    result, watch = runs["derangement"]
    assert top_1(load_encoder(str(start.folder), device="cpu"), corpus) < 0.3
    assert top_1(load_encoder(str(result.checkpoint), device="cpu"), corpus) >= 0.9
    assert watch.looks[0].dev_loss == pytest.approx(1.0, abs=0.05)
    assert result.best_loss < 0.2


def test_shared_words_say_nothing_of_the_planted_corpus() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    corpus = planted()

    class Words:
        def encode(self, texts: list[tuple[str, str]]) -> np.ndarray:
            return TfidfVectorizer().fit_transform([" ".join(text) for text in texts]).toarray()

    # No word is shared with any candidate, so every distance is the same but for rounding.
    assert top_1(Words(), corpus) < 0.35


def test_a_derangement_learns_faster_than_the_authors_permutation(learned: Any) -> None:
    _, _, runs = learned
    deranged, permuted = (runs[kind][1] for kind in ("derangement", "permutation"))
    triplets = 24 * len(permuted.steps)
    assert sum(step.self_negatives for step in deranged.steps) == 0
    # In micro-batches of two, every other triplet meets its own positive.
    assert 0.4 < sum(step.self_negatives for step in permuted.steps) / triplets < 0.6
    for ours, theirs in list(zip(deranged.looks, permuted.looks, strict=True))[1:4]:
        assert ours.dev_loss < theirs.dev_loss
