"""Planted curves of runs: what was written down is known, so that what is drawn of it can be checked."""

from pathlib import Path

from components.training.curves import CURVES, Curves, LookRecord, StepRecord, written


def planted_step(step: int, **changes: float) -> StepRecord:
    values = {
        "step": step,
        "epoch": step / 100,
        "loss": 1 / step,
        "active": 0.5,
        "self_negatives": 0,
        "learning_rate": 1e-5,
        "gradient_norm": 2.0,
        "tokens": 1_000,
        "seconds": 0.5,
    }
    return StepRecord(**{**values, **changes})  # type: ignore[arg-type]


def planted_look(step: int, dev_loss: float, *, best: bool, mix: tuple[float, ...] = (0.25, 0.25, 0.5)) -> LookRecord:
    return LookRecord(step=step, dev_loss=dev_loss, dev_accuracy=0.75, best=best, mix=mix, seconds=1.0)


def planted_curves(steps: int = 100) -> Curves:
    """A loss of 1 / step; the dev loss falls to 0.3 at the half and rises then."""
    looks = [(0, 0.9, True), (steps // 2, 0.3, True), (steps, 0.4, False)]
    return Curves(
        tuple(planted_step(step) for step in range(1, steps + 1)),
        tuple(planted_look(step, loss, best=best) for step, loss, best in looks),
    )


def write_curves(folder: Path, curves: Curves) -> Path:
    """Their file in a run's folder, in the order in which a run writes it."""
    records: list[StepRecord | LookRecord] = [*curves.steps, *curves.looks]
    records.sort(key=lambda one: (one.step, isinstance(one, LookRecord)))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CURVES).write_text("".join(map(written, records)))
    return folder / CURVES
