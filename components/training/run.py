"""The folder of a training run: its record, its curves, and who may write there.

<run>/run.json            what is trained, on which pairs, and the run's status
<run>/curves.jsonl        every step and every validation
<run>/state.safetensors   the last state that training can resume from, until the run is over
<run>/checkpoint/         the encoder with the lowest dev loss so far (components.training.export)
<run>/held-out.json       ranks of held-out papers before and after (components.training.held_out)
"""

import contextlib
import errno
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import filelock
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from components.training.settings import TrainingError, TrainingSettings
from corpus.io.files import write_text

RECORD, CURVES, STATE, CHECKPOINT, HELD_OUT = (
    "run.json",
    "curves.jsonl",
    "state.safetensors",
    "checkpoint",
    "held-out.json",
)
_LOCK = ".lock"

# running: now, or it was killed. interrupted: stopped by its user.
Status = Literal["running", "interrupted", "finished", "stopped early", "diverged"]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1 + 1e-6)]
# NaN or infinite if training diverged; null on disk.
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class StoredModel(BaseModel):
    """A model that is written to a run's folder and read back."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=StoredModel)


class StepRecord(StoredModel):
    """One update of the weights.

    epoch: epochs done after it, with a fraction. loss: mean over its triplets. active: share of its triplets with a
    loss above 0. self_negatives: triplets whose negative was their own positive. gradient_norm: before clipping.
    tokens: word pieces read, without padding. seconds: its duration.
    """

    kind: Literal["step"] = "step"
    step: Count
    epoch: float
    loss: Number
    active: Number
    self_negatives: Count
    learning_rate: float
    gradient_norm: Number
    tokens: Count
    seconds: float


class ValidationRecord(StoredModel):
    """One validation on the dev set, after `step` updates.

    dev_loss: mean over the dev triplets. dev_accuracy: share of them whose positive is nearer than the negative.
    spread: mean distance of anchors from their negatives. best: this is the lowest dev loss so far, and its encoder is
    kept. mix: the scalar mix's weights, the embedding layer's first; empty without a mix. seconds: its duration.
    """

    kind: Literal["validation"] = "validation"
    step: Count
    dev_loss: Number
    dev_accuracy: Share
    spread: Number
    best: bool = False
    mix: tuple[Share, ...] = ()
    seconds: float


CurveRecord = StepRecord | ValidationRecord
_CURVE_RECORD: TypeAdapter[CurveRecord] = TypeAdapter(Annotated[CurveRecord, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True)
class Curves:
    """The steps and the validations of a run, each in order."""

    steps: Sequence[StepRecord] = ()
    validations: Sequence[ValidationRecord] = ()

    @property
    def best(self) -> ValidationRecord | None:
        """The validation whose encoder is kept."""
        return next((record for record in reversed(self.validations) if record.best), None)

    @property
    def seconds(self) -> float:
        """The duration of all steps and validations."""
        return sum(step.seconds for step in self.steps) + sum(one.seconds for one in self.validations)


class PairsRecord(StoredModel):
    """The pairs that a run learns from. provenance: how they were made."""

    name: str
    fingerprint: str
    papers: Count
    train: Count
    dev: Count
    test: Count
    provenance: dict[str, Any]


class StartRecord(StoredModel):
    """The checkpoint that a run starts from."""

    name: str
    source: str
    fingerprint: str


class RunRecord(StoredModel):
    """What is trained, and the run's status. left_over: pairs left out of each epoch. reason: why it diverged."""

    format: Literal[2] = 2
    status: Status
    settings: TrainingSettings
    pairs: PairsRecord
    start: StartRecord
    model: dict[str, str | int | bool]
    versions: dict[str, str]
    device: str
    processes: Count
    total_steps: Count
    left_over: list[int]
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether the run cannot be continued."""
        return self.status in ("finished", "stopped early", "diverged")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run as it stands in its folder."""

    folder: Path
    record: RunRecord
    curves: Curves


def read_run(folder: Path) -> RunSummary:
    """Load a run's summary. Raises TrainingError if the folder holds no run, or a damaged one."""
    return RunSummary(folder, read_model(folder / RECORD, RunRecord), read_curves(folder))


def write_model(path: Path, model: StoredModel) -> None:
    """Write a model as JSON, atomically. Raises OSError."""
    write_text(path, model.model_dump_json(indent=1) + "\n")


def read_model(path: Path, model: type[Model]) -> Model:
    """Read a JSON file of a run. Raises TrainingError if it is missing, damaged or of another kind."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainingError(
            f"{path.parent}: there is no training run here ({path.name} is missing). Name the folder that `train "
            "--out` was given."
        ) from error
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read: {_reason(error)}. Name the folder of another run.") from error


def read_curves(run: Path) -> Curves:
    """The curves of a run, empty before the first record. A torn last line is left out.

    Raises TrainingError, naming the line, if the file holds anything that no run writes.
    """
    steps: list[StepRecord] = []
    validations: list[ValidationRecord] = []
    try:
        with (run / CURVES).open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):  # torn by a kill or a full disk
                    break
                try:
                    record = _CURVE_RECORD.validate_json(line)
                except ValueError as error:
                    raise TrainingError(
                        f"{run / CURVES}, line {number}: this is not a step or validation of a run ({_reason(error)}). "
                        "Remove the line, or train again."
                    ) from error
                if isinstance(record, StepRecord):
                    steps.append(record)
                else:
                    validations.append(record)
    except FileNotFoundError:
        return Curves()
    except OSError as error:
        raise TrainingError(f"{run / CURVES} cannot be read: {_reason(error)}.") from error
    return Curves(steps, validations)


def append_record(run: Path, record: CurveRecord) -> None:
    """Append a record to the curves. Raises OSError."""
    with (run / CURVES).open("a", encoding="utf-8") as file:
        file.write(record.model_dump_json() + "\n")


def flush_curves(run: Path) -> None:
    """Flush the curves to the disk, before a state that counts on them is written. Raises OSError."""
    if (run / CURVES).exists():
        with (run / CURVES).open("rb+") as file:
            os.fsync(file.fileno())


def cut_curves(run: Path, *, step: int) -> None:
    """Remove what comes after a step, and a torn line. Raises OSError."""
    if not (run / CURVES).exists():
        return
    curves = read_curves(run)
    records: list[CurveRecord] = [*curves.steps, *curves.validations]
    records = [record for record in records if record.step <= step]
    records.sort(key=lambda record: (record.step, record.kind))  # a step's validation comes after it
    write_text(run / CURVES, "".join(record.model_dump_json() + "\n" for record in records))


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Make a run's folder, and be the only process that writes there. Raises TrainingError if another does."""
    run.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(run / _LOCK, timeout=0):
            yield
    except filelock.Timeout as error:
        raise TrainingError(f"{run}: another process is training here. Wait for it, or name another folder.") from error


def holds_other_files(run: Path) -> bool:
    """Whether a folder without a run record holds files of somebody else."""
    return any(path.name not in (_LOCK, f"{RECORD}.partial") for path in run.iterdir())


@contextlib.contextmanager
def tensor_disk_errors(path: Path) -> Iterator[None]:
    """Raise OSError if safetensors cannot write: its own error is none."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def _reason(error: Exception) -> str:
    """An error of the operating system or of pydantic, in one bounded line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:200]
    return (isinstance(error, OSError) and error.strerror) or str(error)[:200]
