"""Table of the stress tests of one or more runs.

    cxrtransfer train chest_xray --models squeezenet1_1 mobilenet_v2 --epochs 3 --out runs/mine
    python benchmarks/stress.py runs/mine/squeezenet1_1 --out docs/_output

Writes ``stress.csv``: AUROC on up to 400 validation and 400 test images after each change. An
asterisk marks what suggests a shortcut.
"""

import argparse
import csv
from pathlib import Path

from cxrtransfer.evaluation import compute_metrics
from cxrtransfer.explain import compare_stressed
from cxrtransfer.study import RunResult, load_run

SPLITS = {"val": "validation", "test": "test"}


def rows_of(runs: list[RunResult]) -> list[dict[str, str]]:
    """Return one row per change, with a column for each run and split."""
    rows: dict[str, dict[str, str]] = {}
    for run in runs:
        patient_of = run.patients()
        for split, predictions in (run.stress() or {}).items():
            changed = dict(predictions)
            plain = changed.pop("unchanged")
            results = compare_stressed(
                plain, changed, patients=[patient_of[name] for name in plain.ids]
            )
            cells = {"unchanged": f"{compute_metrics(plain)['auroc']:.3f}"}
            for r in results:
                interval = f"{r.auroc.low:.3f} to {r.auroc.high:.3f}"
                mark = " *" if r.suggests_shortcut else ""
                cells[r.name] = f"{r.auroc.value:.3f} ({interval}){mark}"
            for change, text in cells.items():
                row = rows.setdefault(change, {"Change": change})
                row[f"{run.manifest.config.model}, {SPLITS[split]}"] = text
    return list(rows.values())


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = rows_of([load_run(path) for path in options.runs])
    with (options.out / "stress.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
