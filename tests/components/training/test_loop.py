"""The training loop: what a run leaves, and that it goes on exactly after stops, kills and full disks."""

from __future__ import annotations

import functools
import signal
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from components.encoder import Checkpoint, load_encoder
from components.training import run_folder
from components.training.curves import CURVES, read_curves
from components.training.loop import train
from components.training.run_folder import read_run
from components.training.training import Training
from corpus.cocitations.pairs import TrainingPairs
from corpus.paper import paper_at
from tests.components.training.training_toys import TINY, Watching, files, same_run, script, toy_pairs, toy_start

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pairs() -> TrainingPairs:
    return toy_pairs()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return toy_start(tmp_path_factory.mktemp("toys") / "start")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pairs: TrainingPairs, start: Checkpoint) -> Path:
    """The folder of a run that was never stopped."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(pairs, start, run=run, settings=TINY, cpu=True)
    return run


def test_a_run_leaves_its_record_its_curves_and_the_best_encoder(
    pairs: TrainingPairs, start: Checkpoint, whole: Path
) -> None:
    record, curves = read_run(whole), read_curves(whole / CURVES)
    assert [step.step for step in curves.steps] == list(range(1, 11))
    assert [look.step for look in curves.looks] == [0, 4, 8, 10]
    best = curves.best()
    assert best is not None
    assert (record.best_step, record.best_loss) == (best.step, best.dev_loss)
    assert (record.status, record.steps, record.total_steps) == ("finished", 10, 10)
    assert record.settings == asdict(TINY)
    assert record.pairs["told"] == {"of": "toys"}
    assert record.pairs["fingerprint"] == pairs.fingerprint
    assert record.start["fingerprint"] == start.fingerprint
    assert set(record.versions) >= {"python", "torch", "transformers", "accelerate"}
    assert not (whole / "state").exists()  # nothing can take it up any more
    encoder = load_encoder(str(whole / "checkpoint"), device="cpu")
    training = Training(pairs, start, TINY, cpu=True)
    for number in range(1, best.step + 1):
        training.step(number)
    texts = [(paper.title, paper.abstract) for paper in (paper_at(pairs.papers, row) for row in range(10))]
    training.encoder.eval()
    with torch.no_grad():
        expected = [training._vectors(training.encoder, [piece])[0].numpy() for piece in training.tokens.of(range(10))]
    assert np.allclose(encoder.encode(texts), expected, atol=1e-5)


def test_the_watch_is_told_what_is_written(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path
) -> None:
    watch = Watching()
    result = train(pairs, start, run=tmp_path / "run", settings=TINY, watch=watch, cpu=True)
    curves = read_curves(tmp_path / "run" / CURVES)
    assert (tuple(watch.steps), tuple(watch.looks)) == (curves.steps, curves.looks)
    assert (result.status, result.steps, result.resumed_from) == ("finished", 10, None)
    assert result.checkpoint == tmp_path / "run" / "checkpoint"
    assert {stage for stage, _, _ in watch.stages} >= {"Planning the batches", "Looking at the dev set"}
    same_run(tmp_path / "run", whole)  # and the same seed gives the same run


def test_a_run_that_is_over_is_told_of_and_left_alone(pairs: TrainingPairs, start: Checkpoint, whole: Path) -> None:
    before = {name: (whole / name).read_bytes() for name in files(whole)}
    watch = Watching()
    result = train(pairs, start, run=whole, settings=TINY, watch=watch, cpu=True)
    assert (result.status, result.steps, result.best_step) == ("finished", 10, read_run(whole).best_step)
    assert not watch.steps
    assert {name: (whole / name).read_bytes() for name in files(whole)} == before
    (whole / "state" / "step-00000009-00000009").mkdir(parents=True)  # as a kill in the last moment leaves it
    train(pairs, start, run=whole, settings=TINY, cpu=True)
    assert not (whole / "state").exists()


# Stops and kills.


@pytest.mark.parametrize("asked", [0, 1, 2, 7, 12, 20, 25])
def test_a_stop_leaves_a_state_that_is_gone_on_from_exactly(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path, asked: int
) -> None:
    """asked: how often the run may ask whether to stop before it is told yes: amid steps, looks and between them."""
    count = iter(range(10**6))
    run = tmp_path / "run"
    result = train(pairs, start, run=run, settings=TINY, stop=lambda: next(count) >= asked, cpu=True)
    assert result.status == read_run(run).status == "interrupted"
    assert result.steps < 10
    assert len(list((run / "state").iterdir())) == 1
    sizes = {path.suffix for path in (run / "state").rglob("*") if path.is_file()}
    assert sizes == {".safetensors", ".json"}
    again = train(pairs, start, run=run, settings=TINY, cpu=True)
    assert (again.status, again.resumed_from) == ("finished", result.steps)
    same_run(run, whole)
    assert files(run) == files(whole)


def test_a_run_that_is_stopped_at_every_turn_comes_to_the_same_end(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path
) -> None:
    run, status, sittings = tmp_path / "run", "interrupted", 0
    while status == "interrupted":
        stop = functools.partial(lambda calls: next(calls) >= 5, iter(range(10**6)))
        status = train(pairs, start, run=run, settings=TINY, stop=stop, cpu=True).status
        sittings += 1
    assert sittings > 3
    same_run(run, whole)


KILLED = """
folder, run, at = sys.argv[1:]
class Watch(Watching):
    def step(self, record):
        if record.step == int(at):
            os.kill(os.getpid(), signal.SIGKILL)
