"""Run folders: what is written is read back; torn, damaged and foreign files; the live display and the dry run."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from components.training.dry_run import DryRun, dry_run
from components.training.live import LiveCurves, draw_bars
from components.training.run import (
    CURVES,
    RECORD,
    CurveRecord,
    PairsRecord,
    RunRecord,
    StartRecord,
    append_record,
    cut_curves,
    read_curves,
    read_run,
    write_model,
)
from components.training.settings import TrainingError, TrainingSettings
from tests.components.training.training_toys import (
    TINY,
    planted_curves,
    planted_step,
    planted_validation,
    toy_pairs,
    toy_start,
)

RUN = RunRecord(
    status="finished",
    settings=TrainingSettings(seed=5),
    pairs=PairsRecord(name="pairs", fingerprint="ab", papers=9, train=5, dev=2, test=1, provenance={"a": [{"b": 1}]}),
    start=StartRecord(name="start", source="start", fingerprint="cd"),
    model={"pooling": "mean", "normalised": True, "dimensions": 3},
    versions={"torch": "2"},
    device="cpu",
    processes=2,
    total_steps=100,
    left_over=[3],
)


def write_run(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    write_model(folder / RECORD, RUN.model_copy(update=changes))
    curves = planted_curves()
    for record in [*curves.steps, *curves.validations]:
        append_record(folder, record)
    return folder


def test_a_run_is_read_back(tmp_path: Path) -> None:
    summary = read_run(write_run(tmp_path))
    assert (summary.record, summary.curves) == (RUN, planted_curves())
    assert summary.curves.best is not None and summary.curves.best.step == 50


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_torn_last_line_is_left_out(tmp_path: Path, cut: int) -> None:
    for step in (1, 2):
        append_record(tmp_path, planted_step(step))
    path = tmp_path / CURVES
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_curves(tmp_path).steps == [planted_step(1)]
    cut_curves(tmp_path, step=1)
    assert path.read_text() == planted_step(1).model_dump_json() + "\n"


def test_a_loss_that_is_not_finite_is_null(tmp_path: Path) -> None:
    append_record(tmp_path, planted_step(1, loss=math.nan, gradient_norm=math.inf))
    append_record(tmp_path, planted_step(2, loss=3e38, gradient_norm=1e30))
    first, second = read_curves(tmp_path).steps
    assert math.isnan(first.loss) and math.isnan(first.gradient_norm)
    assert (second.loss, second.gradient_norm) == (3e38, 1e30)


def changed(record: CurveRecord, **changes: object) -> str:
    return json.dumps(record.model_dump() | changes)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "nothing",
        "[" * 5_000,
        '{"kind": "step", "step": 3}',
        changed(planted_step(3), kind="stop"),
        changed(planted_step(3), step=-1),
        changed(planted_step(3), loss="high"),
        changed(planted_step(3), other=1),
        changed(planted_validation(3, 0.5, best=True), dev_accuracy=1.5),
        changed(planted_validation(3, 0.5, best=True), mix=["x"]),
    ],
)
def test_a_line_that_no_run_writes_is_named(tmp_path: Path, line: str) -> None:
    good = planted_step(1).model_dump_json()
    (tmp_path / CURVES).write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(TrainingError, match="line 2: ") as caught:
        read_curves(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "over"},
        {"total_steps": "many"},
        {"format": 9},
        {"left_over": ["x"]},
        {"settings": {"batch": "many"}},
        {"settings": {"batch": 0}},
        {"settings": {"nothing": 1}},
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_run(tmp_path) / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TrainingError):
        read_run(tmp_path)
    with pytest.raises(TrainingError, match="nowhere: there is no training run here"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 10**15}, "below 1e\\+15"),
        ({"learning_rate": math.nan}, "above 0"),
        ({"margin": math.inf}, "below 1e\\+15"),
        ({"micro_batch": 1}, "at least 2"),
        ({"batch": 31}, "not a multiple of micro_batch"),
        ({"max_tokens": 2}, "need 3"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=rf"^{next(iter(change))} is .*{message}"):
        TrainingSettings(**change)


# -- The live display --------------------------------------------------------------------------------------------------


def test_a_terminal_shows_the_curves() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with LiveCurves(console) as live:
        live.record(planted_validation(0, 0.9, best=True, mix=(0.25, 0.25, 0.5)))
        live.progress("Training", 0, 20)
        for step in range(1, 11):
            live.record(planted_step(step, loss=0.25))
        live.record(planted_validation(10, 0.5, best=True, mix=(0.25, 0.25, 0.5)))
        live.progress("Validating on the dev set", 3, 10)
        live.say("Stopping.")
    shown = console.file.getvalue()
    for words in (
        "Stopping.",
        "step 10 of 20 (50%), 0.10 epochs, 2.00 steps/s, 2,000 word pieces/s, 5 seconds left",
        "0.2500",
        "dev loss  █▁  0.5000, 75.0% right, best at step 10",
        "1.00e-05, 50% of the triplets are active",
        "▁▁█  by layer, 50.00% for layer 2",
    ):
        assert words in shown, words


def test_a_log_has_a_few_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=100)
    with LiveCurves(console) as live:
        live.progress("Planning the batches", 0, 10)
        live.progress("Planning the batches", 5, 10)
        live.record(planted_validation(0, 0.9, best=True))
        for step in range(1, 11):
            live.record(planted_step(step))
    first, second, third = console.file.getvalue().splitlines()
    assert first == "Planning the batches …"
    assert second == "step 0: dev loss 0.9000, 75.0% right, the best so far"
    assert third.startswith("step 1, 0.01 epochs")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_terminal_without_bars_gets_plain_characters(encoding: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with LiveCurves(Console(file=file, force_terminal=True)) as live:
        live.record(planted_step(1, loss=math.nan))
    assert draw_bars([1.0, math.nan, 2.0]) == "▁?█"


# -- The dry run -------------------------------------------------------------------------------------------------------


def test_a_dry_run_measures_steps_and_writes_nothing(tmp_path: Path) -> None:
    start = toy_start(tmp_path / "start")
    before = sorted(tmp_path.rglob("*"))
    found = dry_run(toy_pairs(), start, TINY, out=tmp_path / "run", held_out=50, cpu=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert (found.device, found.total_steps, found.validations, found.ranking_seconds) == ("cpu", 10, 4, 0)
    assert found.total_seconds == pytest.approx(10 * found.step_seconds + 4 * found.validation_seconds)
    assert found.state_bytes == 3 * found.checkpoint_bytes > 0
    assert "Nothing was written." in next(found.lines(TINY))


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({}, ""),
        ({"free_bytes": 10**6}, "The disk is too small"),
        ({"total_seconds": 20_000.0}, "On a machine with a GPU"),
        ({"total_seconds": 36_000.0}, "--max-steps 100 --warmup-steps 10 takes about an hour"),
        ({"total_seconds": 20_000.0, "gpu_memory": 10**11}, "--precision bfloat16"),
        ({"gpu_memory": 10**9}, "--gradient-checkpointing needs"),
        ({"ranking_seconds": 60.0}, "Then about 1 minute to rank held-out papers"),
    ],
)
def test_a_dry_run_advises_if_it_is_long_or_does_not_fit(changes: dict[str, Any], advice: str) -> None:
    values: dict[str, Any] = {
        "device": "cpu",
        "total_steps": 1_000,
        "measured_steps": 10,
        "step_seconds": 2.0,
        "tokens_per_second": 1_000.0,
        "validations": 3,
        "validation_seconds": 10.0,
        "ranking_seconds": 0.0,
        "total_seconds": 2_030.0,
        "memory": 10**9,
        "gpu_memory": 0,
        "checkpoint_bytes": 4 * 10**6,
        "state_bytes": 12 * 10**6,
        "free_bytes": 10**9,
    }
    lines = list(DryRun(**values | changes).lines(TrainingSettings()))
    assert any(advice in line for line in lines) and (advice or len(lines) == 4)
