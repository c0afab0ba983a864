"""Settings of the runs, software versions and the digest of the data."""

from collections.abc import Sequence
from typing import Any

from cxrtransfer.config import RunConfig
from cxrtransfer.report.names import network_label, run_label
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.published import protocol_of
from cxrtransfer.study import RunResult, StudyResults

_SHOWN = {
    "name", "model", "pretrained", "image_size", "group_by", "augment", "class_weights", "lr",
    "weight_decay", "batch_size", "epochs", "early_stopping", "select", "loss_normalization",
    "seed",
}  # fmt: skip


def settings_section(study: StudyResults) -> Section:
    """Tabulate the settings that differ between the runs, and those that all runs share."""
    rows = [
        _settings(run) | others
        for run, others in zip(study.runs, _other_settings(study.runs), strict=True)
    ]
    shared = {
        name: text for name, text in rows[0].items() if all(row[name] == text for row in rows)
    }
    tables = [
        Table(
            name="settings",
            rows=[{"Setting": name, "Value": text} for name, text in shared.items()],
        )
    ]
    if len(rows) > 1:
        differing = [
            {name: text for name, text in row.items() if name not in shared} for row in rows
        ]
        tables.insert(0, Table(name="settings_by_run", rows=differing))
    return Section("Settings", tables=tables)


def _settings(run: RunResult) -> dict[str, str]:
    config, training = run.config, run.config.training
    weights = config.to_dict()["training"]["class_weights"]
    patience = f" (patience {training.early_stopping})" if training.early_stopping else ""
    return {
        "Run": run_label(run),
        "Folder": run.name,
        "Network": network_label(config.model),
        "Initial weights": "pretrained" if config.pretrained else "random",
        "Input": f"{run.manifest.input.size} px",
        "Class weights": str(weights or "none"),
        "Learning rate": f"{training.lr:g}",
        "Weight decay": f"{training.weight_decay:g}",
        "Batch size": str(training.batch_size),
        "Epochs": f"{len(run.rows)} of {training.epochs}{patience}",
        "Tested epoch": f"{run.tested_epoch} ({training.select})",
        "Split": run.split_unit,
        "Loss normalization": f"by {training.loss_normalization}",
        "Augmentation": config.augment,
        "Protocol": protocol_of(config),
        "Seed": str(training.seed),
        "Minutes": f"{run.seconds / 60:.1f}",
    }


def _other_settings(runs: Sequence[RunResult]) -> list[dict[str, str]]:
    """Return those of the remaining settings that are not the default of every run."""
    flat = [_flat(run.config) for run in runs]
    default = _flat(RunConfig(name="default", model="default"))
    names = [
        name
        for name, value in default.items()
        if name not in _SHOWN and any(settings[name] != value for settings in flat)
    ]
    return [
        {name.replace("_", " ").capitalize(): str(settings[name]) for name in names}
        for settings in flat
    ]


def _flat(config: RunConfig) -> dict[str, Any]:
    settings = config.to_dict()
    training: dict[str, Any] = settings.pop("training")
    return settings | training


def versions_section(study: StudyResults) -> Section:
    """List the versions of the software, and the digest that identifies data and split."""
    manifest = study.chosen.manifest
    points = [f"{name} {version}" for name, version in manifest.versions.items()]
    return Section(
        "Software versions and data digest",
        points=[*points, f"digest of data and split: {manifest.data_digest}"],
    )
