"""Classifier on fixed features with occlusion maps, as in Kermany et al. 2018.

    python examples/studies/kermany2018.py --data chest_xray --out runs/kermany2018

Inception-v3 with ImageNet weights is a fixed feature extractor; only the head is trained
(doi:10.1016/j.cell.2018.02.010). Occlusion maps show what the prediction depends on; the report
has them beside the Grad-CAM heatmaps of the same images. The validation split, by patient, selects
the epoch; the original test split is used. ``results.csv`` has the metrics.
"""

from dataclasses import replace

import torch
from options import parse, read_images, write_rows

from cxrtransfer.config import run_name
from cxrtransfer.data import to_model_input
from cxrtransfer.explain import occlusion
from cxrtransfer.models import input_spec
from cxrtransfer.report import CITED_STUDIES, write_report
from cxrtransfer.runtime import resolve_device
from cxrtransfer.study import RunConfig, RunResult, load_network, load_study, run_study
from cxrtransfer.training import TrainConfig

METRICS = ("accuracy", "recall", "specificity", "auroc")


def main() -> None:
    """Train the head, test, occlude; write the report."""
    options = parse(__doc__, ["inception_v3"], epochs=50)
    if options.small:
        options.models = ["squeezenet1_1"]
    configs = [
        RunConfig(
            name=run_name(model),
            model=model,
            pretrained=options.pretrained,
            image_size=options.image_size,
            mode="features",
            training=TrainConfig(
                lr=1e-3,
                weight_decay=0.0,
                schedule="constant",
                batch_size=64,
                epochs=options.epochs,
                early_stopping=10,
                seed=options.seed,
            ),
        )
        for model in options.models
    ]
    run_study(
        configs,
        read_images(options),
        options.out,
        title="Fixed features and occlusion maps, as in Kermany et al. 2018",
        device=options.device,
        cache=options.out / "cache",
    )
    study = load_study(options.out)
    write_occlusion(study.chosen, options.device)
    published = CITED_STUDIES["kermany2018"].metrics
    rows = [
        {"run": run.name, **{name: str(study.tests[run.name][name]) for name in METRICS}}
        for run in study.runs
    ]
    for row in [*rows, {"run": "published", **{name: published[name] for name in METRICS}}]:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    write_rows(rows, options.out / "results.csv")
    print(write_report(options.out).resolve())


def write_occlusion(run: RunResult, device: str) -> None:
    """Compute occlusion maps of the examples of a run and store them in its folder."""
    examples = [one for one in run.examples() or () if one.rule == "confident"]
    if not examples or run.folder.read_occlusion() is not None:
        return
    model = load_network(run).to(resolve_device(device))
    spec = input_spec(model)
    place = {name: index for index, name in enumerate(run.test.ids)}
    pixels = torch.stack([torch.from_numpy(one.image)[None] for one in examples])
    images = to_model_input(spec)(pixels).to(resolve_device(device))
    predicted = [int(run.test.predicted[place[one.id]]) for one in examples]
    maps = occlusion(model, images, predicted).clamp(min=0).cpu()
    maxima = maps.amax(dim=(1, 2), keepdim=True)
    scaled = (maps / maxima.where(maxima > 0, 1.0)).numpy()
    run.folder.write_occlusion(
        tuple(replace(one, heatmap=one_map) for one, one_map in zip(examples, scaled, strict=True))
    )


if __name__ == "__main__":
    main()
