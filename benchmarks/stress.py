"""Stress tests of two trained networks: without augmentation and with strong augmentation.

    python benchmarks/stress.py --data chest_xray --weights weights --out docs/_output \
        --ledger docs/results/test-openings.csv

Trains SqueezeNet 1.1 by the recipes "plain" and "strong" of ``benchmarks/recipe_runs.py``, with
fewer epochs, and tests up to 400 validation and 400 test images after each change. Writes
``stress.csv``; an asterisk marks what suggests a shortcut.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import recipe_runs as runs
from recipe_runs import Candidate, Images, Workplace
from recipe_tables import write_csv

from cxrtransfer.evaluation import compute_metrics, record_test_opening
from cxrtransfer.explain import compare_stressed, predict_stressed
from cxrtransfer.inference import predict
from cxrtransfer.models import input_spec

RECIPES = ("plain", "strong")
SPLITS = {"val": "validation", "test": "test"}
MAX_IMAGES = 400


def main() -> None:
    """Train, test and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--weights", type=Path, default=os.environ.get("CXRTRANSFER_WEIGHTS"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True, help="folder of pixels and weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    os.environ["CXRTRANSFER_WEIGHTS"] = str(options.weights)
    work = Workplace(
        data=options.data,
        out=options.scratch / "results",
        scratch=options.scratch,
        device=options.device,
        epochs=options.epochs,
    )
    for folder in ("runs", "predictions"):
        (work.out / folder).mkdir(parents=True, exist_ok=True)
    for group in ("fit", "test"):
        runs.prepare(work, group)
    rows: dict[str, dict[str, str]] = {}
    for recipe in RECIPES:
        candidate = Candidate(recipe, "squeezenet1_1")
        print(runs.train(work, candidate), flush=True)
        for split, name in SPLITS.items():
            tests = stressed(work, candidate, split, options.ledger)
            for change, text in tests.items():
                row = rows.setdefault(change, {"Change": change})
                row[f"{recipe}, {name}"] = text
            print(recipe, split, tests, flush=True)
    write_csv(options.out / "stress.csv", list(rows.values()))


def stressed(work: Workplace, candidate: Candidate, split: str, ledger: Path) -> dict[str, str]:
    """Return the AUROC after each change, with an asterisk if it suggests a shortcut."""
    model = runs.trained_model(work, candidate)
    data = few(runs.images_of(work, split, input_spec(model)))
    plain = predict(model, data, device=work.device)
    changed = predict_stressed(model, data)
    if split == "test":
        record_test_opening(ledger, plain.ids, run=candidate.name, purpose="stress tests")
    results = compare_stressed(plain, changed, patients=data.records.patient_ids)
    marked = {r.name: f"{r.auroc.value:.3f}{' *' * r.suggests_shortcut}" for r in results}
    return {"unchanged": f"{compute_metrics(plain)['auroc']:.3f}", **marked}


def few(data: Images) -> Images:
    """Return up to 400 images, drawn at random with a fixed seed."""
    drawn = np.sort(np.random.default_rng(0).permutation(len(data))[:MAX_IMAGES])
    return data.take(drawn)


if __name__ == "__main__":
    main()
