"""Scheduling: runs one after the other, or several at once."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from cxrtransfer.errors import MissingExtraError, NonFiniteLossError, UnreadableImagesError

from .plan import Plan
from .progress import StudyBar

__all__ = ["run_all"]

_logger = logging.getLogger(__name__)

_EXPLAINED = (OSError, ValueError, MemoryError, MissingExtraError, NonFiniteLossError)

# Runs seed the generators of their process, so runs in threads must not overlap.
_ONE_AT_A_TIME = threading.Lock()

Run = Callable[[Plan], object]


def run_all(
    plans: Sequence[Plan],
    bar: StudyBar,
    *,
    here: Run,
    there: Run,
    n_jobs: int | None,
    together: bool = False,
) -> dict[str, str]:
    """Perform every run, in this process or on the workers of joblib's backend.

    A run that fails leaves the others.

    Args:
        plans: The runs.
        bar: Progress bar.
        here: Performs a run in this process.
        there: Performs a run in another process, maybe on another machine; must be picklable.
        n_jobs: Number of simultaneous runs, as in scikit-learn: -1 for one per core, None for
            one unless ``joblib.parallel_config`` is active.
        together: Whether several processes train each run together; the first failure then ends
            all runs, because the other processes would wait.

    Returns:
        Error of each run that failed, by its name. The others are complete.

    Raises:
        UnreadableImagesError: As soon as a run raises it, because all would.
    """
    if together:
        for plan in plans:
            bar.begin(plan.config.name)
            here(plan)
        return {}
    outcomes: Iterable[tuple[str, str | None]]
    if effective_n_jobs(n_jobs) == 1:
        outcomes = _one_by_one(plans, bar, here)
    else:
        jobs = (delayed(_attempt)(there, plan) for plan in plans)
        backend, _ = get_active_backend()
        # Ray's backend can only return all outcomes at the end.
        return_as = "generator_unordered" if backend.supports_return_generator else "list"
        outcomes = Parallel(n_jobs=n_jobs, return_as=return_as)(jobs)
    failures = {}
    for name, failure in outcomes:
        bar.end(name, failed=failure is not None)
        if failure is not None:
            failures[name] = failure
    return failures


def _one_by_one(
    plans: Sequence[Plan], bar: StudyBar, run: Run
) -> Iterator[tuple[str, str | None]]:
    for plan in plans:
        bar.begin(plan.config.name)
        yield _attempt(run, plan)


def _attempt(run: Run, plan: Plan) -> tuple[str, str | None]:
    """Perform a run; return its name and its error, if any."""
    name = plan.config.name
    try:
        with _ONE_AT_A_TIME:
            run(plan)
    except UnreadableImagesError:
        raise
    except _EXPLAINED as error:  # the message is enough; a traceback would hide it
        _logger.error("run %r failed: %s", name, error)  # noqa: TRY400  (no traceback)
        return name, f"{type(error).__name__}: {error}"
    except Exception as error:
        _logger.exception("run %r failed", name)
        return name, f"{type(error).__name__}: {error}"
    return name, None