train(toy_pairs(), find_checkpoint(folder), run=Path(run), settings=TINY, watch=Watch(), cpu=True)
"""


@pytest.mark.parametrize("at", [2, 5])
def test_after_a_kill_a_run_gives_the_same_curves_to_the_bit(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path, at: int
) -> None:
    run = tmp_path / "run"
    assert script(KILLED, start.folder, run, at).returncode == -signal.SIGKILL
    assert read_run(run).status == "running"
    assert len(read_curves(run / CURVES).steps) == at
    with (run / CURVES).open("a") as file:
        file.write('{"kind": "step", "step": ')  # as a kill tears a line
    (run / "state" / "step-00000009-00000009.partial").mkdir(parents=True)
    result = train(pairs, start, run=run, settings=TINY, cpu=True)
    assert (result.status, result.resumed_from) == ("finished", None if at < 3 else 3)
    same_run(run, whole)
    assert files(run) == files(whole)


def test_a_kill_while_a_state_is_written_leaves_the_one_before(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path
) -> None:
    body = (
        "from components.training import state\n"
        "kept = state.write_text\n"
        "def kill(path, text):\n"
        "    if '00000006' in str(path): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    kept(path, text)\n"
        "state.write_text = kill\n"
        "train(toy_pairs(), find_checkpoint(sys.argv[1]), run=Path(sys.argv[2]), settings=TINY, cpu=True)\n"
    )
    run = tmp_path / "run"
    assert script(body, start.folder, run).returncode == -signal.SIGKILL
    assert run_folder.last_state(run) == run / "state" / "step-00000003-00000001"
    assert train(pairs, start, run=run, settings=TINY, cpu=True).resumed_from == 3
    same_run(run, whole)


FULL = """
folder, run, limit = sys.argv[1:]
def end(*_):
    pass
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
class Watch(Watching):
    def step(self, record):
        if record.step == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
try:
    train(toy_pairs(), find_checkpoint(folder), run=Path(run), settings=TINY, watch=Watch(), cpu=True)
except TrainingError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 2_000, 60_000])
def test_a_full_disk_is_a_sentence_and_the_run_can_be_gone_on_with(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path, limit: int
) -> None:
    run = tmp_path / "run"
    ended = script(FULL, start.folder, run, limit)
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.strip()
    assert said.startswith(f"{run}: it could not be written there (")
    assert "The state after step 3 is whole: the same command goes on from there. The best encoder is kept in " in said
    assert "\n" not in said
    load_encoder(str(run / "checkpoint"), device="cpu")
    assert not list(run.rglob("*.partial"))
    assert train(pairs, start, run=run, settings=TINY, cpu=True).resumed_from == 3
    same_run(run, whole)
