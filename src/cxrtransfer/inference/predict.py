"""Predictions of a network for every image of a dataset."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxrtransfer.evaluation import Predictions
from cxrtransfer.runtime import (
    autocast,
    eval_mode,
    freed_memory_kept,
    preserve_rng,
    resolve_device,
    resolve_precision,
    threads_for,
    to_device,
)
from cxrtransfer.types import Precision

from .batches import eval_loader
from .datasets import ImageData, check_pair, class_indices, class_names_of, ids_of

__all__ = [
    "OutputKind",
    "Outputs",
    "are_probabilities",
    "forward",
    "predict",
    "predict_logits",
    "probabilities_of",
    "require_finite",
]

OutputKind = Literal["logits", "probabilities"]

_SUM_TOLERANCE = 1e-2  # of probabilities in half precision
_MIN_ROWS = 8  # whose sums are one by coincidence hardly ever
# Operations that change neither values nor their meaning.
_RESHAPES = ("View", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Copy", "Clone", "Select", "T")


@dataclass(frozen=True, eq=False)
class Outputs:
    """A network's outputs for every image of a dataset, in the dataset's order.

    Attributes:
        labels: True classes, int64, ``(N,)``.
        logits: Raw network outputs, float32, ``(N, K)``.
    """

    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]


def predict(
    model: nn.Module,
    data: ImageData,
    *,
    output: OutputKind | None = None,
    batch_size: int = 32,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    num_workers: int = 0,
    progress: bool = False,
) -> Predictions:
    """Predict class probabilities for every image.

    The network runs in eval mode; afterward every module has its previous mode again. It is moved
    to ``device`` in channels-last layout, and stays there. Softmax is computed in float64,
    whatever the precision. Calls of several threads on the same network wait for each other.

    Args:
        model: A classifier that returns logits ``(N, K)``; a single logit ``(N, 1)`` is the log
            odds of the second of two classes.
        data: A dataset of ``(image, label)`` pairs, or a ``DataLoader`` that reads one in order.
            The dataset's ``ids`` and ``class_names`` are used; without them images are named by
            position and classes by index.
        output: What the network returns: logits, or probabilities after its own softmax or (for
            ``(N, 1)``) sigmoid. By default logits, and outputs that are probabilities are refused.
        batch_size: Images per forward pass; ignored for a loader.
        device: Where to run.
        precision: Number format of the forward pass.
        num_workers: Loader processes; ignored for a loader.
        progress: Whether to show a progress bar.

    Returns:
        The predictions, in the dataset's order.

    Raises:
        ValueError: If the data are empty, the loader shuffles or drops images, a label is outside
            the network's classes, an output is infinite or NaN, or outputs are not what ``output``
            says.
    """
    outputs = predict_logits(
        model,
        data,
        output=output,
        batch_size=batch_size,
        device=device,
        precision=precision,
        num_workers=num_workers,
        progress=progress,
    )
    probabilities = probabilities_of(outputs.logits)
    num_classes = probabilities.shape[1]
    if outputs.labels.max() >= num_classes or outputs.labels.min() < 0:
        raise ValueError(
            f"labels must lie in [0, {num_classes}), the network's classes, got "
            f"{outputs.labels.min()} to {outputs.labels.max()}; build it with more num_classes"
        )
    class_names = class_names_of(data) or tuple(str(index) for index in range(num_classes))
    return Predictions(
        ids=ids_of(data, len(outputs.labels)),
        labels=outputs.labels,
        probabilities=probabilities,
        class_names=class_names,
    )


def predict_logits(
    model: nn.Module,
    data: ImageData,
    *,
    output: OutputKind | None = None,
    batch_size: int = 32,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    num_workers: int = 0,
    progress: bool = False,
) -> Outputs:
    """Compute the raw outputs of a network for every image; see :func:`predict`."""
    device = resolve_device(device)
    batches = eval_loader(data, batch_size, num_workers, device)
    labels, logits = [], []
    for batch_labels, batch_logits in forward(model, batches, device, precision, progress):
        labels.append(class_indices(batch_labels, len(batch_logits)))
        logits.append(batch_logits)
    if not labels:
        raise ValueError("data must contain at least one image, got none")
    values = torch.cat(logits).cpu().numpy()
    require_finite(values, data, "outputs")
    if output == "probabilities":
        values = _log_probabilities(values)
    elif output is None and are_probabilities(model, values, data, device):
        raise ValueError(
            "the network must return logits, got probabilities; remove its last softmax or "
            "sigmoid, or pass output='probabilities' (output='logits' if they are logits after "
            "all)"
        )
    return Outputs(labels=np.concatenate(labels), logits=values)


def require_finite(values: npt.NDArray[np.float32], data: ImageData, what: str) -> None:
    """Raise an error that names the images with infinite or NaN values ``(N, F)``."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        ids = ids_of(data, len(values))
        raise ValueError(
            f"the network's {what} must be finite, got infinite or NaN values for {len(bad)} of "
            f"{len(values)} images, e.g. {ids[bad[0]]!r}; check the weights and the images, or "
            "pass precision='fp32'"
        )


