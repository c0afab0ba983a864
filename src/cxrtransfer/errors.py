"""Exceptions and warnings that a caller may want to catch; each is also a built-in one."""

from collections.abc import Mapping
from pathlib import Path

__all__ = [
    "BundleError",
    "EmptyHeatmapWarning",
    "IncompatibleWeightsError",
    "LeakageWarning",
    "MissingExtraError",
    "NonFiniteLossError",
    "RunFolderError",
    "RunsFailedError",
    "UnknownModelError",
    "UnreadableImagesError",
    "WeightsNotFoundError",
]

MAX_LISTED_IMAGES = 10


class EmptyHeatmapWarning(UserWarning):
    """Some heatmaps are zero everywhere."""


class LeakageWarning(UserWarning):
    """Images of one patient, or copies of an image, are or may be in more than one split."""


class BundleError(ValueError):
    """The folder of a saved classifier is damaged, of another format, or inconsistent."""


class UnknownModelError(ValueError):
    """Neither torchvision nor timm has a classifier of that name."""


class WeightsNotFoundError(FileNotFoundError):
    """Pretrained weights were requested but are not on disk and cannot be downloaded."""


class IncompatibleWeightsError(ValueError):
    """A weights file does not fit the network."""


class MissingExtraError(ImportError):
    """An optional package is required but not installed."""


class RunFolderError(ValueError):
    """A run folder cannot be used, or does not hold what was requested."""


class RunsFailedError(RuntimeError):
    """Some or all runs of a study failed; the others are complete.

    Args:
        failures: The error message of each failed run, by run name.
        num_runs: Total number of runs.

    Attributes:
        failures: The same mapping.
        num_runs: Total number of runs.
    """

    def __init__(self, failures: Mapping[str, str], num_runs: int) -> None:
        self.failures = dict(failures)
        self.num_runs = num_runs
        lines = [f"{name}: {failure}" for name, failure in self.failures.items()]
        summary = (
            f"{len(lines)} of {num_runs} runs failed; the others are complete, and a rerun trains "
            "only the missing ones"
            if len(lines) < num_runs
            else f"all {num_runs} runs failed; a rerun resumes from their last checkpoints"
        )
        super().__init__(f"{summary}:\n  " + "\n  ".join(lines))


class NonFiniteLossError(RuntimeError):
    """The training loss became infinite or NaN."""


class UnreadableImagesError(ValueError):
    """Some images cannot be decoded.

    Args:
        reasons: Why each file failed, by path.
        advice: How to fix it.

    Attributes:
        reasons: The same by ``Path``, for callers that want to skip or replace the files.
    """

    def __init__(
        self,
        reasons: Mapping[Path, str] | Mapping[str, str],
        advice: str = "replace or remove them, or skip them with on_error='skip' "
        "(--skip-unreadable)",
    ) -> None:
        self.reasons = {Path(path): reason for path, reason in reasons.items()}
        self._advice = advice
        lines = [f"{path}: {reason}" for path, reason in self.reasons.items()]
        listed = lines[:MAX_LISTED_IMAGES]
        if len(lines) > len(listed):
            listed.append(f"and {len(lines) - len(listed)} more")
        super().__init__(
            f"{len(lines)} image(s) cannot be read; {advice}:\n  " + "\n  ".join(listed)
        )

    def __reduce__(self) -> tuple[type["UnreadableImagesError"], tuple[dict[Path, str], str]]:
        # By default the message would become the reasons.
        return type(self), (self.reasons, self._advice)
