"""Write the tables and pictures of the documentation and the README from finished real studies.

    cxrtransfer train chest_xray --models squeezenet1_1 mobilenet_v2 --epochs 3 --out runs/mine
    python examples/paper/study.py --data chest_xray --models squeezenet1_1 mobilenet_v2 \
        --epochs 2 --out runs/paper
    python docs/measured.py --mine runs/mine --paper runs/paper

Either study may be left out. The picture of the report needs Chromium or Chrome. ``chest_xray`` is
the folder of the Kermany images (CC BY 4.0), and ``CXRTRANSFER_WEIGHTS`` that of the weight files.
The table of the README lies between two comments, which stay.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from cxrtransfer.evaluation import (
    Predictions,
    adjust_priors,
    compute_metrics,
    estimate_priors,
    evaluate,
    fit_platt,
    null_calibration_error,
    threshold_for_max_f1,
    threshold_for_youden,
    weighted_priors,
)
from cxrtransfer.plots import plot_overlay
from cxrtransfer.report import PUBLISHED
from cxrtransfer.study import RunResult, StudyResults, load_study

OUTPUT = Path(__file__).parent / "_output"
IMAGES = Path(__file__).parent / "_static"
README = Path(__file__).parent.parent / "README.md"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
METRICS = {
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "f1_macro": "Macro F1",
    "recall": "Sensitivity",
    "specificity": "Specificity",
}
NAMES = {
    "googlenet": "GoogLeNet",
    "resnet50": "ResNet-50",
    "densenet121": "DenseNet-121",
    "squeezenet1_1": "SqueezeNet 1.1",
    "mobilenet_v2": "MobileNetV2",
}


def main() -> None:
    """Write everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mine", type=Path, help="study with the library's defaults")
    parser.add_argument("--paper", type=Path, help="study with the paper's settings")
    options = parser.parse_args()
    if options.mine:
        mine = load_study(options.mine)
        write_mine(mine)
        write_validation(mine)
        write_overlay(mine)
        write_screenshot(mine.folder.report)
    if options.paper:
        write_paper(load_study(options.paper))
    write_readme_output()


def rows_of(study: StudyResults) -> Iterable[tuple[RunResult, dict[str, str]]]:
    """Yield each run with its test metrics, as text with the 95% confidence interval."""
    for run in study.runs:
        evaluation = evaluate(run.test, patients=[study.patient_of[name] for name in run.test.ids])
        values = {
            label: "{0.value:.3f} ({0.low:.3f}\N{EN DASH}{0.high:.3f})".format(evaluation[name])
            for name, label in METRICS.items()
        }
        yield run, values


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_mine(study: StudyResults) -> None:
    """Write the results with the library's defaults, for the documentation and the README."""
    rows = [{"Network": NAMES[run.config.model], **values} for run, values in rows_of(study)]
    write_csv(OUTPUT / "defaults.csv", rows)
    numbers = {
        run.config.model: {name: run.test_metrics[name] for name in METRICS} for run in study.runs
    }
    (OUTPUT / "defaults.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(row.values()) + " |" for row in rows]
    insert("results", "\n".join(lines))


def insert(mark: str, text: str) -> None:
    """Insert text between two comments of the README."""
    readme = re.sub(
        rf"(<!-- {mark} -->\n).*?(\n<!-- end of {mark} -->)",
        lambda match: match[1] + text + match[2],
        README.read_text(encoding="utf-8").replace(
            f"-->\n<!-- end of {mark}", f"-->\n\n<!-- end of {mark}"
        ),
        flags=re.DOTALL,
    )
    README.write_text(readme, encoding="utf-8")


def write_readme_output() -> None:
    """Run the Python code of the README and insert what it prints."""
    code = README.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603  (the code of our README)
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
        )
    insert("output", f"```text\n{done.stdout.strip()}\n```")


def write_validation(study: StudyResults) -> None:
    """Write how the run chosen on validation performs there and on test."""
    run = study.chosen
    evaluations = {
        "Validation": evaluate(run.val, patients=[study.patient_of[name] for name in run.val.ids]),
        "Test": evaluate(run.test, patients=[study.patient_of[name] for name in run.test.ids]),
    }
    prevalences = {"Validation": prevalence(run.val), "Test": prevalence(run.test)}
    rows = [
        {
            "Metric (95% CI)": "Prevalence of pneumonia",
            **{name: f"{value:.1%}" for name, value in prevalences.items()},
        }
    ]
    rows += [
        {
            "Metric (95% CI)": METRICS[metric],
            **{
                name: "{0.value:.3f} ({0.low:.3f}\N{EN DASH}{0.high:.3f})".format(each[metric])
                for name, each in evaluations.items()
            },
        }
        for metric in ("auroc", "accuracy", "recall", "specificity")
    ]
    write_csv(OUTPUT / "validation-and-test.csv", rows)
    numbers = {
        "model": NAMES[run.config.model],
        "val": compute_metrics(run.val),
        "test": compute_metrics(run.test),
        **thresholds(run.val, run.test),
        **recalibration(run.val, run.test),
    }
    path = OUTPUT / "validation-and-test.json"
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def prevalence(predictions: Predictions) -> float:
    """Return the fraction of positive images."""
    return float((predictions.labels == predictions.positive_index).mean())


