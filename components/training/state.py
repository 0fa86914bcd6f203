"""States: all that a training run needs to go on as if it had not stopped, in a folder without a pickle."""

import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from components.training.settings import TrainingError
from corpus.io.files import write_text
from corpus.io.hashing import sha256_of

_MODEL, _OPTIMISER, _RECORD = "model.safetensors", "optimizer.safetensors", "state.json"
_FORMAT = 1
_LARGEST_RECORD = 2**20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run has come.

    step: updates that were done. looked: the step of the last look. best_step, best_loss: of the look with the lowest
        dev loss. since_best: looks since then. first_loss: of the look before the first step. Before any look the
        steps of looks are -1 and the losses infinite. spread: the largest mean distance of the dev set's anchors from
        their negatives at any look.
    """

    step: int = 0
    looked: int = -1
    best_step: int = -1
    best_loss: float = math.inf
    since_best: int = 0
    first_loss: float = math.inf
    spread: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """What a state holds. model: parameters and buffers by name. optimiser: Adam's moments and counts by
    "<what>.<parameter>". scaler: of float16, numbers by name; empty without one."""

    progress: RunProgress
    model: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, torch.Tensor]
    scaler: Mapping[str, float]


def write_state(folder: Path, state: TrainingState) -> None:
    """Write a state, all of it or nothing; a folder of that name must not be there. Raises OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        sealed = {}
        for name, tensors in ((_MODEL, state.model), (_OPTIMISER, state.optimiser)):
            try:
                save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, partial / name)
            except SafetensorError as error:  # its own, which is no OSError even where the disk is full
                raise OSError(f"{error}") from error
            with (partial / name).open("rb+") as file:
                os.fsync(file.fileno())
            sealed[name] = {"bytes": (partial / name).stat().st_size, "sha256": sha256_of(partial / name)}
        record = {
            "format": _FORMAT,
            "progress": {key: _finite(value) for key, value in asdict(state.progress).items()},
            "scaler": dict(state.scaler),
            "files": sealed,
        }
        write_text(partial / _RECORD, json.dumps(record, indent=2, allow_nan=False) + "\n")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def read_state(folder: Path) -> TrainingState:
    """The state in a folder, on the CPU. Raises TrainingError where it is damaged, or no state of ours."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        path = folder / _RECORD
        if path.stat().st_size > _LARGEST_RECORD:
            raise ValueError(f"{_RECORD} is too large")
        told = json.loads(path.read_bytes())
        if told["format"] != _FORMAT:
            raise ValueError(f"its format is {told['format']!r:.40}, not {_FORMAT}")
        for name in (_MODEL, _OPTIMISER):
            if sha256_of(folder / name) != told["files"][name]["sha256"]:
                raise ValueError(f"the SHA-256 of {name} is another than was written")
        return TrainingState(
            progress=_progress(told["progress"]),
            model=load_file(folder / _MODEL),
            optimiser=load_file(folder / _OPTIMISER),
            scaler=_numbers(told["scaler"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise TrainingError(
            f"{folder}: this state of a run cannot be read ({error!s:.200}). Train in another folder, from the start."
        ) from error


def _numbers(told: dict[str, Any]) -> dict[str, float]:
    for name, value in told.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name:.40} is {value!r:.40}")
    return told


def _progress(told: Any) -> RunProgress:
    """Raises ValueError, KeyError or TypeError for what a run does not write."""
    found = {}
    for field in fields(RunProgress):
        value = told[field.name]
        if field.type is float:
            value = math.inf if value is None else value
            if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
                raise ValueError(f"{field.name} is {value!r:.40}")
        elif not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < 2**53:
            raise ValueError(f"{field.name} is {value!r:.40}")
        found[field.name] = value
    return RunProgress(**found)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
