"""Curves of runs: written and read back; torn, hostile and not finite; smoothed and thinned against plain sums."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.training.curves import CURVES, LookRecord, StepRecord, read_curves, thinned, trailing_mean, written
from components.training.settings import TrainingError
from tests.components.training.planted_runs import planted_curves, planted_look, planted_step, write_curves

_NUMBERS = st.floats(0, 1e12)


@given(
    loss=_NUMBERS,
    share=st.floats(0, 1),
    count=st.integers(0, 10**9),
    mix=st.lists(st.floats(0, 1), max_size=14),
)
@settings(max_examples=30)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, loss: float, share: float, count: int, mix: list[float]
) -> None:
    path = tmp_path_factory.mktemp("run") / CURVES
    step = planted_step(1 + count, loss=loss, active=share, tokens=count)
    look = LookRecord(step=count, dev_loss=loss, dev_accuracy=share, best=True, mix=tuple(mix), seconds=loss)
    path.write_text(written(look) + written(step))
    found = read_curves(path)
    assert found.steps == (step,)
    assert found.looks == (look,)
    assert found.best() == look


def test_the_last_line_may_be_torn_at_any_place(tmp_path: Path) -> None:
    path = write_curves(tmp_path, planted_curves(4))
    whole = path.read_bytes()
    last = len(whole) - whole[:-1].rfind(b"\n") - 1
    lines = whole.count(b"\n")
    for cut in range(1, last + 1):
        path.write_bytes(whole[:-cut])
        found = read_curves(path)
        assert len(found.steps) + len(found.looks) == lines - 1


def test_a_loss_that_is_no_number_is_told_as_none(tmp_path: Path) -> None:
    path = tmp_path / CURVES
    path.write_text(written(planted_step(1, loss=math.nan, gradient_norm=math.inf)))
    (step,) = read_curves(path).steps
    assert math.isnan(step.loss) and math.isnan(step.gradient_norm)


def _changed(**changes: object) -> str:
    return json.dumps(json.loads(written(planted_step(3))) | changes) + "\n"


@pytest.mark.parametrize(
    "line",
    [
        "{}\n",
        "[]\n",
        "nothing\n",
        "[" * 5_000 + "\n",
        "9" * 9_000 + "\n",
        '{"kind": "step", "step": 3}\n',
        _changed(kind="stop"),
        _changed(kind=["step"]),
        _changed(step=0),
        _changed(step=1.5),
        _changed(step=True),
        _changed(step=-3),
        _changed(step=10**30),
        _changed(active=1.5),
        _changed(active=None),
        _changed(loss="0.5"),
        _changed(loss=[1]),
        _changed(tokens=-1),
        _changed(loss=1).replace("1", "NaN", 1),
        _changed(loss=-0.5),
        _changed(seconds=1e300),
        written(planted_look(3, 0.5, best=True)).replace("true", "1"),
        written(planted_look(3, 0.5, best=True)).replace("[0.25", '["0.25"'),
        written(planted_look(3, 0.5, best=True, mix=(0.001,) * 300)),
        " " * 20_000 + "{}\n",
        written(planted_step(2)),  # twice
        written(planted_step(1)),
        "\udcff\n",
    ],
)
def test_what_no_run_writes_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / CURVES
    before = written(planted_step(1)) + written(planted_step(2))
    path.write_bytes((before + line + written(planted_step(9))).encode(errors="surrogateescape"))
    with pytest.raises(TrainingError, match="line 3: ") as caught:
        read_curves(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500 + len(str(path))


def test_no_file_and_no_folder_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be read"):
        read_curves(tmp_path / "none" / CURVES)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_curves(tmp_path)


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), max_size=40), st.integers(1, 50))
@settings(max_examples=60)
def test_a_trailing_mean_is_the_mean_of_what_is_there(values: list[float], window: int) -> None:
    found = trailing_mean(values, window=window)
    assert len(found) == len(values)
    for i, mean in enumerate(found):
        there = [one for one in values[max(0, i + 1 - window) : i + 1] if not math.isnan(one)]
        assert math.isnan(mean) if not there else mean == pytest.approx(sum(there) / len(there), rel=1e-9, abs=1e-6)


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), max_size=300), st.integers(2, 50))
@settings(max_examples=60)
def test_thinning_keeps_the_ends_of_what_is_seen(values: list[float], most: int) -> None:
    kept = thinned(values, most=most)
    assert len(kept) <= max(most, 2)
    assert (np.diff(kept) > 0).all()
    there = [one for one in values if not math.isnan(one)]
    if there:
        shown = [values[i] for i in kept if not math.isnan(values[i])]
        assert min(shown) == min(there) and max(shown) == max(there)


def test_a_step_record_has_no_field_that_is_not_written() -> None:
    assert set(json.loads(written(planted_step(1)))) == {"kind", *StepRecord.__dataclass_fields__}
