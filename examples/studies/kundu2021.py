"""Ensemble of Kundu et al. 2021, under their protocol and with patients apart.

    python examples/studies/kundu2021.py --data chest_xray --out runs/kundu2021

GoogLeNet, ResNet-18 and DenseNet-121, averaged with weights from the tanh of precision, recall, F1
and AUROC (doi:10.1371/journal.pone.0256630). Two protocols with the same settings (Adam, learning
rate 1e-4, batches of 32 images):

- ``image``: theirs. Five folds of all images, whatever their patient and their original split; the
  weights of the ensemble are computed on the fold that is evaluated.
- ``patient``: five folds of the images outside the original test split, no patient in two folds;
  the weights are computed on the fold, and the ensemble is tested on the original test split.

The difference between the two is the effect of the protocol alone. ``results.csv`` has all rows.
Five epochs instead of their 30 keep it short; ``--epochs 30`` has as many. ``--features`` trains
only the heads, on fixed features, which takes minutes.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from options import parse, read_images, write_rows

from cxrtransfer.config import run_name
from cxrtransfer.data import Records, fold_records
from cxrtransfer.evaluation import (
    Predictions,
    anova_over_folds,
    average,
    compute_metrics,
    kundu_weights,
    mcnemar,
)
from cxrtransfer.report import CITED_STUDIES
from cxrtransfer.study import RunConfig, run_experiment
from cxrtransfer.training import TrainConfig

NUM_FOLDS = 5
METRICS = ("accuracy", "recall", "specificity", "f1_positive", "auroc")


def main() -> None:
    """Run both protocols, test the members against the ensemble, write the table."""
    options = parse(
        __doc__, ["googlenet", "resnet18", "densenet121"], epochs=5, fixed_features=True
    )
    if options.small:
        options.models = ["squeezenet1_1", "resnet18"]
    records = read_images(options)
    num_folds = 2 if options.small else NUM_FOLDS
    rows = []
    for protocol in ("image", "patient"):
        scores: dict[str, list[dict[str, float]]] = {}
        p_values: dict[str, list[float]] = {}
        for number, fold in enumerate(folds_of(protocol, records, num_folds)):
            members = [train(protocol, number, model, fold, options) for model in options.models]
            evaluated = [test for _, test in members]
            weighted_on = evaluated if protocol == "image" else [val for val, _ in members]
            ensemble = average(evaluated, ensemble_weights=kundu_weights(weighted_on))
            for name, predictions in zip(
                [*options.models, "ensemble"], [*evaluated, ensemble], strict=True
            ):
                scores.setdefault(name, []).append(compute_metrics(predictions))
                p_values.setdefault(name, []).append(mcnemar(ensemble, predictions).p_mid)
        accuracies = {
            name: [each["accuracy"] for each in folds]
            for name, folds in scores.items()
            if name != "ensemble"
        }
        anova = {
            design: anova_over_folds(accuracies, design=design).p_value
            for design in ("one-way", "repeated")
        }
        for name, folds in scores.items():
            row = {"protocol": protocol, "model": name, "folds": len(folds)}
            for metric in METRICS:
                values = [each[metric] for each in folds]
                row[metric] = round(float(np.mean(values)), 5)
                row[f"{metric}_min"] = round(min(values), 5)
                row[f"{metric}_max"] = round(max(values), 5)
            row["mcnemar_p_median"] = round(float(np.median(p_values[name])), 5)
            row |= {f"anova_{design}_p": round(p, 5) for design, p in anova.items()}
            rows.append(row)
            print(
                f"{protocol:8} {name:14} accuracy {row['accuracy']:.3f} "
                f"({row['accuracy_min']:.3f} to {row['accuracy_max']:.3f}), AUROC "
                f"{row['auroc']:.3f}, McNemar against the ensemble p {row['mcnemar_p_median']:.3f}"
            )
        print(f"{protocol:8} ANOVA over folds: one-way p {anova['one-way']:.3f}, ", end="")
        print(f"repeated measures p {anova['repeated']:.3f}")
    published = CITED_STUDIES["kundu2021"].metrics["accuracy"]
    image, patient = (row["accuracy"] for row in rows if row["model"] == "ensemble")
    print(f"accuracy of the ensemble: published {published}, by image {image:.4f}, by patient on ")
    print(f"the original test split {patient:.4f}; effect of the protocol {image - patient:+.4f}")
    write_rows(rows, options.out / "results.csv")


def folds_of(protocol: str, records: Records, num_folds: int) -> Iterator[Records]:
    """Yield the splits of each fold."""
    if protocol == "patient":
        return fold_records(records, num_folds=num_folds)
    everything = replace(records, rows=tuple(replace(row, split=None) for row in records))
    return fold_records(everything, num_folds=num_folds, group_by=None, held_out="test")


def train(
    protocol: str, number: int, model: str, fold: Records, options: object
) -> tuple[Predictions, Predictions]:
    """Train a member; return its predictions on the validation and on the test split."""
    name = f"{protocol}_fold{number}_{run_name(model)}"
    config = RunConfig(
        name=name,
        model=model,
        pretrained=options.pretrained,
        image_size=options.image_size,
        mode="features" if options.features else "finetune",
        # Their folds have no validation split; the last epoch is used, so a small one is unused.
        val_fraction=0.05 if protocol == "image" else 0.0,
        group_by=None if protocol == "image" else "patient_id",
        training=TrainConfig(
            class_weights=None,
            lr=1e-4,
            weight_decay=0.0,
            optimizer="adam",
            schedule="constant",
            epochs=options.epochs,
            select="last",
            seed=options.seed,
        ),
    )
    run = run_experiment(
        config,
        fold,
        options.out / name,
        device=options.device,
        cache=options.out / "cache",
        metrics_only=True,
    )
    return run.val, run.test


if __name__ == "__main__":
    main()
