"""Training runs that are refused, that stop early, and that diverge."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.encoder import Checkpoint, load_encoder
from components.training import run_folder
from components.training.curves import CURVES, LookRecord, StepRecord, read_curves
from components.training.finishing import finish
from components.training.loop import train
from components.training.run_folder import read_run
from components.training.settings import TrainingError
from components.training.training import Diverged, Training
from corpus.cocitations.pairs import TrainingPairs
from tests.components.training.training_toys import TINY, Watching, script, toy_pairs, toy_start

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
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(pairs, start, run=run, settings=TINY, cpu=True)
    return run


@pytest.fixture
def stopped(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> Path:
    """The folder of a run that was stopped after three steps."""
    watch = Watching()
    run = tmp_path / "stopped"
    train(pairs, start, run=run, settings=TINY, watch=watch, stop=lambda: len(watch.steps) == 3, cpu=True)
    return run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 5}, "differs in seed (there 0, here 5)."),
        (
            {"learning_rate": 0.5, "negatives": "permutation"},
            "differs in learning_rate (there 0.001, here 0.5), negatives (there 'derangement', here 'permutation').",
        ),
    ],
)
def test_a_run_is_gone_on_with_by_its_own_settings_alone(
    stopped: Path, pairs: TrainingPairs, start: Checkpoint, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        train(pairs, start, run=stopped, settings=replace(TINY, **change), cpu=True)
    sentence = str(caught.value)
    # In the order of the settings, whichever that is.
    for part in said.removeprefix("differs in ").rstrip(".").split("), "):
        assert part.rstrip(")") in sentence
    assert sentence.startswith(f"{stopped}: the run that was begun there differs in ")


def test_other_pairs_and_another_start_are_refused(
    stopped: Path, tmp_path: Path, pairs: TrainingPairs, start: Checkpoint
) -> None:
    other = toy_start(tmp_path / "other", layers=3)
    with pytest.raises(TrainingError, match=r"differs in the pairs \(there 'toy', here 'toy'\), the start \(there"):
        train(toy_pairs(seed=1), other, run=stopped, settings=TINY, cpu=True)
    # A lie about them is found out by the weights.
    record = read_run(stopped)
    lie = replace(record, start={**record.start, "fingerprint": other.fingerprint})
    run_folder.write_run(stopped, lie)
    with pytest.raises(TrainingError, match=r"this state is of another model"):
        train(pairs, other, run=stopped, settings=TINY, cpu=True)


def test_a_folder_may_hold_one_run_and_nothing_else(
    stopped: Path, tmp_path: Path, pairs: TrainingPairs, start: Checkpoint
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…")
    (tmp_path / "file").write_text("…")
    for run, resume, said in (
        (tmp_path / "mine", "auto", "this folder holds files and no run"),
        (tmp_path / "file", "auto", "it could not be written there"),
        (tmp_path / "new", "only", "there is no run to go on with"),
        (stopped, "never", "a run is there already"),
    ):
        with pytest.raises(TrainingError, match=said):
            train(pairs, start, run=run, settings=TINY, resume=resume, cpu=True)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "…"


def test_one_process_a_run(stopped: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    body = "train(toy_pairs(), find_checkpoint(sys.argv[1]), run=Path(sys.argv[2]), settings=TINY, cpu=True)"
    with run_folder.locked(stopped):
        ended = script(body, start.folder, stopped)
    assert ended.stderr.strip().endswith("another process trains there. Wait for it, or name another folder.")


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: (state / "model.safetensors").write_bytes(b"\x00" * 100),
        lambda state: (state / "optimizer.safetensors").unlink(),
        lambda state: (state / "state.json").write_text("{"),
        lambda state: (state / "state.json").write_text("[" * 100_000),
        lambda state: (state / "state.json").write_text('{"format": 1, "progress": {"step": true}, "files": {}}'),
    ],
)
def test_a_damaged_state_is_refused(
    stopped: Path, pairs: TrainingPairs, start: Checkpoint, damage: Callable[[Path], object]
) -> None:
    state = run_folder.last_state(stopped)
    assert state is not None
    damage(state)
    with pytest.raises(TrainingError, match=r"state of a run cannot be read"):
        train(pairs, start, run=stopped, settings=TINY, cpu=True)


@pytest.mark.parametrize(
    "change", [{"status": "over"}, {"total_steps": "many"}, {"best_loss": True}, {"format": 9}, {"left_over": ["x"]}]
)
def test_a_record_that_no_run_wrote_is_refused(whole: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TrainingError, match=r"this is no record of a run"):
        read_run(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"nowhere: no run lies there"):
        read_run(tmp_path / "nowhere")


# Ends before the end.


def test_a_run_without_a_better_look_stops_early(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    # A rate of next to nothing: the dev loss stays what it is.
    asked = replace(TINY, learning_rate=1e-30, dev_every=1, patience=3)
    result = train(pairs, start, run=tmp_path / "run", settings=asked, cpu=True)
    assert (result.status, result.steps, result.best_step) == ("stopped early", 3, 0)
    assert train(pairs, start, run=tmp_path / "run", settings=asked, cpu=True).status == "stopped early"


def test_a_rate_that_diverges_is_explained_and_the_best_is_kept(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Diverged) as caught:
        train(pairs, start, run=run, settings=DIVERGING, cpu=True)
    said = str(caught.value)
    assert said.startswith("The training diverged. A")
    assert f"The best encoder is kept in {run / 'checkpoint'}: that of step" in said
    assert "Train again in another folder, with a lower learning_rate, 100 say (it was 1000) or max_gradient" in said
    load_encoder(str(run / "checkpoint"), device="cpu")
    record = read_run(run)
    assert record.status == "diverged"
    assert record.reason in said
    assert not (run / "state").exists()
    read_curves(run / CURVES)
    with pytest.raises(TrainingError, match=r"this run diverged\. A.* Train in another folder"):
        train(pairs, start, run=run, settings=DIVERGING, cpu=True)


def test_a_loss_that_is_no_number_is_in_the_curves(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    run = tmp_path / "run"
    with pytest.raises(Diverged, match=r"(is not finite|the same vector)"):
        train(pairs, start, run=run, settings=replace(DIVERGING, learning_rate=1e14, dev_every=100), cpu=True)
    last = read_curves(run / CURVES).steps[-1]
    assert np.isnan(last.loss) or np.isnan(last.gradient_norm)


@pytest.mark.parametrize(
    ("factor", "at", "said"),
    [
        (1e-6, 5, r"After 8 steps all papers of the dev set have all but the same vector, so the loss is the margin\."),
        (1e6, 5, r"At step 6 the loss is [\d,.]+\."),
        (
            1e4,
            7,
            r"(After 8 steps the loss on the dev set is [\d,.]+; it was 1\.00 before the first|At step 8 the loss)",
        ),
    ],
)
def test_vectors_that_collapse_or_explode_are_seen(
    tmp_path: Path,
    pairs: TrainingPairs,
    start: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    at: int,
    said: str,
) -> None:
    class Damaged(Training):
        """After a step, all vectors come together in one point, or fly apart."""

        def step(self, number: int, **asked: Any) -> StepRecord:
            record = super().step(number, **asked)
            if number == at:
                with torch.no_grad():
                    self.encoder.bert.encoder.layer[-1].output.LayerNorm.weight *= factor
            return record

    monkeypatch.setattr("components.training.loop.Training", Damaged)
    with pytest.raises(Diverged, match=rf"^The training diverged\. {said}.* The best encoder is kept in"):
        train(pairs, start, run=tmp_path / "run", settings=replace(TINY, pooling="cls"), cpu=True)
    assert read_run(tmp_path / "run").best_step in (0, 4)


def test_a_look_that_collapsed_is_not_said_to_be_kept(
    tmp_path: Path, pairs: TrainingPairs, start: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Damaged(Training):
        """The start is worse than guessing, and then all vectors come together: a lower loss, and no better model."""

        def look(self, number: int, **asked: Any) -> LookRecord:
            with torch.no_grad():
                self.encoder.bert.encoder.layer[-1].output.LayerNorm.weight *= 100.0 if number == 0 else 1e-6
            return super().look(number, **asked)

    monkeypatch.setattr("components.training.loop.Training", Damaged)
    run = tmp_path / "run"
    # Each dev triplet the wrong way round, or it might be a good start.
    wrong = replace(pairs, dev=hardest(pairs, start))
    with pytest.raises(Diverged, match="all but the same vector"):
        train(wrong, start, run=run, settings=replace(TINY, pooling="cls", learning_rate=1e-9), cpu=True)
    curves = read_curves(run / CURVES)
    assert [look.step for look in curves.looks] == [0, 4]
    assert curves.looks[1].dev_loss < curves.looks[0].dev_loss
    assert (best := curves.best()) is not None
    assert best.step == read_run(run).best_step == 0


def hardest(pairs: TrainingPairs, start: Checkpoint) -> np.ndarray:
    """Dev triplets of the pairs' papers whose negative is the nearer one by the start."""
    encoder = load_encoder(str(start.folder), device="cpu")
    papers = zip(pairs.papers["title"].to_pylist(), pairs.papers["abstract"].to_pylist(), strict=True)
    vectors = encoder.encode(list(papers))
    rows = pairs.dev.copy()
    near, far = (np.linalg.norm(vectors[rows[:, 0]] - vectors[rows[:, i]], axis=1) for i in (1, 2))
    rows[near < far] = rows[near < far][:, [0, 2, 1]]
    return rows


