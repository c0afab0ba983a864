"""Classifiers by name, with pretrained weights and a new head."""

import inspect
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from torch import nn

from cxrtransfer.runtime import eval_mode
from cxrtransfer.types import InputSpec, StrPath

from .freezing import freeze
from .heads import free_logits
from .inputs import attach_input_spec, spec_from_timm, take_gray
from .names import ModelName, attach_architecture, parse_name
from .weights import (
    download_torchvision,
    find_weights,
    load_backbone,
    not_found,
    read_weights,
    require_reachable,
    torchvision_weights,
)

__all__ = ["build_finetune_model"]


def build_finetune_model(
    name: str,
    num_classes: int = 2,
    *,
    pretrained: bool | StrPath = True,
    mode: Literal["finetune", "features"] = "finetune",
    in_chans: Literal[1, 3] = 3,
    image_size: int | None = None,
) -> nn.Module:
    """Build a classifier by name, with a pretrained backbone and a new head.

    Args:
        name: Any classifier of torchvision or timm. A name without a prefix is torchvision's if
            both have it; ``"timm:resnet50"`` and ``"torchvision:resnet50"`` select one.
        num_classes: Number of logits.
        pretrained: ``True`` looks for weights in the folder ``CXRTRANSFER_WEIGHTS``, then in the
            library's own cache, then downloads them; a path loads that file; ``False`` initializes
            randomly. Random initialization is never a fallback.
        mode: ``"finetune"`` trains all parameters, ``"features"`` only those of the head.
        in_chans: 3 repeats the gray image; 1 sums the kernels of the first convolution over their
            channels, so that the logits for a gray image stay the same except for effects of the
            image border.
        image_size: Height and width in pixels, by default those of the pretrained weights.
            Transformers are built for this size; convolutional networks accept almost any size,
            and only :func:`~cxrtransfer.models.input_spec` changes. The network is run once to
            check it.

    Returns:
        The library's own module. ``forward`` takes images ``(N, C, H, W)`` normalized as
        ``input_spec(model)`` specifies, and returns logits ``(N, num_classes)`` in train and eval
        mode.

    Raises:
        UnknownModelError: If neither library has the model.
        WeightsNotFoundError: If pretrained weights are requested but not available.
        IncompatibleWeightsError: If a weights file does not fit the network.
        ValueError: If an argument is out of range.

    Example:
        >>> model = build_finetune_model("resnet18", num_classes=2, pretrained=False)
        >>> model.fc
        Linear(in_features=512, out_features=2, bias=True)
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if mode not in ("finetune", "features"):
        raise ValueError(f"mode must be 'finetune' or 'features', got {mode!r}")
    if in_chans not in (1, 3):
        raise ValueError(f"in_chans must be 1 or 3, got {in_chans!r}")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
    which = parse_name(name)
    build = _build_torchvision if which.library == "torchvision" else _build_timm
    model, spec, image_layers = build(which, num_classes, pretrained, image_size)
    if in_chans == 1:
        spec = take_gray(model, image_layers, spec)
    attach_input_spec(model, spec)
    attach_architecture(model, which)
    if image_size is not None:
        _try_image_size(model, spec, image_layers)
    if mode == "features":
        freeze(model)
    return model


def _build_torchvision(
    which: ModelName, num_classes: int, pretrained: bool | StrPath, image_size: int | None
) -> tuple[nn.Module, InputSpec, tuple[str, ...]]:
    preset = torchvision_weights(which.name)[0].transforms()
    spec = InputSpec(
        size=image_size or preset.crop_size[0],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation="bicubic" if preset.interpolation.value == "bicubic" else "bilinear",
    )
    model = _torchvision_network(which.name, num_classes, spec.size)
    if pretrained is not False:
        path = find_weights(which) if pretrained is True else pretrained
        weights = download_torchvision(which) if path is None else read_weights(path)
        load_backbone(model, weights, source=str(path or "torchvision's file"))
    free_logits(model)
    first = next(name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    return model, spec, (first,)


def _torchvision_network(name: str, num_classes: int, size: int) -> nn.Module:
    """Build with those of our options that torchvision's class accepts."""
    builder = torchvision.models.get_model_builder(name)
    accepted = inspect.signature(inspect.signature(builder).return_annotation).parameters
    options: dict[str, Any] = {
        # Auxiliary classifiers would make forward return a tuple in train mode.
        "aux_logits": False,
        # torchvision's GoogLeNet warns without it.
        "init_weights": True,
        # GoogLeNet and Inception-v3 were trained with mean and std 0.5. torchvision converts the
        # ImageNet normalization to that one inside the network, but only with pretrained weights.
        # Here it always does, so that saved weights give the same outputs when loaded again.
        "transform_input": True,
        "image_size": size,
        "input_size": (size, size),
    }
    options = {key: value for key, value in options.items() if key in accepted}
    try:
        network: nn.Module = builder(weights=None, num_classes=num_classes, **options)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{name!r} does not support image_size={size}: {error}") from error
    return network