def thresholds(val: Predictions, test: Predictions) -> dict[str, object]:
    """Return the thresholds chosen on validation and their accuracy on test."""
    positive = test.labels == test.positive_index
    points = {"youden": threshold_for_youden(val), "f1": threshold_for_max_f1(val)}
    return {
        name: {
            "threshold": point.threshold,
            "accuracy": float(((test.scores >= point.threshold) == positive).mean()),
        }
        for name, point in points.items()
    }


def recalibration(val: Predictions, test: Predictions) -> dict[str, object]:
    """Return what Platt scaling on validation and the estimated prevalence give on test."""
    scaled = fit_platt(val).apply(test)
    trained_on = weighted_priors(val.labels, num_classes=2)
    estimated = estimate_priors(scaled, trained_on=trained_on).priors
    true = prevalence(test)

    def accuracy(expected: tuple[float, ...]) -> float:
        adjusted = adjust_priors(scaled, trained_on=trained_on, expected=expected)
        return compute_metrics(adjusted)["accuracy"]

    return {
        "platt": {
            "ece": compute_metrics(scaled)["ece"],
            "null": null_calibration_error(scaled),
            "accuracy": compute_metrics(scaled)["accuracy"],
        },
        "prevalence": {
            "true": true,
            "estimated": estimated[test.positive_index],
            "accuracy_true": accuracy((1 - true, true)),
            "accuracy_estimated": accuracy(estimated),
        },
    }


def write_paper(study: StudyResults) -> None:
    """Write the paper's results, and beside them those of the same settings here."""
    rows = []
    for result in PUBLISHED:
        values = {"accuracy": result.accuracy, "f1_macro": result.f1_macro, "auroc": result.auroc}
        rows.append(
            {
                "Source": "paper",
                "Network": NAMES[result.model],
                "Class weights": "[100, 1]" if result.weighted else "none",
                "Epochs": "early stopping" if result.early_stopping else "10",
                **{
                    METRICS[name]: "" if values[name] is None else f"{values[name]:.3f}"
                    for name in ("auroc", "accuracy", "f1_macro")
                },
            }
        )
    for run, values in rows_of(study):
        training = run.config.training
        rows.append(
            {
                "Source": "here",
                "Network": NAMES[run.config.model],
                "Class weights": "none" if training.class_weights is None else "[100, 1]",
                "Epochs": str(training.epochs),
                **{
                    METRICS[name]: values[METRICS[name]]
                    for name in ("auroc", "accuracy", "f1_macro")
                },
            }
        )
    write_csv(OUTPUT / "paper.csv", rows)


def write_overlay(study: StudyResults) -> None:
    """Draw radiographs of the test split beside their overlays."""
    run = study.chosen
    examples = run.examples() or ()
    best = {example.cell: example for example in reversed(examples) if example.rule == "confident"}
    shown = [best[cell] for cell in ("TP", "FP") if cell in best]
    figure = Figure(figsize=(9.2, 2.7), dpi=100, layout="constrained")
    axes = figure.subplots(1, 2 * len(shown))
    titles = {"TP": "Pneumonia, predicted pneumonia", "FP": "Normal, predicted pneumonia"}
    for column, example in enumerate(shown):
        axes[2 * column].imshow(example.image, cmap="gray", vmin=0, vmax=255)
        axes[2 * column].set_axis_off()
        axes[2 * column].set_title(titles[example.cell], loc="left", fontsize=9)
        plot_overlay(example.image, example.heatmap, ax=axes[2 * column + 1])
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / "overlay.jpg", pil_kwargs={"quality": 80})


def write_screenshot(report: Path) -> None:
    """Take a picture of the beginning of a report with a headless browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no picture of the report: none of {', '.join(BROWSERS)} is installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "report.png")
        subprocess.run(  # noqa: S603  (a program that we name)
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--no-first-run",
                f"--user-data-dir={folder}/profile",
                f"--screenshot={picture}",
                "--hide-scrollbars",
                "--window-size=1280,1560",
                report.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(picture) as image:
            image.convert("RGB").resize((960, 1170), Image.Resampling.LANCZOS).save(
                IMAGES / "report.jpg", quality=80
            )


if __name__ == "__main__":
    main()
