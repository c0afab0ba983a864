"""Export of a classifier to one graph from pixels to calibrated probabilities."""

import copy
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cxrtransfer.data import to_model_input
from cxrtransfer.evaluation import Platt, Temperature
from cxrtransfer.evaluation.calibration import MIN_PROBABILITY
from cxrtransfer.files import atomic_path, expand
from cxrtransfer.runtime import require
from cxrtransfer.types import StrPath

from .classifier import Classifier

__all__ = ["OPSET", "export_model"]

OPSET = 18
MAX_DIFFERENCE = 1e-4

INPUT, OUTPUT = "image", "probabilities"


def export_model(classifier: Classifier, path: StrPath) -> Path:
    """Write a classifier as one file that predicts without this library.

    The graph takes gray images that have been decoded and resized, uint8 ``(N, 1, H, W)`` with
    the size of the network, and returns calibrated probabilities, float32 ``(N, K)``. It contains
    the normalization, the network and the recalibration; the number of images is free. Decoding
    is not part of it: use :func:`cxrtransfer.data.decode_image` with the ``fit`` in the metadata.

    An ONNX file (opset 18) is checked against torch on random images before it is written. Its
    metadata hold the class names, the positive class, the threshold, and the way images are
    resized, as JSON under ``cxrtransfer``.

    Args:
        classifier: The classifier.
        path: ``model.onnx``; or ``model.pt2``, which ``torch.export.load`` reads. Replaced if it
            exists.

    Returns:
        The path.

    Raises:
        MissingExtraError: If it is an ONNX file and the extra ``onnx`` is not installed.
        ValueError: If the suffix is neither ``.onnx`` nor ``.pt2``.
        RuntimeError: If torch cannot export the network, or the probabilities differ by more than
            1e-4.
    """
    target = expand(path)
    if target.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"the file must end in .onnx or .pt2, got {os.fspath(path)!r}")
    if target.suffix == ".onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            require(package, extra="onnx")
    graph = PixelsToProbabilities(classifier).eval()
    images = _random_images(classifier, 2)
    with atomic_path(target) as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own parts
        program = torch.export.export(
            graph, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
        )
        if target.suffix == ".pt2":
            torch.export.save(program, temporary)
        else:
            _write_onnx(program, temporary, metadata(classifier))
            _check(graph, temporary, _random_images(classifier, 3))
    return target


class PixelsToProbabilities(nn.Module):
    """Normalization, network and recalibration in one module.

    Args:
        classifier: The classifier; its network is copied.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = copy.deepcopy(classifier.network).cpu()
        self.normalize = to_model_input(classifier.input_spec)
        self.calibration = classifier.calibration
        self.positive_index = classifier.positive_index

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities ``(N, K)`` for gray images, uint8 ``(N, 1, H, W)``."""
        logits: Tensor = self.network(self.normalize(image)).float()
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        if self.calibration is not None:  # fitted and applied to clipped probabilities
            logits = logits.log_softmax(dim=1).clamp(min=math.log(MIN_PROBABILITY))
        if isinstance(self.calibration, Temperature):
            logits = logits / self.calibration.value
        elif isinstance(self.calibration, Platt):
            odds = logits[:, self.positive_index] - logits[:, 1 - self.positive_index]
            scores = torch.sigmoid(self.calibration.slope * odds + self.calibration.intercept)
            columns = [1 - scores, scores]
            return torch.stack(columns if self.positive_index == 1 else columns[::-1], dim=1)
        return logits.softmax(dim=1)


def metadata(classifier: Classifier) -> dict[str, Any]:
    """Return what a program needs besides the graph."""
    return {
        "class_names": list(classifier.class_names),
        "positive_class": classifier.class_names[classifier.positive_index],
        "threshold": classifier.threshold.threshold,
        "image_size": classifier.input_spec.size,
        "fit": classifier.fit,
        "interpolation": classifier.input_spec.interpolation,
    }


def _write_onnx(program: torch.export.ExportedProgram, path: Path, values: dict[str, Any]) -> None:
    onnx = require("onnx", extra="onnx")
    exported = torch.onnx.export(
        program,
        (),
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert exported is not None  # noqa: S101  (so with dynamo)
    proto = exported.model_proto
    onnx.helper.set_model_props(proto, {"cxrtransfer": json.dumps(values)})
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())


def _check(graph: nn.Module, path: Path, images: Tensor) -> None:
    runtime = require("onnxruntime", extra="onnx")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    probabilities = session.run([OUTPUT], {INPUT: images.numpy()})[0]
    difference = float(np.abs(probabilities - graph(images).numpy()).max())
    if not difference <= MAX_DIFFERENCE:
        raise RuntimeError(
            f"the probabilities of the ONNX graph must differ by at most {MAX_DIFFERENCE} from "
            f"those of torch, got {difference:.2g}"
        )


def _random_images(classifier: Classifier, count: int) -> Tensor:
    size = classifier.input_spec.size
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, size, size), dtype=torch.uint8, generator=generator)
