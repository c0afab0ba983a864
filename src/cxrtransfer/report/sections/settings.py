"""Settings of the runs, software versions and the digest of the data."""

from cxrtransfer.report.names import network_label, run_label
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.published import protocol_of
from cxrtransfer.study import RunResult, StudyResults


def settings_section(study: StudyResults) -> Section:
    """Tabulate the settings that differ between the runs, and those that all runs share."""
    rows = [_settings(run) for run in study.runs]
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


def versions_section(study: StudyResults) -> Section:
    """List the versions of the software, and the digest that identifies data and split."""
    manifest = study.chosen.manifest
    points = [f"{name} {version}" for name, version in manifest.versions.items()]
    return Section(
        "Software versions and data digest",
        points=[*points, f"digest of data and split: {manifest.data_digest}"],
    )
