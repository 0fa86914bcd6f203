"""The schedule: which learning rate each step is taken with."""

from components.training.settings import TrainingError, TrainingSettings


def learning_rate_at(step: int, settings: TrainingSettings, *, total_steps: int) -> float:
    """The learning rate of a step, 1 ≤ step ≤ total_steps: linear warm-up from 0, then linear decay to 0.

    It is 0 before the first step and after the last; step `warmup_steps` is taken with all of it. No step is lost to a
    rate of 0.

    >>> settings = TrainingSettings(learning_rate=1.0, warmup_steps=2)
    >>> [learning_rate_at(step, settings, total_steps=6) for step in range(1, 7)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    warmup = settings.warmup_steps
    if step <= warmup:
        return settings.learning_rate * step / warmup
    return settings.learning_rate * (total_steps - step + 1) / (total_steps - warmup)


def check_schedule(settings: TrainingSettings, *, total_steps: int) -> None:
    """Raises TrainingError where the run would be over before its warm-up."""
    if settings.warmup_steps and settings.warmup_steps >= total_steps:
        tenth = total_steps // 10
        raise TrainingError(
            f"warmup_steps is {settings.warmup_steps:,} and the whole run has {total_steps:,} "
            f"step{'s' if total_steps != 1 else ''}, so the learning rate would never come to its full height. The "
            f"default is made for 30,000 pairs and more. Give --warmup-steps {tenth}, a tenth of the run, or more "
            "--epochs."
        )
