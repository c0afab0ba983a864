"""Progress of a study: a bar on a terminal, plain lines in a pipe."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tqdm.auto import tqdm

from cxrtransfer.explain import STRESSES

from .explanations import MAX_EXPLAINED, MAX_RANDOMIZED, MAX_STRESSED, STEPS
from .plan import Plan

__all__ = ["StudyBar"]

_logger = logging.getLogger(__name__)

# Passes of an image through the network, forward only = 1; a backward pass takes twice as long.
_TRAINING_PASSES = 3
_GRADCAM_PASSES = 2


@dataclass(frozen=True)
class _Work:
    """Work of a run in passes of images through its network."""

    epochs: int
    train: int
    val: int
    analysis: int

    @property
    def total(self) -> int:
        return self.epochs * (_TRAINING_PASSES * self.train + self.val) + self.analysis


class StudyBar:
    """Progress over all stages of all runs, with the remaining time.

    The unit is a pass of an image through a network. Runs that fail do not advance the bar to
    their end.

    Args:
        plans: The runs.
        shown: Whether to show anything.
    """

    def __init__(self, plans: Sequence[Plan], *, shown: bool) -> None:
        self._works = {plan.config.name: _work(plan) for plan in plans}
        self._shown, self._name, self._begun, self._epoch = shown, "", 0.0, 0
        self._is_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=sum(work.total for work in self._works.values()),
            disable=not (shown and self._is_terminal),
            bar_format="{desc} {percentage:3.0f}%|{bar}| {remaining} left{postfix}",
        )
        self._done = 0.0

    @property
    def fraction(self) -> float:
        """Fraction of all work that is done."""
        return self._done / sum(work.total for work in self._works.values())

    def begin(self, name: str) -> None:
        """Begin a run."""
        self._name, self._begun, self._epoch = name, self._done, 0
        self.on_stage("training")

    def on_stage(self, stage: str) -> None:
        """Show a stage of the current run."""
        number = 1 + list(self._works).index(self._name)
        text = f"run {number}/{len(self._works)} {self._name}: {stage}"
        self._bar.set_description_str(text)
        if self._shown and not self._is_terminal:
            _logger.info("%s", text)

    def on_step_end(self, num_images: int) -> None:
        """Count a training step."""
        self._advance(_TRAINING_PASSES * num_images)

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Count an epoch."""
        work, epoch = self._works[self._name], int(row["epoch"])
        per_epoch = _TRAINING_PASSES * work.train + work.val
        self._epoch += 1
        self._advance(self._begun + max(self._epoch, epoch) * per_epoch - self._done)
        result = f"val. loss {row['val_loss']:.3f}, val. AUROC {row['val_auroc']:.3f}"
        self._bar.set_description_str(f"{self._name}: epoch {epoch}/{work.epochs} done")
        self._bar.set_postfix_str(result)
        if self._shown and not self._is_terminal:
            _logger.info("%s: epoch %d/%d, %s", self._name, epoch, work.epochs, result)

    def end(self, name: str, *, failed: bool) -> None:
        """Count a whole run; early stopping and resuming save some work."""
        if not failed:
            begun = self._begun if name == self._name else self._done
            self._advance(begun + self._works[name].total - self._done)

    def close(self) -> None:
        """Close the bar."""
        self._bar.close()

    def _advance(self, passes: float) -> None:
        self._done += passes
        self._bar.update(passes)


def _work(plan: Plan) -> _Work:
    train, val, test = (len(plan.records.where(split)) for split in ("train", "val", "test"))
    explained = min(test, MAX_EXPLAINED)
    randomized = min(test, MAX_RANDOMIZED) * (1 + STEPS)
    stressed = (min(val, MAX_STRESSED) + min(test, val, MAX_STRESSED)) * (1 + len(STRESSES))
    return _Work(
        epochs=plan.config.training.epochs,
        train=train,
        val=val,
        analysis=val + 2 * test + _GRADCAM_PASSES * (explained + randomized) + stressed,
    )
