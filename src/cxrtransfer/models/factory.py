"""One call from a name to a network that is ready to learn."""

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
from .names import ModelName, parse_name
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
    """Build a classifier by name, with pretrained features and a new head.

    Args:
        name: Any classifier of torchvision or timm; a bare name is torchvision's where both have
            it, ``"timm:resnet50"`` and ``"torchvision:resnet50"`` decide.
        num_classes: Number of logits.
        pretrained: ``True`` looks in the folder ``CXRTRANSFER_WEIGHTS``, then in the library's own
            cache, then downloads; a path loads that file; ``False`` leaves random parameters.
            Random parameters are never a fallback.
        mode: ``"finetune"`` lets every parameter learn, ``"features"`` only the head.
        in_chans: 3 repeats a gray image for the network; 1 takes it once and sums the kernels of
            the first convolution over their channels, so that the logits stay the same, but for
            the image's border.
        image_size: Height and width in pixels if not those of the pretrained parameters.
            Transformers are built for it; convolutional networks take almost any, and only
            :func:`~cxrtransfer.models.input_spec` changes. The network is run once to see.

    Returns:
        The library's own module. ``forward`` takes ``(N, C, H, W)`` images as
        ``input_spec(model)`` says and returns ``(N, num_classes)`` logits in train and eval mode.

    Raises:
        UnknownModelError: If there is no such network.
        WeightsNotFoundError: If parameters were asked for and are nowhere.
        IncompatibleWeightsError: If a file holds another network.
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
        parameters = download_torchvision(which) if path is None else read_weights(path)
        load_backbone(model, parameters, source=str(path or "torchvision's file"))
    free_logits(model)
    first = next(name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    return model, spec, (first,)


def _torchvision_network(name: str, num_classes: int, size: int) -> nn.Module:
    """Build with the options that torchvision's class has, if it has them."""
    builder = torchvision.models.get_model_builder(name)
    accepted = inspect.signature(inspect.signature(builder).return_annotation).parameters
    options: dict[str, Any] = {
        # Side classifiers would make forward return a tuple in train mode.
        "aux_logits": False,
        # torchvision's GoogLeNet warns unless told.
        "init_weights": True,
        # GoogLeNet and Inception-v3 were trained with mean and std 0.5. torchvision turns the
        # ImageNet normalization into that one inside the network, but only if parameters were
        # asked for. Here it always does, so that parameters saved and loaded again mean the same.
        "transform_input": True,
        "image_size": size,
        "input_size": (size, size),
    }
    options = {key: value for key, value in options.items() if key in accepted}
    try:
        network: nn.Module = builder(weights=None, num_classes=num_classes, **options)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{name!r} is not built for image_size={size}: {error}") from error
    return network


def _build_timm(
    which: ModelName, num_classes: int, pretrained: bool | StrPath, image_size: int | None
) -> tuple[nn.Module, InputSpec, tuple[str, ...]]:
    import timm  # noqa: PLC0415  (slow to import, and not needed for torchvision's networks)

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
        found = [huggingface_hub.try_to_load_from_cache(hub, file) for file in files]
        cached = [Path(path) for path in found if isinstance(path, str)]
    if not url:
        raise not_found(which, "(timm names no address for this network)")
    require_reachable(which, url, *cached)
    try:
        model: nn.Module = timm.create_model(which.name, pretrained=True, **options)
    except OSError as error:  # every failure to reach the hub or the address is one
        raise not_found(which, url) from error
    return model


def _try_image_size(model: nn.Module, spec: InputSpec, image_layers: tuple[str, ...]) -> None:
    """Raise if the network does not run on images of this size, or would not see all of them."""
    for name in image_layers:
        layer = model.get_submodule(name)
        if isinstance(layer, nn.Conv2d) and layer.stride == layer.kernel_size:
            patch = layer.stride[0]
            if spec.size % patch:
                raise ValueError(
                    f"image_size must be a multiple of {patch}, the size of this network's "
                    f"patches, got {spec.size}"
                )
    device = next(model.parameters()).device
    try:
        with torch.no_grad(), eval_mode(model):
            model(torch.zeros(1, spec.channels, spec.size, spec.size, device=device))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"this {type(model).__name__} does not run on images of image_size={spec.size} pixels "
            f"({error}); leave image_size out for the published size"
        ) from error
