"""Learning rate, weight decay and batch size chosen by cross-validation, then one test.

    python examples/studies/search.py --data chest_xray --out runs/search

Ten combinations, drawn at random, are each trained in five folds of the images outside the test
split; no patient is in two folds. ``search.csv`` has every trial. The best is trained once on the
usual split and tested once.
"""

from dataclasses import replace

from options import parse, read_images

from cxrtransfer.config import run_name
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, run_study, search_settings
from cxrtransfer.training import TrainConfig

SPACE = {
    "lr": [1e-5, 3e-5, 1e-4, 3e-4, 1e-3],
    "weight_decay": [0.0, 0.01, 0.1],
    "batch_size": [16, 32, 64],
}


def main() -> None:
    """Search, then train and test the chosen settings."""
    options = parse(__doc__, ["resnet50"], epochs=5)
    if options.small:
        options.models = ["squeezenet1_1"]
    records = read_images(options)
    for model in options.models:
        config = RunConfig(
            name=f"{run_name(model)}_chosen",
            model=model,
            pretrained=options.pretrained,
            image_size=options.image_size,
            training=TrainConfig(epochs=options.epochs, seed=options.seed),
        )
        trials = search_settings(
            config,
            SPACE,
            records,
            options.out / "search" / run_name(model),
            num_folds=2 if options.small else 5,
            num_trials=3 if options.small else 10,
            device=options.device,
            cache=options.out / "cache",
        )
        best = trials[0]
        print(f"{model}: {len(trials)} trials, AUROC of the best {best.mean:.3f}, {best.settings}")
        (run,) = run_study(
            [replace(best.config, name=config.name)],
            records,
            options.out / run_name(model),
            title=f"{model} with settings chosen by cross-validation",
            device=options.device,
            cache=options.out / "cache",
            metrics_only=options.small,
        )
        print(f"{run.name}: test AUROC {run.test_metrics['auroc']:.3f}")
        print(write_report(options.out / run_name(model)).resolve())


if __name__ == "__main__":
    main()
