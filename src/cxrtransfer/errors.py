"""Errors a caller may want to catch by name; each is also the built-in it resembles."""

from collections.abc import Mapping
from pathlib import Path

__all__ = [
    "IncompatibleWeightsError",
    "MissingExtraError",
    "NonFiniteLossError",
    "RunFolderError",
    "UnknownModelError",
    "UnreadableImagesError",
    "WeightsNotFoundError",
]


class UnknownModelError(ValueError):
    """No classifier of that name exists in torchvision or timm."""


class WeightsNotFoundError(FileNotFoundError):
    """Pretrained parameters were asked for, and are neither on disk nor to be downloaded."""


class IncompatibleWeightsError(ValueError):
    """A file of parameters does not belong to the network it was given to."""


class MissingExtraError(ImportError):
    """An optional package is needed and not installed."""


class RunFolderError(ValueError):
    """A run folder holds something other than what was asked of it."""


class NonFiniteLossError(RuntimeError):
    """The training loss became infinite or not a number."""


class UnreadableImagesError(ValueError):
    """Some images cannot be decoded.

    Args:
        reasons: Why each file failed, by its path.

    Attributes:
        reasons: The same mapping, for a caller that wants to drop or mend the files.
    """

    def __init__(self, reasons: Mapping[Path, str]) -> None:
        self.reasons = dict(reasons)
        shown = [f"{path}: {reason}" for path, reason in list(self.reasons.items())[:10]]
        more = len(self.reasons) - len(shown)
        if more:
            shown.append(f"and {more} more")
        super().__init__(
            f"{len(self.reasons)} image(s) cannot be read; mend or remove them:\n  "
            + "\n  ".join(shown)
        )
