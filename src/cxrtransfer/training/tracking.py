"""Callbacks that send hyperparameters and results to MLflow or Weights & Biases."""

import math
from collections.abc import Mapping
from typing import Any

from cxrtransfer.runtime import current_world, require

from .history import History

__all__ = ["MLflow", "WandB"]


class MLflow:
    """Callback that writes a run of MLflow: hyperparameters, and every column of the history.

    A resumed training continues its run. Under ``torchrun`` only the first process writes.

    Args:
        experiment: Name of the experiment; created if it does not exist.
        run_name: Name of the run; by default MLflow chooses one.
        tracking_uri: Where runs are stored; by default as MLflow is configured.

    Raises:
        MissingExtraError: If the package ``mlflow`` is not installed.
    """

    def __init__(
        self, experiment: str, *, run_name: str | None = None, tracking_uri: str | None = None
    ) -> None:
        self._client: Any = require("mlflow", extra="mlflow").MlflowClient(tracking_uri)
        self._experiment, self._run_name = experiment, run_name
        self._run_id: str | None = None

    def on_fit_start(self, hyperparameters: Mapping[str, Any]) -> None:
        """Create the run, unless it was resumed."""
        if not current_world().is_main:
            self._run_id = None
        elif self._run_id is None:
            self._create_run(hyperparameters)

    def _create_run(self, hyperparameters: Mapping[str, Any]) -> None:
        experiment = self._client.get_experiment_by_name(self._experiment)
        experiment_id = (
            experiment.experiment_id
            if experiment is not None
            else self._client.create_experiment(self._experiment)
        )
        self._run_id = self._client.create_run(experiment_id, run_name=self._run_name).info.run_id
        for name, value in hyperparameters.items():
            self._client.log_param(self._run_id, name, value)

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Write one row."""
        if self._run_id is None:
            return
        for name, value in row.items():
            if name != "epoch" and not math.isnan(value):
                self._client.log_metric(self._run_id, name, value, step=int(row["epoch"]))

    def on_fit_end(self, history: History | None) -> None:
        """Mark the run as finished or failed."""
        if self._run_id is not None:
            self._client.set_terminated(
                self._run_id, status="FINISHED" if history is not None else "FAILED"
            )
            self._run_id = None

    def state_dict(self) -> dict[str, Any]:
        """Return the id of the run."""
        return {"run_id": self._run_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the run of the checkpoint."""
        self._run_id = state["run_id"]


class WandB:
    """Callback that writes a run of Weights & Biases: hyperparameters and every epoch.

    A resumed training continues its run. Under ``torchrun`` only the first process writes.

    Args:
        project: Name of the project.
        **options: Further arguments of ``wandb.init``, such as ``mode="offline"`` or ``name``.

    Raises:
        MissingExtraError: If the package ``wandb`` is not installed.
    """

    def __init__(self, project: str, **options: Any) -> None:  # noqa: ANN401  (wandb's own)
        self._wandb: Any = require("wandb", extra="wandb")
        self._options = {"project": project, **options}
        self._run_id: str | None = options.get("id")
        self._run: Any = None

    def on_fit_start(self, hyperparameters: Mapping[str, Any]) -> None:
        """Start or continue the run."""
        if current_world().is_main:
            options = {"resume": "allow", **self._options, "id": self._run_id}
            self._run = self._wandb.init(config=dict(hyperparameters), **options)
            self._run_id = self._run.id

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        """Write one row."""
        if self._run is not None:
            self._run.log(dict(row), step=int(row["epoch"]))

    def on_fit_end(self, history: History | None) -> None:
        """Finish the run, as failed without a history."""
        if self._run is not None:
            if history is not None:
                self._run.summary["best_epoch"] = history.best_epoch
            self._run.finish(exit_code=0 if history is not None else 1)
            self._run = None

    def state_dict(self) -> dict[str, Any]:
        """Return the id of the run."""
        return {"run_id": self._run_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the run of the checkpoint."""
        self._run_id = state["run_id"]
