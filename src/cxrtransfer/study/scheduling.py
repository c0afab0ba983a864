"""One run after the other, or many at once."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from joblib import Parallel, delayed, effective_n_jobs
from tqdm.auto import tqdm

from cxrtransfer.errors import MissingExtraError, NonFiniteLossError, UnreadableImagesError

from .config import RunConfig

__all__ = ["StudyBar", "run_all"]

_logger = logging.getLogger(__name__)

_EXPLAINED = (OSError, ValueError, MemoryError, MissingExtraError, NonFiniteLossError)

# Runs seed the generators of their process, so those in its threads must go one by one.
_ONE_AT_A_TIME = threading.Lock()

Run = Callable[[RunConfig], object]


def run_all(
    configs: Sequence[RunConfig],
    bar: "StudyBar",
    *,
    here: Run,
    there: Run,
    n_jobs: int | None,
    together: bool = False,
) -> dict[str, str]:
    """Make every run, here or wherever joblib's backend has workers.

    A run that fails does not keep the others from being made.

    Args:
        configs: The runs.
        bar: Told of every run that is over.
        here: Makes a run in this process.
        there: Makes a run in another process, maybe on another machine; it pickles.
        n_jobs: As in scikit-learn: how many at once, -1 for as many as there are cores, None for
            one unless ``joblib.parallel_config`` says otherwise.
        together: Whether several processes make each run together; then a failure in one ends it
            all, because the others would wait for it.

    Returns:
        What went wrong in each run that failed, by its name. The others are complete.

    Raises:
        UnreadableImagesError: As soon as a run meets it, because all would.
    """
    if together:
        for config in configs:
            bar.begin(config.name)
            here(config)
        return {}
    outcomes: Iterable[tuple[str, str | None]]
    if effective_n_jobs(n_jobs) == 1:
        outcomes = _one_by_one(configs, bar, here)
    else:
        jobs = (delayed(_attempt)(there, config) for config in configs)
        outcomes = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs)
    epochs = {config.name: config.training.epochs for config in configs}
    failures, done = {}, 0
    for name, failure in outcomes:
        done += epochs[name]
        bar.end(done)
        if failure is not None:
            failures[name] = failure
    return failures


def _one_by_one(
    configs: Sequence[RunConfig], bar: "StudyBar", run: Run
) -> Iterator[tuple[str, str | None]]:
    for config in configs:
        bar.begin(config.name)
        yield _attempt(run, config)


def _attempt(run: Run, config: RunConfig) -> tuple[str, str | None]:
    """Make a run; return its name and what went wrong."""
    try:
        with _ONE_AT_A_TIME:
            run(config)
    except UnreadableImagesError:
        raise
    except _EXPLAINED as error:  # says what is wrong; a traceback would hide it
        _logger.error("the run %r failed: %s", config.name, error)  # noqa: TRY400
        return config.name, f"{type(error).__name__}: {error}"
    except Exception as error:
        _logger.exception("the run %r failed", config.name)
        return config.name, f"{type(error).__name__}: {error}"
    return config.name, None


class StudyBar:
    """One bar over all epochs of all runs; tqdm estimates the time left.

    Args:
        total_epochs: Of all runs.
        shown: Whether there is a bar at all.
    """

    def __init__(self, total_epochs: int, *, shown: bool) -> None:
        self._bar = tqdm(total=total_epochs, unit="epoch", disable=not shown)

    def begin(self, name: str) -> None:
        """Show which run is under way."""
        self._bar.set_description(name)

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Count an epoch of a run in this process."""
        self._bar.update()
        self._bar.set_postfix(
            val_loss=f"{row['val_loss']:.3f}", val_auroc=f"{row['val_auroc']:.3f}"
        )

    def end(self, epochs: int) -> None:
        """Go on to where so many epochs are over; stopping early and resuming save some."""
        self._bar.update(epochs - int(self._bar.n))

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
