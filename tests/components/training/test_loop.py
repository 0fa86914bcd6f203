"""Runs: what they leave, that they resume exactly, that mistakes and divergence are explained, and that they learn."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.encoder.bi_encoder import load_encoder
from components.encoder.checkpoints import Checkpoint, find_checkpoint
from components.training import loop, run
from components.training.loop import Diverged, train
from components.training.run import CurveRecord, StepRecord, ValidationRecord, read_curves, read_run
from components.training.settings import TrainingError
from components.training.trainer import Trainer
from corpus.cocitations.pairs import TrainingPairs
from corpus.io.disk import CannotWrite
from corpus.paper import paper_at
from corpus.progress import Cancelled, Progress
from tests.components.training.training_toys import (
    TINY,
    files,
    run_script,
    same_run,
    toy_pairs,
    toy_start,
)

pytestmark = pytest.mark.usefixtures("one_thread")

DIVERGING = replace(TINY, learning_rate=1e3, warmup_steps=0, dev_every=2)


@pytest.fixture(scope="module")
def pairs() -> TrainingPairs:
    return toy_pairs()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return toy_start(tmp_path_factory.mktemp("toys") / "start")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pairs: TrainingPairs, start: Checkpoint) -> Path:
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(pairs, start, run=folder, settings=TINY, cpu=True)
    return folder


def cancel_after(calls: int) -> Progress:
    """A progress callback that cancels at its n-th call, be it between steps or in a validation."""
    count = itertools.count(1)

    def progress(stage: str, done: int, total: int) -> None:
        if stage in (loop.TRAINING, "Validating on the dev set") and next(count) > calls:
            raise Cancelled("Stopped.")

    return progress


@pytest.fixture
def stopped(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> Path:
    """The folder of a run that was stopped after some steps."""
    folder = tmp_path / "stopped"
    with pytest.raises(Cancelled, match=r"^Stopped after step \d of 10\. The same command continues from there\.$"):
        train(pairs, start, run=folder, settings=TINY, progress=cancel_after(6), cpu=True)
    return folder


def test_a_run_leaves_its_record_its_curves_and_the_best_encoder(
    pairs: TrainingPairs, start: Checkpoint, whole: Path
) -> None:
    summary = read_run(whole)
    record, curves, best = summary.record, summary.curves, summary.curves.best
    assert [step.step for step in curves.steps] == list(range(1, 11))
    assert [one.step for one in curves.validations] == [0, 4, 8, 10]
    assert best is not None and best.dev_loss == min(one.dev_loss for one in curves.validations)
    assert (record.status, record.total_steps, record.settings) == ("finished", 10, TINY)
    assert (record.pairs.provenance, record.pairs.fingerprint) == ({"of": "toys"}, pairs.fingerprint)
    assert record.start.fingerprint == start.fingerprint
    assert not (whole / run.STATE).exists()  # nothing resumes from it any more
    trainer = Trainer(pairs, start, TINY, cpu=True)
    for number in range(1, best.step + 1):
        trainer.step(number)
    trainer.encoder.eval()
    with torch.no_grad():
        expected = [trainer._vectors(trainer.encoder, [piece])[0].numpy() for piece in trainer.tokens.of(range(10))]
    texts = [(paper.title, paper.abstract) for paper in (paper_at(pairs.papers, row) for row in range(10))]
    assert np.allclose(load_encoder(str(whole / "checkpoint"), device="cpu").encode(texts), expected, atol=1e-5)


def test_callbacks_get_what_is_written_and_a_seed_repeats_its_run(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path
) -> None:
    seen: list[CurveRecord] = []
    stages: set[str] = set()
    folder = tmp_path / "run"
    train(
        pairs,
        start,
        run=folder,
        settings=TINY,
        on_record=seen.append,
        progress=lambda stage, *_: stages.add(stage),
        cpu=True,
    )
    curves = read_curves(folder)
    assert [one for one in seen if isinstance(one, StepRecord)] == curves.steps
    assert [one for one in seen if isinstance(one, ValidationRecord)] == curves.validations
    assert stages == {"Planning the batches", "Validating on the dev set", loop.TRAINING}
    same_run(folder, whole)


def test_a_finished_run_is_only_read(pairs: TrainingPairs, start: Checkpoint, whole: Path) -> None:
    before = {name: (whole / name).read_bytes() for name in files(whole)}
    (whole / run.STATE).write_text("left by a kill in the last moment")
    summary = train(pairs, start, run=whole, settings=TINY, on_record=pytest.fail, cpu=True)
    assert summary == read_run(whole)
    assert {name: (whole / name).read_bytes() for name in files(whole)} == before


# -- Stops -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [0, 1, 3, 9])
def test_a_stopped_run_resumes_exactly(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path, calls: int
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Cancelled):
        train(pairs, start, run=folder, settings=TINY, progress=cancel_after(calls), cpu=True)
    assert read_run(folder).record.status == "interrupted"
    with (folder / run.CURVES).open("a") as file:
        file.write('{"kind": "step", "step": ')  # as a kill tears a line
    train(pairs, start, run=folder, settings=TINY, cpu=True)
    same_run(folder, whole)


def test_a_run_that_is_stopped_again_and_again_comes_to_the_same_end(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path
) -> None:
    folder, sessions = tmp_path / "run", 1
    while True:
        try:
            train(pairs, start, run=folder, settings=TINY, progress=cancel_after(4), cpu=True)
            break
        except Cancelled:
            sessions += 1
    assert sessions > 3
    same_run(folder, whole)


FULL = """
import resource, signal, sys
from pathlib import Path
from components.encoder.checkpoints import find_checkpoint
from components.training.loop import train
from corpus.errors import CociteAtlasError
from tests.components.training.training_toys import TINY, toy_pairs
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def limit(record):
    if record.step == 5:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    train(toy_pairs(), find_checkpoint(sys.argv[1]), run=Path(sys.argv[2]), settings=TINY, on_record=limit, cpu=True)
