"""Size, speed and agreement of exported classifiers, beside torch.

Each network is built with random initialization, its head is trained on drawn radiographs, and
threshold and recalibration are chosen on validation. The ONNX graph, from pixels to calibrated
probabilities, is then run on all validation images and compared with torch.

    python benchmarks/onnx_speed.py > docs/_output/onnx-speed.txt
"""

import argparse
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from cxrtransfer.data import StratifiedResplit, draw_radiographs
from cxrtransfer.deploy import Classifier, export_model
from cxrtransfer.inference import predict
from cxrtransfer.models import build_finetune_model, input_spec
from cxrtransfer.training import WeightedTrainer

NETWORKS = (
    "googlenet",
    "resnet50",
    "densenet121",
    "mobilenet_v2",
    "tf_efficientnetv2_b0",
    "vit_tiny_patch16_224",
    "swin_t",
)
HEADER = (
    f"{'network':<22}{'torch MB':>9}{'ONNX MB':>9}{'torch ms':>10}{'ONNX ms':>9}"
    f"{'max difference':>16}{'other decisions':>17}"
)


def main() -> None:
    """Print one row per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=80)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, "
        f"{platform.machine()}, CPU time of one thread, batches of 8"
    )
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "drawn"
        draw_radiographs(source, num_images=options.images)
        for name in options.networks:
            print(row(name, source, Path(folder)), flush=True)


def row(name: str, source: Path, folder: Path) -> str:
    """Train the head, export, compare."""
    torch.manual_seed(0)
    model = build_finetune_model(name, pretrained=False, mode="features")
    spec = input_spec(model)
    train, val = (
        StratifiedResplit(source, split, val_fraction=0.3, input_spec=spec)
        for split in ("train", "val")
    )
    trainer = WeightedTrainer(
        model, epochs=10, lr=1e-3, device="cpu", precision="fp32", progress=False
    )
    trainer.fit(train, val)
    classifier = Classifier.from_model(
        model, class_names=val.class_names, val=trainer.predict(val)
    )
    path = export_model(classifier, folder / f"{name}.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pixels = val.pixels(list(range(len(val))))
    exported = np.concatenate(
        [session.run(None, {"image": part.numpy()})[0] for part in pixels.split(8)]
    )
    reference = predict(classifier.network, val, precision="fp32", device="cpu")
    if classifier.calibration is not None:
        reference = classifier.calibration.apply(reference)
    expected = reference.probabilities
    decide = classifier.threshold.threshold
    positive = classifier.positive_index
    others = (exported[:, positive] >= decide) != (expected[:, positive] >= decide)
    batch = pixels[:8]
    to_input, network = val.to_input, classifier.network.eval()
    with torch.inference_mode():
        torch_ms = milliseconds(lambda: network(to_input(batch)))
    onnx_ms = milliseconds(lambda: session.run(None, {"image": batch.numpy()}))
    weights = sum(v.numel() * v.element_size() for v in network.state_dict().values())
    return (
        f"{name:<22}{weights / 1e6:>9.1f}{path.stat().st_size / 1e6:>9.1f}{torch_ms:>10.1f}"
        f"{onnx_ms:>9.1f}{np.abs(exported - expected).max():>16.1e}"
        f"{f'{others.sum()} of {len(val)}':>17}"
    )


def milliseconds(run: Callable[[], object], repeats: int = 7) -> float:
    """Return the median CPU time of one image of a batch of eight; one thread computes."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()  # which other processes hardly change
        run()
        times.append(time.process_time() - start)
    return 1000 * float(np.median(times)) / 8


if __name__ == "__main__":
    main()