def test_a_norm_beyond_all_bounds_can_be_drawn(tmp_path: Path) -> None:
    step = StepRecord(
        step=1,
        epoch=0.1,
        loss=3e38,
        active=1.0,
        self_negatives=0,
        learning_rate=1.0,
        gradient_norm=1e30,
        tokens=9,
        seconds=1.0,
    )
    run_folder.append_curve(tmp_path, step)
    assert read_curves(tmp_path / CURVES).steps == (step,)


@pytest.mark.parametrize("change", [{"seed": 10**15}, {"learning_rate": 1e300}, {"margin": 1e16}, {"epochs": 10**16}])
def test_numbers_that_no_report_could_show_are_refused_before_the_training(change: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=rf"{next(iter(change))} is .* below 1e\+15\."):
        replace(TINY, **change)


def test_a_state_of_a_later_step_than_the_last_is_refused(
    stopped: Path, pairs: TrainingPairs, start: Checkpoint
) -> None:
    (record,) = (stopped / "state").glob("*/state.json")
    content = json.loads(record.read_text())
    content["progress"]["step"] = 500
    record.write_text(json.dumps(content))
    with pytest.raises(TrainingError, match=r"this state is of step 500, and the run has 10\. Train in another folder"):
        train(pairs, start, run=stopped, settings=TINY, cpu=True)