except CociteAtlasError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 60_000])  # what cannot be written: the curves, the state
def test_a_full_disk_is_explained_and_the_run_can_resume(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, whole: Path, limit: int
) -> None:
    folder = tmp_path / "run"
    assert "File too large" in run_script(FULL, start.folder, folder, limit)
    load_encoder(str(folder / "checkpoint"), device="cpu")
    assert not list(folder.rglob("*.partial"))
    train(pairs, start, run=folder, settings=TINY, cpu=True)
    same_run(folder, whole)


# -- Refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 5}, "differs in seed (there 0, here 5)."),
        ({"learning_rate": 0.5, "warmup_steps": 1}, "learning_rate (there 0.001, here 0.5), warmup_steps (there 2, "),
    ],
)
def test_a_run_continues_with_its_own_settings_only(
    stopped: Path, pairs: TrainingPairs, start: Checkpoint, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        train(pairs, start, run=stopped, settings=replace(TINY, **change), cpu=True)
    assert message in str(caught.value)


def test_other_pairs_and_another_start_are_refused(stopped: Path, tmp_path: Path) -> None:
    other = toy_start(tmp_path / "other", layers=3)
    with pytest.raises(TrainingError, match=r"differs in the pairs \(there 'toy', here 'toy'\), the start \(there"):
        train(toy_pairs(seed=1), other, run=stopped, settings=TINY, cpu=True)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…")
    (tmp_path / "file").write_text("…")
    with pytest.raises(TrainingError, match="mine holds other files and no run"):
        train(pairs, start, run=tmp_path / "mine", settings=TINY, cpu=True)
    with pytest.raises(CannotWrite, match="File exists"):
        train(pairs, start, run=tmp_path / "file", settings=TINY, cpu=True)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "…"


def test_one_process_trains_in_a_folder(stopped: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    with run.locked(stopped), pytest.raises(TrainingError, match="another process is training here"):
        train(pairs, start, run=stopped, settings=TINY, cpu=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / run.STATE).write_bytes(b"\x00" * 100), "cannot resume from this state"),
        (lambda folder: (folder / run.STATE).write_bytes((folder / run.STATE).read_bytes()[:-99]), "cannot resume"),
        (lambda folder: (folder / "checkpoint").rename(folder / "elsewhere"), "the best encoder so far is missing"),
    ],
)
def test_a_damaged_run_is_refused(
    stopped: Path, pairs: TrainingPairs, start: Checkpoint, damage: Callable[[Path], object], message: str
) -> None:
    damage(stopped)
    with pytest.raises(TrainingError, match=message):
        train(pairs, start, run=stopped, settings=TINY, cpu=True)


