"""Commands on a trained network or on predictions: evaluate, explain, embed."""

import argparse
import logging
from pathlib import Path
from typing import Any

from cxrtransfer.files import expand

from .checks import add_device, add_ensemble, check_run, loading, views_of
from .printing import print_json, print_lines
from .source import add_columns, existing, read_source

__all__ = ["add_result_commands"]

_logger = logging.getLogger(__name__)


def add_result_commands(add: Any) -> None:  # noqa: ANN401  (adds a command, given name and help)
    """Add the commands."""
    evaluate = add(
        "evaluate",
        "compute metrics with confidence intervals from a table of predictions",
        "cxrtransfer evaluate predictions.csv --positive PNEUMONIA",
        _evaluate,
    )
    evaluate.add_argument(
        "predictions",
        type=existing,
        help="table (CSV) with columns id, label and one probability per class, such as "
        "predictions_test.csv of a run",
    )
    evaluate.add_argument(
        "--positive", metavar="NAME", help="name of the positive class (default: the second)"
    )
    evaluate.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="X",
        help="decision threshold (default: 0.5)",
    )
    evaluate.add_argument(
        "--patients",
        type=existing,
        metavar="TABLE",
        help="table with columns path and patient_id, for intervals clustered by patient; an "
        "image with an empty cell is treated as a separate patient",
    )
    evaluate.add_argument("--json", action="store_true", help="print the result as JSON")

    explain = add(
        "explain",
        "write Grad-CAM overlays of images",
        "cxrtransfer explain runs/resnet18 new_images --out heatmaps",
        _explain,
    )
    explain.add_argument("run_folder", type=existing, metavar="run", help="folder of one run")
    explain.add_argument("images", type=existing, nargs="+", help="one folder, or files")
    explain.add_argument(
        "--out", type=expand, default=Path("heatmaps"), help="folder to write (default: heatmaps)"
    )
    add_ensemble(explain)

    embed = add(
        "embed",
        "embed the features of labeled images with t-SNE",
        "cxrtransfer embed runs/resnet18 other_hospital --out embedding.csv",
        _embed,
    )
    embed.add_argument("run_folder", type=existing, metavar="run", help="folder of one run")
    embed.add_argument("data", type=existing, help="folder of images or table, as for train")
    embed.add_argument(
        "--out",
        type=expand,
        default=Path("embedding.csv"),
        help="table of coordinates to write (default: embedding.csv)",
    )
    embed.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of t-SNE (default: 0)"
    )
    add_columns(embed)
    for command in (explain, embed):
        add_device(command)


def _evaluate(options: argparse.Namespace) -> None:
    from dataclasses import asdict, replace  # noqa: PLC0415

    from cxrtransfer.evaluation import Predictions, evaluate  # noqa: PLC0415

    predictions = Predictions.from_csv(options.predictions)
    names = predictions.class_names
    if options.positive is not None:
        if options.positive not in names:
            raise ValueError(
                f"--positive must be one of the classes {', '.join(names)}, "
                f"got {options.positive!r}"
            )
        predictions = replace(predictions, positive_index=names.index(options.positive))
    patients = None
    if options.patients is not None:
        from cxrtransfer.files import read_table  # noqa: PLC0415

        header, rows = read_table(options.patients)
        if not {"path", "patient_id"} <= set(header):
            raise ValueError(
                f"{options.patients} must have columns path and patient_id, got {list(header)}"
            )
        path, patient = header.index("path"), header.index("patient_id")
        patient_of = {row[path]: row[patient].strip() or row[path] for row in rows}
        unknown = [name for name in predictions.ids if name not in patient_of]
        if unknown:
            raise ValueError(
                f"{options.patients} must have every image of {options.predictions}, "
                f"but lacks {len(unknown)}, e.g. {unknown[0]!r}"
            )
        patients = [patient_of[name] for name in predictions.ids]
    result = evaluate(predictions, patients=patients, threshold=options.threshold)
    if options.json:
        values = {name: asdict(item) for name, item in result.estimates().items()}
        print_json({"positive": names[predictions.positive_index], "metrics": values})
    else:
        print_lines(result)


def _explain(options: argparse.Namespace) -> None:
    for run in (options.run_folder, *options.others):
        check_run(run)
    loading()
    from cxrtransfer.deploy import load_classifier, predict_files  # noqa: PLC0415

    images = options.images
    predict_files(
        load_classifier(
            options.run_folder,
            others=options.others,
            views=views_of(options.views),
            source=options.source,
        ),
        images[0] if len(images) == 1 and images[0].is_dir() else images,
        out=options.out / "predictions.csv",
        heatmaps=options.out,
        device=options.device,
    )
    print_lines(options.out.resolve())


def _embed(options: argparse.Namespace) -> None:
    if options.out.exists():
        raise FileExistsError(f"{options.out} exists; choose another --out")
    check_run(options.run_folder)
    loading()
    from dataclasses import replace  # noqa: PLC0415

    from cxrtransfer.data import StratifiedResplit  # noqa: PLC0415
    from cxrtransfer.embedding import embed_tsne  # noqa: PLC0415
    from cxrtransfer.files import write_table  # noqa: PLC0415
    from cxrtransfer.inference import extract_features  # noqa: PLC0415
    from cxrtransfer.models import input_spec  # noqa: PLC0415
    from cxrtransfer.study import load_network, load_run  # noqa: PLC0415

    run = load_run(options.run_folder)
    records = read_source(options)
    records = replace(records, rows=tuple(replace(row, split="test") for row in records))
    model = load_network(run)
    data = StratifiedResplit(records, "test", val_fraction=0.0, input_spec=input_spec(model))
    _logger.info("features of %d images", len(data))
    features = extract_features(model, data, device=options.device)
    perplexity = min(30.0, (len(features) - 1) / 3)
    embedding = embed_tsne(features, perplexity=perplexity, seed=options.seed)
    rows = [
        (name, records.class_names[label], f"{x:.6g}", f"{y:.6g}")
        for name, label, (x, y) in zip(
            data.records.ids, data.records.labels, embedding.coordinates.tolist(), strict=True
        )
    ]
    write_table(options.out, ("id", "label", "x", "y"), rows)
    print_lines(options.out.resolve())