def _log_probabilities(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Convert probabilities ``(N, K)`` or ``(N, 1)`` to logits ``(N, max(K, 2))``."""
    if values.shape[1] == 1:
        values = np.concatenate([1 - values, values], axis=1)
    if values.min() < 0 or np.abs(values.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
        raise ValueError(
            "the network must return probabilities in [0, 1] whose rows sum to 1, got values in "
            f"[{values.min():.3g}, {values.max():.3g}] with sums up to "
            f"{values.sum(axis=1).max():.3g}; pass output='logits'"
        )
    with np.errstate(divide="ignore"):
        return np.log(values)


def are_probabilities(
    model: nn.Module, values: npt.NDArray[np.float32], data: ImageData, device: torch.device
) -> bool:
    """Return whether outputs are probabilities: rows sum to one, or come from a sigmoid."""
    if values.min() < 0 or values.max() > 1:
        return False
    sums_to_one = values.shape[1] > 1 and np.abs(values.sum(axis=1) - 1).max() < _SUM_TOLERANCE
    if sums_to_one and len(values) >= _MIN_ROWS:
        return True
    # A few logits may happen to look like probabilities: see which operation returns them.
    with eval_mode(model), preserve_rng(), torch.enable_grad():
        batch = next(iter(eval_loader(data, 1, 0, device)), None)
        if batch is None:  # a stream that can be read only once
            return False
        image = batch[0][:1].to(device, copy=True)
        if image.is_floating_point():
            image.requires_grad_()
        node = model(image).grad_fn
    while node is not None and node.name().startswith(_RESHAPES):
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith(("Sigmoid", "Softmax"))


def forward(
    model: nn.Module,
    batches: Iterable[Any],
    device: torch.device,
    precision: Precision,
    progress: bool,
) -> Iterable[tuple[Any, Tensor]]:
    """Yield labels as the loader returns them, and float32 logits on the device, by batch."""
    resolved = resolve_precision(precision, device)
    if progress:
        from tqdm.auto import tqdm  # noqa: PLC0415  (only for a progress bar)

        batches = tqdm(batches, desc="predict", unit="batch", leave=False)
    with ExitStack() as stack:
        for context in (eval_mode(model), torch.inference_mode(), freed_memory_kept()):
            stack.enter_context(context)
        with torch.inference_mode(mode=False):  # parameters stay ordinary tensors
            to_device(model, device)
        for number, batch in enumerate(batches):
            check_pair(batch, "a batch")
            images, labels = batch
            if number == 0 and device.type == "cpu":
                stack.enter_context(threads_for(images.numel()))
            images = images.to(device, non_blocking=True)
            if images.ndim == 4:
                images = images.contiguous(memory_format=torch.channels_last)
            with autocast(device, resolved):
                logits = model(images)
            if not isinstance(logits, Tensor) or logits.ndim != 2:
                received = getattr(logits, "shape", type(logits).__name__)
                raise ValueError(
                    f"the network must return one (N, K) tensor of logits, got {received}"
                )
            yield labels, logits.float()


def probabilities_of(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Convert logits to probabilities, in float64.

    Args:
        logits: ``(N, K)``, or ``(N, 1)`` for the log odds of the second of two classes.

    Returns:
        Probabilities ``(N, max(K, 2))`` whose rows sum to 1.

    Example:
        >>> probabilities_of(np.zeros((1, 2), np.float32))
        array([[0.5, 0.5]])
    """
    if logits.shape[1] == 1:  # softmax over (0, z) is the sigmoid of z
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    values = torch.from_numpy(logits).double().softmax(dim=1).numpy()
    return cast("npt.NDArray[np.float64]", values)