def test_a_start_that_gives_every_paper_the_same_vector_is_refused(tmp_path: Path, pairs: TrainingPairs) -> None:
    import safetensors.torch

    weights = toy_start(tmp_path / "dull").weights
    zeros = {name: torch.zeros_like(value) for name, value in safetensors.torch.load_file(weights).items()}
    safetensors.torch.save_file(zeros, weights)
    with pytest.raises(TrainingError, match=r"^dull gives all papers of the dev set the same vector\."):
        train(pairs, find_checkpoint(str(tmp_path / "dull")), run=tmp_path / "run", settings=TINY, cpu=True)


def test_names_that_are_no_utf8_are_no_obstacle(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    odd = os.fsdecode(b"caf\xe9")  # a file's name may be any bytes
    settings = replace(TINY, max_steps=3)
    summary = train(
        replace(pairs, name=odd, provenance={"files": [odd]}), start, run=tmp_path / "run", settings=settings, cpu=True
    )
    assert (summary.record.pairs.name, summary.record.pairs.provenance) == ("caf?", {"files": ["caf?"]})


# -- Early ends --------------------------------------------------------------------------------------------------------


def test_a_run_without_a_better_validation_stops_early(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    # With next to no learning rate the dev loss stays the same.
    settings = replace(TINY, learning_rate=1e-30, dev_every=1, patience=3)
    summary = train(pairs, start, run=tmp_path / "run", settings=settings, cpu=True)
    assert (summary.record.status, len(summary.curves.steps)) == ("stopped early", 3)
    assert summary.curves.best is not None and summary.curves.best.step == 0


@pytest.mark.parametrize("rate", [1e3, 1e14])
def test_a_divergence_is_explained_and_the_best_encoder_kept(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, rate: float
) -> None:
    folder, settings = tmp_path / "run", replace(DIVERGING, learning_rate=rate)
    with pytest.raises(Diverged) as caught:
        train(pairs, start, run=folder, settings=settings, cpu=True)
    for part in ("the training diverged. A", "The best encoder is kept in", "a lower learning_rate", "max_gradient_"):
        assert part in str(caught.value)
    load_encoder(str(folder / "checkpoint"), device="cpu")
    record = read_run(folder).record
    assert record.status == "diverged" and record.reason in str(caught.value)
    assert not (folder / run.STATE).exists()
    with pytest.raises(Diverged) as again:
        train(pairs, start, run=folder, settings=settings, cpu=True)
    assert str(again.value) == str(caught.value)


@pytest.mark.parametrize(
    ("factor", "at", "message"),
    [
        (1e-6, 5, r"After 8 steps the vectors have collapsed"),
        (1e6, 5, r"At step 6 the loss is [\d,.]+\."),
        (1e4, 7, r"(After 8 steps the loss on the dev set is [\d,.]+; it was 1\.00\.|At step 8 the loss)"),
    ],
)
def test_vectors_that_collapse_or_explode_are_noticed(
    tmp_path: Path,
    pairs: TrainingPairs,
    start: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    at: int,
    message: str,
) -> None:
    class Damaged(Trainer):
        def step(self, number: int) -> StepRecord:
            record = super().step(number)
            if number == at:
                with torch.no_grad():
                    self.encoder.bert.encoder.layer[-1].output.LayerNorm.weight *= factor
            return record

    monkeypatch.setattr(loop, "Trainer", Damaged)
    with pytest.raises(Diverged, match=rf"the training diverged\. {message}.* The best encoder is kept in"):
        train(pairs, start, run=tmp_path / "run", settings=replace(TINY, pooling="cls"), cpu=True)
    best = read_run(tmp_path / "run").curves.best
    assert best is not None and best.step in (0, 4)


def test_a_collapse_below_the_first_loss_is_not_the_best(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Damaged(Trainer):
        def validate(self, number: int, **options: Any) -> ValidationRecord:
            record = super().validate(number, **options)
            if number == 0:  # worse than guessing
                return record.model_copy(update={"dev_loss": 3.0, "spread": 100.0})
            return record.model_copy(update={"dev_loss": 1.0, "spread": 1e-3})

    monkeypatch.setattr(loop, "Trainer", Damaged)
    with pytest.raises(Diverged, match="the vectors have collapsed"):
        train(pairs, start, run=tmp_path / "run", settings=TINY, cpu=True)
    assert [one.best for one in read_curves(tmp_path / "run").validations] == [True, False]
