"""Callbacks around a whole training, and those of MLflow and Weights & Biases."""

from dataclasses import asdict

import pytest

from cxrtransfer.errors import MissingExtraError
from cxrtransfer.training import MLflow, WandB, WeightedTrainer


class Recorder:
    """Notes every call."""

    def __init__(self, fails_in_epoch=None):
        self.calls, self.fails_in_epoch = [], fails_in_epoch

    def on_fit_start(self, hyperparameters):
        self.calls.append(("start", hyperparameters))

    def on_epoch_end(self, row):
        self.calls.append(("epoch", row["epoch"]))
        if row["epoch"] == self.fails_in_epoch:
            raise RuntimeError("full disk")

    def on_fit_end(self, history):
        self.calls.append(("end", history))


def _trainer(network, *callbacks, **options):
    return WeightedTrainer(
        network, device="cpu", progress=False, callbacks=callbacks, **{"epochs": 2, **options}
    )


def test_a_callback_sees_the_settings_every_epoch_and_the_history(network, data):
    recorder = Recorder()
    trainer = _trainer(network, recorder)
    history = trainer.fit(data, data)

    assert recorder.calls == [
        ("start", asdict(trainer.config)), ("epoch", 1), ("epoch", 2), ("end", history),
    ]  # fmt: skip


def test_a_callback_is_told_of_a_failure(network, data):
    recorder = Recorder(fails_in_epoch=1)
    with pytest.raises(RuntimeError, match="full disk"):
        _trainer(network, recorder).fit(data, data)

    assert recorder.calls[-1] == ("end", None)


def test_mlflow_holds_the_settings_and_every_epoch_and_a_resumed_run_continues(
    network, data, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    uri = (tmp_path / "store").as_uri()

    def fit(*others, **options):
        logger = MLflow("cxr", run_name="first", tracking_uri=uri)
        trainer = _trainer(network, logger, *others, run_dir=tmp_path / "run", epochs=3, **options)
        return trainer.fit(data, data)

    with pytest.raises(RuntimeError, match="full disk"):
        fit(Recorder(fails_in_epoch=2))
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("cxr").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["FAILED"]
    history = fit(Recorder())
    (run,) = client.search_runs([experiment])
    losses = client.get_metric_history(run.info.run_id, "val_loss")

    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["epochs"] == "3"
    assert [(m.step, m.value) for m in losses] == [
        (row["epoch"], row["val_loss"]) for row in history.rows
    ]


def test_wandb_writes_a_finished_offline_run(network, data, tmp_path):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    logger = WandB("cxr", mode="offline", dir=str(tmp_path))
    _trainer(network, logger).fit(data, data)
    wandb.teardown()  # its own process has then written everything

    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert b"val_loss" in file.read_bytes()
    assert logger.state_dict()["run_id"] in file.name


@pytest.mark.parametrize(("logger", "package"), [(MLflow, "mlflow"), (WandB, "wandb")])
def test_a_missing_package_is_named_before_training(monkeypatch, logger, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"cxrtransfer\[{package}\]"):
        logger("cxr")
