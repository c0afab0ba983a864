"""The learning rate at every step, as a number that depends on nothing but the step."""

import math
from typing import Literal

__all__ = ["Schedule", "lr_factor"]

Schedule = Literal["constant", "cosine", "one-cycle"]

# Smith & Topin 2018 (arXiv:1708.07120), with the constants of torch's OneCycleLR.
_ONE_CYCLE_RISE = 0.3
_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1 / 25 / 1e4


def lr_factor(step: int, *, num_steps: int, schedule: Schedule, warmup_steps: int = 0) -> float:
    """Return what the learning rate is multiplied by at one step.

    A schedule without a state cannot be resumed wrongly.

    Args:
        step: The step, from 0.
        num_steps: Steps of the whole training.
        schedule: ``"constant"``; ``"cosine"``, half a cosine from 1 toward 0; or ``"one-cycle"``,
            which rises to 1 for three tenths of the steps and falls to almost 0, both by half a
            cosine (momentum stays as it is).
        warmup_steps: Steps of a linear rise in front of a constant or cosine schedule.

    Returns:
        A factor in (0, 1].

    Example:
        >>> [lr_factor(step, num_steps=4, schedule="cosine") for step in (0, 2)]
        [1.0, 0.5]
        >>> lr_factor(0, num_steps=9, schedule="constant", warmup_steps=4)
        0.25
    """
    if schedule == "one-cycle":
        top = _ONE_CYCLE_RISE * num_steps - 1
        if step <= top:
            return _between(_ONE_CYCLE_START, 1.0, step / top)
        return _between(1.0, _ONE_CYCLE_END, (step - top) / (num_steps - 1 - top))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "cosine":
        return _between(1.0, 0.0, (step - warmup_steps) / (num_steps - warmup_steps))
    return 1.0


def _between(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(part, 1.0))) / 2
