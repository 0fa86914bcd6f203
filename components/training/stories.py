"""Stories of runs: what a report tells, read from the folder of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.training.curves import CURVES, NO_CURVES, Curves, read_curves
from components.training.held_out_file import HELD_OUT, HeldOutRow, read_held_out
from components.training.run_folder import RunRecord, Status, read_run
from components.training.settings import TrainingError, TrainingSettings

_MOST = 1e15  # of a setting
_STATUS: Mapping[Status, str] = {"running": "under way, or killed", "interrupted": "stopped, can go on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is told of a run. name, start, pairs: of unknown origin, as is `told`.

    status: how the run stands, in a word or two. trouble: why it did not finish, in sentences; empty where it did.
    facts: the device, versions and what else there is to know. told: how the pairs were made. held_out: where it was
    measured, the scores on pairs that training never saw, before and after.
    """

    name: str
    status: str
    start: str
    pairs: str
    settings: TrainingSettings
    curves: Curves
    total_steps: int = 0
    trouble: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    held_out: Sequence[HeldOutRow] = ()


def story_of(run: Path) -> Story:
    """What the folder of a run tells. Raises TrainingError where it holds none, or a damaged one; it names the file."""
    record = read_run(run)
    try:
        if not all(isinstance(one, str | int | float) and _is_small(one) for one in record.settings.values()):
            raise TypeError("a value is no number and no word")
        settings = TrainingSettings(**record.settings)
    except TypeError as error:  # others than there are, or no numbers
        raise TrainingError(
            f"{run}: its settings are none of ours ({error!s:.200}). Name the folder of a run."
        ) from error
    told = record.pairs.get("told")
    return Story(
        name=run.resolve().name,
        status=_STATUS.get(record.status, record.status),
        start=str(record.start.get("name", "")),
        pairs=str(record.pairs.get("name", "")),
        settings=settings,
        curves=read_curves(run / CURVES) if (run / CURVES).exists() else NO_CURVES,
        total_steps=record.total_steps,
        trouble=_trouble(record),
        facts=_facts(record),
        told=told if isinstance(told, dict) else {},
        held_out=read_held_out(run / HELD_OUT),
    )


def _is_small(value: str | int | float) -> bool:
    return len(value) < 100 if isinstance(value, str) else abs(value) < _MOST


def _trouble(record: RunRecord) -> str:
    if record.status == "diverged":
        return f"The training diverged. {record.reason}"
    if record.status in ("interrupted", "running"):
        return (
            f"This run has not come to its end: {record.steps:,} of {record.total_steps:,} steps were done when it was "
            "last written down. The command that began it goes on from there."
        )
    return ""


def _facts(record: RunRecord) -> dict[str, str]:
    counts = {name: record.pairs.get(name) for name in ("papers", "train", "dev", "test")}
    left_out = ", ".join(f"{count:,}" for count in record.left_over[:10])
    return {
        "start": f"{record.start.get('name', '')} ({str(record.start.get('fingerprint', ''))[:16]})",
        "pairs": ", ".join(f"{value:,} {name}" for name, value in counts.items() if isinstance(value, int)),
        "fingerprint of the pairs": str(record.pairs.get("fingerprint", ""))[:16],
        "pairs left out of each epoch": left_out or "–",
        "model": ", ".join(f"{name} {value}" for name, value in record.model.items()),
        "device": record.device + (f", {record.processes} processes" if record.processes > 1 else ""),
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    }