def test_a_run_whose_best_encoder_was_taken_away_is_not_gone_on_with(
    stopped: Path, pairs: TrainingPairs, start: Checkpoint
) -> None:
    (stopped / "checkpoint").rename(stopped / "elsewhere")
    with pytest.raises(TrainingError, match=r"the best encoder, that of step 0, is not there any more.*Put it back"):
        train(pairs, start, run=stopped, settings=TINY, cpu=True)
    (stopped / "elsewhere").rename(stopped / "checkpoint")
    assert train(pairs, start, run=stopped, settings=TINY, cpu=True).resumed_from == 3


def test_names_that_are_no_text_are_no_hindrance(tmp_path: Path, pairs: TrainingPairs, start: Checkpoint) -> None:
    """A file's name may be any bytes, which Python reads as halves of characters."""
    odd = os.fsdecode(b"caf\xe9")
    deep = json.loads("[" * 49 + "]" * 49)
    asked = replace(pairs, name=odd, provenance={"files": [odd], "deep": deep}, test=np.array([[0, 1]], dtype=np.int32))
    run, settings = tmp_path / "run", replace(TINY, max_steps=3, pooling="cls")
    train(asked, start, run=run, settings=settings, cpu=True)
    assert read_run(run).pairs["told"] == {"files": [odd], "deep": deep}
    finish(run, asked, start, settings, own=None, held_out=0)
