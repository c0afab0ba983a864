"""Features of each image at the head of a network or at any of its layers."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cxrtransfer.files import canonical_json, expand, text_digest, write_arrays
from cxrtransfer.inference import ImageData, extract_features, predict_logits
from cxrtransfer.models import get_head, to_map
from cxrtransfer.runtime import resolve_device, resolve_precision
from cxrtransfer.types import Precision, StrPath

__all__ = ["HEAD", "data_digest", "layer_features", "model_digest"]

HEAD = "head input"

Features = npt.NDArray[np.float32]


def layer_features(
    model: nn.Module,
    data: ImageData,
    layers: Sequence[str] = (HEAD,),
    *,
    cache: StrPath | None = None,
    batch_size: int = 32,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
) -> dict[str, Features]:
    """Compute the features at several layers for every image, in one pass.

    Outputs with spatial positions are averaged over them: feature maps over rows and columns,
    tokens over those with a position in the image (see ``to_map``). Modes
    of the network are restored; it is moved to ``device``.

    Args:
        model: Any classifier.
        data: A dataset of ``(image, label)`` pairs, or a ``DataLoader`` that reads one in order.
        layers: Dotted names of layers; ``HEAD`` is the input of the head.
        cache: A folder in which features are stored and reused for the same network, images,
            layers and precision. Files are identified by digests of all weights and pixels, so an
            outdated file is never used. Computing the digests takes one pass over the data.
        batch_size: Images per forward pass; ignored for a loader.
        device: Where to run.
        precision: Number format of the forward pass.

    Returns:
        float32, ``(N, F)``, by layer, in the order of ``layers``.

    Raises:
        ValueError: If a layer does not exist or run, or does not return one tensor, or the data
            are empty or not read in order.
    """
    if len(set(layers)) != len(layers) or not layers:
        raise ValueError(f"layers must contain one or more distinct names, got {list(layers)}")
    names = dict(model.named_modules())
    missing = [layer for layer in layers if layer != HEAD and layer not in names]
    if missing:
        raise ValueError(
            f"the network has no layer {missing[0]!r}; model.named_modules() lists them"
        )
    if cache is None:
        return _read(model, data, layers, batch_size, device, precision)
    identity = {
        "model": model_digest(model),
        "data": data_digest(data),
        "layers": list(layers),
        "precision": resolve_precision(precision, resolve_device(device)),
        "format": 2,  # 1 included class tokens in the average
    }
    path = expand(cache) / f"{text_digest(canonical_json(identity))}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            return {layer: stored[f"arr_{index}"] for index, layer in enumerate(layers)}
    features = _read(model, data, layers, batch_size, device, precision)
    arrays = {f"arr_{index}": values for index, values in enumerate(features.values())}
    write_arrays(path, arrays, compressed=False)
    return features


def model_digest(model: nn.Module) -> str:
    """Return the SHA-256 of a network: its representation, parameters and buffers."""
    digest = hashlib.sha256(repr(model).encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(_bytes(value))
    return digest.hexdigest()


def data_digest(data: ImageData) -> str:
    """Return the SHA-256 of all images of a dataset or loader, as input of the network."""
    loader = data if isinstance(data, DataLoader) else DataLoader(data)
    digest = hashlib.sha256()
    for images, _ in loader:
        for image in images:  # independent of the batch size
            digest.update(f"{image.dtype} {tuple(image.shape)}".encode())
            digest.update(_bytes(image))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _read(
    model: nn.Module,
    data: ImageData,
    layers: Sequence[str],
    batch_size: int,
    device: str | torch.device,
    precision: Precision,
) -> dict[str, Features]:
    inner = [layer for layer in layers if layer != HEAD]
    if HEAD in layers:
        get_head(model)  # may run the network once, before anything is recorded
    with _collected(model, inner) as collected:
        features = {}
        if HEAD in layers:
            features[HEAD] = extract_features(
                model, data, batch_size=batch_size, device=device, precision=precision
            )
        else:
            predict_logits(
                model,
                data,
                output="logits",  # unchecked, as the check may run the network once more
                batch_size=batch_size,
                device=device,
                precision=precision,
            )
    for layer, parts in collected.items():
        if not parts:
            raise ValueError(
                f"layer {layer!r} does not run in the forward pass; choose another layer"
            )
        features[layer] = torch.cat(parts).numpy()
    return {layer: features[layer] for layer in layers}


@contextmanager
def _collected(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Record each layer's output, averaged over positions, within the context."""
    collected: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    size = [0, 0]

    def remember(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        size[:] = inputs[0].shape[-2:]

    handles = [model.register_forward_pre_hook(remember)]
    handles += [
        model.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output, layer=layer: collected[layer].append(
                _averaged(output, (size[0], size[1]), layer)
            )
        )
        for layer in layers
    ]
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()


def _averaged(output: object, image_size: tuple[int, int], layer: str) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
        raise ValueError(
            f"layer {layer!r} must return one tensor (N, F), (N, C, h, w), (N, h, w, C) or "
            f"(N, T, C), got {getattr(output, 'shape', type(output).__name__)}"
        )
    values = output.detach().float()
    if values.ndim > 2:
        values = to_map(values, image_size, layer).mean(dim=(2, 3))
    return values.cpu()