def _build_timm(
    which: ModelName, num_classes: int, pretrained: bool | StrPath, image_size: int | None
) -> tuple[nn.Module, InputSpec, tuple[str, ...]]:
    import timm  # noqa: PLC0415  (slow to import, not needed for torchvision)

    config = asdict(timm.get_pretrained_cfg(which.name) or timm.models.PretrainedCfg())
    spec = spec_from_timm(config)
    options: dict[str, Any] = {"num_classes": num_classes}
    if image_size is not None:
        spec = replace(spec, size=image_size)
        if config["fixed_input_size"]:
            options["img_size"] = image_size
    path = find_weights(which) if pretrained is True else pretrained
    if path is None:
        model = _download_timm(which, config, options)
    else:
        model = timm.create_model(which.name, pretrained=False, **options)
        if path is not False:
            load_backbone(model, read_weights(path), source=str(path))
    first = config["first_conv"] or ()
    return model, spec, (first,) if isinstance(first, str) else tuple(first)


def _download_timm(which: ModelName, config: dict[str, Any], options: dict[str, Any]) -> nn.Module:
    import huggingface_hub  # noqa: PLC0415  (comes with timm)
    import timm  # noqa: PLC0415

    url, hub = config["url"], config["hf_hub_id"]
    cached = [Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]] if url else []
    if hub:
        files = [config["hf_hub_filename"] or "model.safetensors", "pytorch_model.bin"]
        url = huggingface_hub.hf_hub_url(hub, files[0])
        paths = [huggingface_hub.try_to_load_from_cache(hub, file) for file in files]
        cached = [Path(path) for path in paths if isinstance(path, str)]
    if not url:
        raise not_found(which, "the download (timm has no URL for this network)")
    require_reachable(which, url, *cached)
    try:
        model: nn.Module = timm.create_model(which.name, pretrained=True, **options)
    except OSError as error:  # raised whenever the hub or the URL cannot be reached
        raise not_found(which, url) from error
    return model


def _try_image_size(model: nn.Module, spec: InputSpec, image_layers: tuple[str, ...]) -> None:
    """Raise if the network does not run on images of this size, or ignores part of them."""
    for name in image_layers:
        layer = model.get_submodule(name)
        if isinstance(layer, nn.Conv2d) and layer.stride == layer.kernel_size:
            patch = layer.stride[0]
            if spec.size % patch:
                raise ValueError(
                    f"image_size must be a multiple of the patch size {patch}, got {spec.size}"
                )
    device = next(model.parameters()).device
    try:
        with torch.no_grad(), eval_mode(model):
            model(torch.zeros(1, spec.channels, spec.size, spec.size, device=device))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"this {type(model).__name__} does not run on images of image_size={spec.size} pixels "
            f"({error}); omit image_size to use the published size"
        ) from error
