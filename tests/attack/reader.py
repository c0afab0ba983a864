"""Read files that may be damaged, one per line of standard input, and print what came of each.

A line holds a target and a path, separated by a tab; the answer is one line of JSON with either
the digest of what was read, or the error. Run in a process of its own, so that a crash or a hang
ends this process and not the tests.
"""

import hashlib
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from cxrtransfer.data import Records, decode_images, unpack_medmnist
from cxrtransfer.data.sources.download import unzip
from cxrtransfer.deploy import Classifier
from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.evaluation import Predictions
from cxrtransfer.models.weights import read_weights
from cxrtransfer.study import load_network, load_run


def digest(parts: Iterable[object]) -> str:
    """Return a digest of values and arrays, in order."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return total.hexdigest()


def _tree(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return digest(
        item for path in files for item in (str(path.relative_to(root)), path.read_bytes())
    )


def _image(path: Path) -> str:
    pixels, reasons = decode_images([path], 48)
    if reasons:
        raise UnreadableImagesError(reasons)
    return digest([pixels])


def _table(path: Path) -> str:
    records = Records.from_csv(path)
    return digest([records.class_names, records.labels, records.patient_ids])


def _predictions(path: Path) -> str:
    predictions = Predictions.from_csv(path)
    return digest([predictions.ids, predictions.labels, predictions.probabilities])


def _zip(path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        unzip(path, Path(folder) / "out")
        return _tree(Path(folder) / "out")


def _medmnist(path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        unpack_medmnist(path, Path(folder) / "out")
        return _tree(Path(folder) / "out")


def _run(path: Path) -> str:
    run = load_run(path)
    weights = [value.numpy() for value in load_network(run).state_dict().values()]
    images = sorted((path.parent / "images").iterdir())
    answers = Classifier.from_run(path, card=False).predict(images, device="cpu")
    return digest([run.config, run.test.probabilities, *weights, answers.probabilities])


def _weights(path: Path) -> str:
    return digest(
        item for name, value in read_weights(path).items() for item in (name, value.numpy())
    )


def _bundle(path: Path) -> str:
    classifier = Classifier.from_pretrained(path)
    images = sorted((path.parent / "images").iterdir())
    return digest([repr(classifier), classifier.predict(images, device="cpu").probabilities])


TARGETS: dict[str, Callable[[Path], str]] = {
    "image": _image,
    "table": _table,
    "predictions": _predictions,
    "zip": _zip,
    "medmnist": _medmnist,
    "run": _run,
    "weights": _weights,
    "bundle": _bundle,
}


def main() -> None:
    """Answer every line until standard input ends."""
    warnings.simplefilter("ignore")
    answer = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    for line in sys.stdin:
        target, _, path = line.rstrip("\n").partition("\t")
        try:
            result = {"digest": TARGETS[target](Path(path))}
        except Exception as error:  # noqa: BLE001  (its kind is what is examined)
            kinds = [kind.__name__ for kind in type(error).__mro__]
            result = {
                "module": type(error).__module__,
                "kinds": kinds,
                "message": str(error)[:2000],
            }
        answer.write(json.dumps(result) + "\n")
        answer.flush()


if __name__ == "__main__":
    main()
