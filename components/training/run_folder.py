"""Run folders: where a training run keeps what it leaves. Names and files, and who may write there.

<run>/run.json       what was trained of what, and how it stands
<run>/curves.jsonl   every step and every look, see `curves`
<run>/state/         the last resumable state, until the run is over
<run>/checkpoint/    the encoder of the look with the lowest dev loss, see `release`
"""

import contextlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import filelock

from components.training.curves import CURVES, LookRecord, StepRecord, read_curves, written
from components.training.settings import TrainingError
from corpus.io.files import write_text

RUN, STATES, CHECKPOINT, _LOCK = "run.json", "state", "checkpoint", ".lock"
_STATE = re.compile(r"step-\d{8}-\d{8}")
_FORMAT = 1
_LARGEST = 2**24  # bytes of run.json: a few thousand are usual

# running: at this moment, or killed. interrupted: stopped by its user.
Status = Literal["running", "interrupted", "finished", "stopped early", "diverged"]
OVER: tuple[Status, ...] = ("finished", "stopped early", "diverged")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is written down of a run.

    settings: those of TrainingSettings, by name. pairs: name, fingerprint, counts of papers, train, dev and test, and
    what was told of how they were made. start: name, source and fingerprint. model: the form, dimensions and number of
    parameters. versions: of what computed it, by name. left_over: pairs that each epoch left out.
    steps: that were done when this was written. best_step: -1 and best_loss: None before the first look.
    reason: why it diverged; "" for others.
    """

    status: Status
    settings: dict[str, Any]
    pairs: dict[str, Any]
    start: dict[str, Any]
    model: dict[str, Any]
    versions: dict[str, Any]
    device: str
    processes: int
    total_steps: int
    left_over: list[int]
    steps: int = 0
    best_step: int = -1
    best_loss: float | None = None
    reason: str = ""


def write_run(run: Path, record: RunRecord) -> None:
    """Write run.json, all of it or nothing. Raises OSError."""
    # In ASCII: a name of a file may hold what UTF-8 has not.
    write_text(run / RUN, json.dumps({"format": _FORMAT, **asdict(record)}, indent=2) + "\n")


def read_run(run: Path) -> RunRecord:
    """What run.json says. Raises TrainingError where there is none, or none of ours."""
    path = run / RUN
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST // 2**20} MB")
        told = json.loads(path.read_bytes())
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise ValueError("its format is another")
        return RunRecord(**{field.name: _checked(field.name, told[field.name]) for field in fields(RunRecord)})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainingError(
            f"{run}: no run lies there. Name the folder that `train --out` had; one that has not begun is none yet."
        ) from error
    except OSError as error:
        raise TrainingError(f"{path}: it cannot be read ({error.strerror}). Name the folder of a run.") from error
    except (ValueError, KeyError, RecursionError) as error:
        raise TrainingError(
            f"{path}: this is no record of a run ({error!s:.200}). Name the folder of a run."
        ) from error


def _checked(name: str, value: Any) -> Any:
    """Raises ValueError for what no run writes."""
    kinds: dict[str, type] = {"device": str, "reason": str, "left_over": list}
    if name == "status":
        fine = value in get_args(Status)
    elif name == "best_loss":
        fine = value is None or (type(value) in (int, float) and math.isfinite(value))
    elif name in ("processes", "total_steps", "steps", "best_step"):
        fine = type(value) is int and -1 <= value < 2**53
    else:
        fine = isinstance(value, kinds.get(name, dict))
    if name == "left_over" and fine:
        fine = all(type(one) is int for one in value)
    if not fine:
        raise ValueError(f"{name} is {value!r:.60}")
    return value


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Be the one process that writes in a run's folder, which is made. Raises TrainingError where another is."""
    with disk_errors(run):
        run.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(run / _LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise TrainingError(f"{run}: another process trains there. Wait for it, or name another folder.") from error
    try:
        yield
    finally:
        lock.release()


def append_curve(run: Path, record: StepRecord | LookRecord) -> None:
    """Write a record behind those that are there. Raises OSError."""
    with (run / CURVES).open("a", encoding="utf-8") as file:
        file.write(written(record))


def keep_curves(run: Path) -> None:
    """Flush the curves to the disk: a state goes on from what they say. Raises OSError."""
    if (run / CURVES).exists():
        with (run / CURVES).open("rb+") as file:
            os.fsync(file.fileno())


def cut_curves(run: Path, *, step: int, looked: int) -> None:
    """Forget the steps after `step` and the looks after `looked`, and what a kill tore. Raises OSError."""
    if not (run / CURVES).exists():
        return
    curves = read_curves(run / CURVES)
    kept: list[StepRecord | LookRecord] = [record for record in curves.steps if record.step <= step]
    kept += [record for record in curves.looks if record.step <= looked]
    # As they were written: the look after a step's own line.
    kept.sort(key=lambda record: (record.step, isinstance(record, LookRecord)))
    write_text(run / CURVES, "".join(map(written, kept)))


def holds_other_files(run: Path) -> bool:
    """Whether a folder without a run holds anything that is not ours."""
    return run.is_dir() and any(path.name not in (_LOCK, f"{RUN}.partial") for path in run.iterdir())


def state_folder(run: Path, *, step: int, looked: int) -> Path:
    """Where the state after a step is written. looked: the step of the last look, -1 before the first."""
    return run / STATES / f"step-{step:08}-{looked + 1:08}"


def last_state(run: Path) -> Path | None:
    """The newest whole state; None where there is none."""
    found = [path for path in (run / STATES).glob("step-*") if _STATE.fullmatch(path.name) and path.is_dir()]
    return max(found, key=lambda path: path.name, default=None)


def drop_states(run: Path, *, but: Path | None = None) -> None:
    """Remove the states, and what is left of one that was being written, all but one."""
    for path in (run / STATES).glob("step-*"):
        if path != but:
            shutil.rmtree(path, ignore_errors=True)
    if but is None:
        shutil.rmtree(run / STATES, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(run: Path, *, kept: str = "") -> Iterator[None]:
    """What the operating system says of a run's folder, as a sentence. kept: a sentence on what is there still."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        behind = f" {kept}" if kept else ""
        raise TrainingError(
            f"{run}: it could not be written there ({said:.200}). See that the disk has room and that the folder may "
            f"be written to.{behind}"
        ) from error
