"""Three networks and two optimizers, as in Manickam et al. 2021.

    python examples/studies/manickam2021.py --data chest_xray --out runs/manickam2021

ResNet-50, Inception-v3 and Inception-ResNet-v2, each with Adam (learning rate 1e-4) and SGD
(learning rate 1e-3, momentum 0.9), batches of 16 images (doi:10.1016/j.measurement.2021.109953).
The study segments the lungs with a U-Net first, which is not done here, and does not state its
split; here patients are apart and the original test split is used. The report compares the runs.
``--features`` trains only the heads, on fixed features. ``results.csv`` has the metrics.
"""

from options import parse, read_images, write_rows

from cxrtransfer.config import run_name
from cxrtransfer.report import CITED_STUDIES, write_report
from cxrtransfer.study import RunConfig, load_study, run_study
from cxrtransfer.training import TrainConfig

OPTIMIZERS = {"adam": 1e-4, "sgd": 1e-3}
METRICS = ("accuracy", "precision", "recall", "f1_positive", "auroc")


def main() -> None:
    """Train and test; write the report."""
    models = ["resnet50", "inception_v3", "timm:inception_resnet_v2"]
    options = parse(__doc__, models, epochs=10, fixed_features=True)
    if options.small:
        options.models = ["squeezenet1_1", "resnet18"]
    configs = [
        RunConfig(
            name=f"{run_name(model)}_{optimizer}",
            model=model,
            pretrained=options.pretrained,
            image_size=options.image_size,
            mode="features" if options.features else "finetune",
            training=TrainConfig(
                class_weights=None,
                optimizer=optimizer,
                lr=lr,
                weight_decay=0.0,
                schedule="constant",
                batch_size=16,
                epochs=options.epochs,
                seed=options.seed,
            ),
        )
        for model in options.models
        for optimizer, lr in OPTIMIZERS.items()
    ]
    run_study(
        configs,
        read_images(options),
        options.out,
        title="Networks and optimizers of Manickam et al. 2021",
        device=options.device,
        cache=options.out / "cache",
        metrics_only=options.small,
    )
    study = load_study(options.out)
    rows = [
        {"run": run.name, **{name: str(study.tests[run.name][name]) for name in METRICS}}
        for run in study.runs
    ]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    write_rows(rows, options.out / "results.csv")
    print(f"published: accuracy {CITED_STUDIES['manickam2021'].metrics['accuracy']}")
    print(write_report(options.out).resolve())


if __name__ == "__main__":
    main()
