"""Errors a caller may want to catch by name; each is also the built-in it resembles."""

from collections.abc import Mapping
from pathlib import Path

__all__ = [
    "IncompatibleWeightsError",
    "MissingExtraError",
    "NonFiniteLossError",
    "RunFolderError",
    "RunsFailedError",
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


class RunsFailedError(RuntimeError):
    """Some runs of a study failed, or all; the others are complete.

    Args:
        failures: What went wrong in each run, by its name.
        num_runs: Number of all runs.

    Attributes:
        failures: The same mapping.
        num_runs: Number of all runs.
    """

    def __init__(self, failures: Mapping[str, str], num_runs: int) -> None:
        self.failures = dict(failures)
        self.num_runs = num_runs
        lines = [f"{name}: {failure}" for name, failure in self.failures.items()]
        what = (
            f"{len(lines)} of {num_runs} runs failed; the others are complete, and the same call "
            "makes only what is missing"
            if len(lines) < num_runs
            else "no run came to its end; the same call goes on from here"
        )
        super().__init__(f"{what}:\n  " + "\n  ".join(lines))


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
            f"{len(self.reasons)} image(s) cannot be read; mend or remove them, or leave them out "
            "(on_error='skip', --skip-unreadable):\n  " + "\n  ".join(shown)
        )

    def __reduce__(self) -> tuple[type["UnreadableImagesError"], tuple[dict[Path, str]]]:
        return type(self), (self.reasons,)  # by default the message would become the reasons
