"""Tables of the documentation from the runs that ``examples/paper/measure.py`` has measured.

    python docs/paper_tables.py results/runs.csv --studies runs

Copies the table of runs to ``docs/results/measured`` and writes three tables from it: the two
protocols, what each choice of the paper's protocol is worth, and a repetition with other seeds.
``--studies`` names the folder with the results of ``examples/studies``, one folder per study.
"""

import argparse
import csv
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t as student

from cxrtransfer.evaluation import METRICS as METRIC_LABELS
from cxrtransfer.report.names import network_label

OUT = Path(__file__).parent / "results" / "measured"
METRICS = {
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "f1_macro": "Macro F1",
    "recall": "Sensitivity",
    "specificity": "Specificity",
}
CHOICES = {
    "choices-patients": "split by patient instead of by image",
    "choices-best": "epoch with the lowest validation loss instead of the last",
    "choices-split": "loss normalized over the training split instead of by batch",
    "choices-augment": "light augmentation instead of none",
    "choices-balanced": "balanced class weights instead of [100, 1]",
}
Row = dict[str, str]


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="runs.csv of examples/paper/measure.py")
    parser.add_argument("--studies", type=Path, help="folder of the studies' results")
    options = parser.parse_args()
    path = options.runs
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["error"]]
    OUT.mkdir(exist_ok=True)
    if path.resolve() != (OUT / "runs.csv").resolve():
        shutil.copyfile(path, OUT / "runs.csv")
    write("protocols", protocols(rows))
    write("choices", choices(rows))
    write("repeat", repeat(rows))
    for name in STUDIES if options.studies else ():
        results = options.studies / name / "results.csv"
        if results.is_file():
            with results.open(encoding="utf-8", newline="") as file:
                write(name, STUDIES[name](list(csv.DictReader(file))))


def metric_rows(rows: list[Row]) -> list[Row]:
    """Return the runs of a study with their metrics under display names."""
    return [
        {
            "Run": row["run"],
            **{
                METRIC_LABELS[name].label: value.replace(" to ", "\N{EN DASH}")
                for name, value in row.items()
                if name in METRIC_LABELS
            },
        }
        for row in rows
    ]


def folds(rows: list[Row]) -> list[Row]:
    """Return the mean and the range over folds of the members and the ensemble of Kundu et al."""
    names = ("accuracy", "recall", "specificity", "auroc")
    return [
        {
            "Protocol": f"by {row['protocol']}",
            "Network": row["model"] if row["model"] == "ensemble" else label(row["model"]),
            **{
                METRIC_LABELS[name].label: f"{float(row[name]):.3f} ("
                f"{float(row[f'{name}_min']):.3f}\N{EN DASH}{float(row[f'{name}_max']):.3f})"
                for name in names
            },
        }
        for row in rows
    ]


def protocols(rows: list[Row]) -> list[Row]:
    """Return one row per network, class weights and protocol: mean and range over seeds."""
    table = []
    chosen = [row for row in rows if row["part"] in ("paper", "recommended")]
    for key, runs in grouped(chosen, lambda row: (row["network"], weights(row), row["part"])):
        network, weighting, protocol = key
        table.append(
            {
                "Network": label(network),
                "Class weights": weighting,
                "Protocol": protocol,
                "Seeds": str(len(runs)),
                **{name: over_range(runs, metric) for metric, name in METRICS.items()},
                "AUROC, 95% CI of seed 0": interval(runs[0], "auroc"),
                "Accuracy, 95% CI of seed 0": interval(runs[0], "accuracy"),
            }
        )
    return table


def choices(rows: list[Row]) -> list[Row]:
    """Return one row per choice: the difference from the run of the same network and seed."""
    paper = {
        (row["network"], row["class_weights"], row["seed"]): row
        for row in rows
        if row["part"] == "paper"
    }
    table = []
    changed = [row for row in rows if row["part"] in CHOICES]
    for (network, part), runs in grouped(changed, lambda row: (row["network"], row["part"])):
        pairs = [
            (run, paper[place])
            for run in runs
            if (place := (network, "[100.0, 1.0]", run["seed"])) in paper
        ]
        if not pairs:
            continue
        line = {"Network": label(network), "Change": CHOICES[part], "Seeds": str(len(pairs))}
        for metric in ("auroc", "accuracy", "val_auroc"):
            name = {"val_auroc": "Validation AUROC"}.get(metric) or METRICS[metric]
            values = [float(run[metric]) - float(other[metric]) for run, other in pairs]
            line[f"{name}, change"] = (
                f"{mean(values):+.3f} ({min(values):+.3f} to {max(values):+.3f})"
            )
        table.append(line)
    return table


def repeat(rows: list[Row]) -> list[Row]:
    """Return one row per metric: the same runs with other seeds, against two intervals."""
    again = [row for row in rows if row["part"] == "repeat"]
    if not again:
        return []
    first = [
        row
        for row in rows
        if row["part"] == "paper"
        and (row["network"], row["class_weights"])
        == (again[0]["network"], again[0]["class_weights"])
    ]
    table = []
    for metric, name in METRICS.items():
        old, new = ([float(row[metric]) for row in runs] for runs in (first, again))
        low, high = (
            mean(float(row[f"{metric}_{end}"]) for row in first) for end in ("low", "high")
        )
        line = {
            "Metric": name,
            "Seeds " + ", ".join(row["seed"] for row in first): f"{mean(old):.3f}",
            "95% CI over patients": f"{low:.3f}\N{EN DASH}{high:.3f}",
            "Seeds " + ", ".join(row["seed"] for row in again): f"{mean(new):.3f}",
            "Within": "yes" if low <= mean(new) <= high else "no",
        }
        if len(old) > 1:
            # Of the mean of as many new runs, if only the seed varies.
            half = float(student.ppf(0.975, len(old) - 1)) * stdev(old)
            half *= (1 / len(old) + 1 / len(new)) ** 0.5
            ends = f"{max(0, mean(old) - half):.3f}\N{EN DASH}{min(1, mean(old) + half):.3f}"
            line["95% prediction interval over seeds"] = ends
            line["Within it"] = "yes" if abs(mean(new) - mean(old)) <= half else "no"
        table.append(line)
    return table


def grouped(
    rows: Iterable[Row], key: Callable[[Row], tuple[str, ...]]
) -> Iterable[tuple[tuple[str, ...], list[Row]]]:
    """Return the rows of each key, in the order of their first one."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return sorted(groups.items(), key=lambda item: [*groups].index(item[0]))


def label(network: str) -> str:
    """Return the display name of a network."""
    return {"tf_efficientnetv2_b0": "EfficientNetV2-B0"}.get(network) or network_label(network)


def weights(row: Row) -> str:
    """Return the class weights as in the paper."""
    return row["class_weights"].replace(".0", "")


def over_range(runs: list[Row], metric: str) -> str:
    """Return the mean over runs, and their range."""
    values = [float(run[metric]) for run in runs]
    return f"{mean(values):.3f} ({min(values):.3f}\N{EN DASH}{max(values):.3f})"


def interval(run: Row, metric: str) -> str:
    """Return the confidence interval of a run."""
    return f"{float(run[f'{metric}_low']):.3f}\N{EN DASH}{float(run[f'{metric}_high']):.3f}"


def write(name: str, rows: list[Row]) -> None:
    """Write a table, or remove it if it has no rows."""
    path = OUT / f"{name}.csv"
    if not rows:
        path.unlink(missing_ok=True)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


STUDIES = {"kundu2021": folds, "manickam2021": metric_rows, "kermany2018": metric_rows}

if __name__ == "__main__":
    main()
