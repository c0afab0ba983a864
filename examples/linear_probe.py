"""Linear probing: choose a backbone on the validation split, then test it.

    python examples/linear_probe.py --data chest_xray --models squeezenet1_1 mobilenet_v2

Only the head is trained: the features of each image are computed once and reused in all epochs.
Without ``--data``, the script runs in seconds on synthetic radiographs from random initialization,
which checks the installation but says nothing about patients.
"""

import argparse
import tempfile
import time
from pathlib import Path

from cxrtransfer.data import StratifiedResplit, draw_radiographs
from cxrtransfer.evaluation import evaluate
from cxrtransfer.models import build_finetune_model, input_spec
from cxrtransfer.training import WeightedTrainer

# %% Options.
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument(
    "--data", type=Path, help="folder with train, val and test (default: synthetic)"
)
parser.add_argument("--models", nargs="+", default=["squeezenet1_1", "resnet18"])
parser.add_argument("--epochs", type=int, default=50)
arguments = parser.parse_args()

# %% The images.
synthetic = tempfile.TemporaryDirectory()
if arguments.data is None:
    draw_radiographs(synthetic.name, num_images=200, size=64)
source = arguments.data or Path(synthetic.name)

# %% Train a probe for each network and record its validation AUROC.
print(f"{'Network':24}{'Features':>9}{'Seconds':>9}{'Epochs':>8}{'Validation AUROC':>18}")
probes = []
for name in arguments.models:
    model = build_finetune_model(
        name,
        mode="features",
        pretrained=arguments.data is not None,
        image_size=64 if arguments.data is None else None,
    )
    spec = input_spec(model)
    train = StratifiedResplit(source, "train", input_spec=spec)
    val = StratifiedResplit(source, "val", input_spec=spec)
    trainer = WeightedTrainer(
        model,
        class_weights="balanced",
        lr=1e-3,
        weight_decay=0.0,
        schedule="constant",
        batch_size=64,
        epochs=arguments.epochs,
        early_stopping=10,
        monitor="val_auroc",
        progress=False,
    )
    started = time.perf_counter()
    history = trainer.fit(train, val)
    seconds = time.perf_counter() - started
    best = history.rows[history.best_epoch - 1]["val_auroc"]
    num_features = trainer.features(val).shape[1]
    print(f"{name:24}{num_features:9}{seconds:9.1f}{len(history.rows):8}{best:18.3f}", flush=True)
    probes.append((best, name, trainer, spec))

# %% Only the chosen network is tested.
_, name, trainer, spec = max(probes, key=lambda probe: probe[0])
test = StratifiedResplit(source, "test", input_spec=spec)
print(f"\n{name}, chosen on validation, on {len(test)} test images:")
print(evaluate(trainer.predict(test), patients=test.records.patient_ids))
synthetic.cleanup()
