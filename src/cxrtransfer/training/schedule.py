"""Learning-rate schedules as functions of the step alone."""

import math

from cxrtransfer.config import Schedule

__all__ = ["lr_factor"]

# Smith & Topin 2018 (arXiv:1708.07120), with the constants of torch's OneCycleLR.
_ONE_CYCLE_RISE = 0.3
_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1 / 25 / 1e4


def lr_factor(step: int, *, num_steps: int, schedule: Schedule, warmup_steps: int = 0) -> float:
    """Return the factor on the learning rate at one step.

    There is no scheduler state that a resumed run would have to restore.

    Args:
        step: The step, from 0.
        num_steps: Total number of steps.
        schedule: ``"constant"``; ``"cosine"``, half a cosine from 1 to 0; or ``"one-cycle"``,
            which rises to 1 over the first 30% of the steps and falls to almost 0, each along half
            a cosine (momentum stays constant).
        warmup_steps: Steps of a linear warm-up before a constant or cosine schedule.

    Returns:
        A factor in (0, 1].

    Example:
        >>> [lr_factor(step, num_steps=4, schedule="cosine") for step in (0, 2)]
        [1.0, 0.5]
        >>> lr_factor(0, num_steps=9, schedule="constant", warmup_steps=4)
        0.25
    """
    if schedule == "one-cycle":
        peak = _ONE_CYCLE_RISE * num_steps - 1
        if step <= peak:
            return _cosine(_ONE_CYCLE_START, 1.0, step / peak)
        return _cosine(1.0, _ONE_CYCLE_END, (step - peak) / (num_steps - 1 - peak))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "cosine":
        return _cosine(1.0, 0.0, (step - warmup_steps) / (num_steps - warmup_steps))
    return 1.0


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2
