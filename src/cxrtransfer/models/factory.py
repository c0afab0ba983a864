"""Classifiers by name, with pretrained weights and a new head."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cxrtransfer.runtime import eval_mode
from cxrtransfer.types import InputSpec, StrPath

from .blueprint import Blueprint, attach_blueprint
from .freezing import freeze
from .heads import free_logits
from .hub import published_weights, read_published
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
    xray_weights,
)
from .xray import XRAY_BACKBONES

__all__ = ["build_finetune_model"]

# The network, and the names of the convolutions whose input is the image.
Built = tuple[nn.Module, tuple[str, ...]]


def build_finetune_model(
    name: str,
    num_classes: int = 2,
    *,
    pretrained: bool | StrPath = True,
    mode: Literal["finetune", "features"] = "finetune",
    in_chans: Literal[1, 3] | None = None,
    image_size: int | None = None,
) -> nn.Module:
    """Build a classifier by name, with a pretrained backbone and a new head.

    Args:
        name: Any classifier of torchvision or timm. A name without a prefix is torchvision's if
            both have it; ``"timm:resnet50"`` and ``"torchvision:resnet50"`` select one. Backbones
            pretrained on radiographs are ``"torchxrayvision:..."`` and ``"radimagenet:..."``, see
            :func:`list_models`. ``"hf-hub:user/name"`` is a network on the Hugging Face hub and
            ``"local-dir:path"`` one in a folder, if their ``config.json`` is timm's, or that of
            DINOv2 in transformers.
        num_classes: Number of logits.
        pretrained: ``True`` looks for weights in the folder ``CXRTRANSFER_WEIGHTS``, then in the
            library's own cache, then downloads them; a path loads that file; ``False`` initializes
            randomly. Random initialization is never a fallback.
        mode: ``"finetune"`` trains all parameters, ``"features"`` only those of the head.
        in_chans: By default the number of the weights, which is 3 except for torchxrayvision's.
            3 repeats the gray image; 1 sums the kernels of the first convolution over their
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
        UnknownModelError: If no library has the model.
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
    if in_chans not in (None, 1, 3):
        raise ValueError(f"in_chans must be 1 or 3, got {in_chans!r}")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size must be at least 1 pixel, got {image_size}")
    which = parse_name(name)
    blueprint = _BLUEPRINTS[which.library](which)
    spec = blueprint.spec
    if image_size is not None:
        spec = replace(spec, size=image_size)
        blueprint = replace(blueprint, spec=spec)
    if which.library == "timm":
        model, image_layers = _build_timm(which, num_classes, pretrained, image_size)
    else:
        model, image_layers = _build(blueprint, num_classes)
        if pretrained is not False:
            weights, source = _weights(which) if pretrained is True else _read(pretrained)
            load_backbone(model, weights, source=source)
    if in_chans == 1 and spec.channels == 3:
        spec = take_gray(model, image_layers, spec)
    elif in_chans is not None and in_chans != spec.channels:
        raise ValueError(
            f"in_chans must be {spec.channels} for {name!r}, whose weights take as many channels, "
            f"got {in_chans}; omit it"
        )
    attach_input_spec(model, spec)
    attach_blueprint(model, blueprint)
    if image_size is not None:
        _try_image_size(model, spec, image_layers)
    if mode == "features":
        freeze(model)
    return model


def _torchvision_blueprint(which: ModelName) -> Blueprint:
    preset = torchvision_weights(which.name)[0].transforms()
    spec = InputSpec(
        size=preset.crop_size[0],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation="bicubic" if preset.interpolation.value == "bicubic" else "bilinear",
    )
    return Blueprint(str(which), spec)


def _xray_blueprint(which: ModelName) -> Blueprint:
    backbone = XRAY_BACKBONES[str(which)]
    return Blueprint(f"torchvision:{backbone.architecture}", backbone.spec)


def _timm_blueprint(which: ModelName) -> Blueprint:
    import timm  # noqa: PLC0415  (slow to import, not needed for torchvision)

    config = timm.get_pretrained_cfg(which.name) or timm.models.PretrainedCfg()
    return Blueprint(str(which), spec_from_timm(asdict(config)))


def _build(blueprint: Blueprint, num_classes: int) -> Built:
    """Build with random initialization."""
    which, spec = parse_name(blueprint.architecture), blueprint.spec
    if which.library == "timm":
        options = {**blueprint.arguments, "in_chans": spec.channels, "num_classes": num_classes}
        return _timm_network(which.name, spec.size, options)
    model = _torchvision_network(which.name, num_classes, spec.size)
    free_logits(model)
    layers: Iterator[tuple[str, nn.Module]] = model.named_modules()
    first = next(name for name, layer in layers if isinstance(layer, nn.Conv2d))
    if spec.channels == 1:
        _make_gray(model, first)
    return model, (first,)


def _weights(which: ModelName) -> tuple[dict[str, Tensor], str]:
    """Return the published weights, and where they come from."""
    path = _PATHS[which.library](which)
    return (download_torchvision(which), "torchvision's file") if path is None else _read(path)


def _read(path: StrPath) -> tuple[dict[str, Tensor], str]:
    return read_weights(path), str(path)


def _make_gray(model: nn.Module, first: str) -> None:
    """Give the first convolution one input channel, for weights that have one."""
    conv = model.get_submodule(first)
    assert isinstance(conv, nn.Conv2d)  # noqa: S101
    conv.weight = nn.Parameter(conv.weight.detach().sum(dim=1, keepdim=True))
    conv.in_channels = 1


def _torchvision_network(name: str, num_classes: int, size: int) -> nn.Module:
    """Build with those of our options that torchvision's class accepts."""
    import torchvision  # noqa: PLC0415  (slow to import)

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
) -> Built:
    import timm  # noqa: PLC0415  (slow to import, not needed for torchvision)

    options: dict[str, Any] = {"num_classes": num_classes}
    path = find_weights(which) if pretrained is True else pretrained
    if path is None:
        config = asdict(timm.get_pretrained_cfg(which.name) or timm.models.PretrainedCfg())
        if image_size is not None and config["fixed_input_size"]:
            options["img_size"] = image_size
        model = _download_timm(which, config, options)
        return model, _first_layers(model)
    model, first = _timm_network(which.name, image_size, options)
    if path is not False:
        load_backbone(model, read_weights(path), source=str(path))
    return model, first


def _timm_network(name: str, size: int | None, options: dict[str, Any]) -> Built:
    """Build with random initialization, for a size that may differ from the published one."""
    import timm  # noqa: PLC0415

    config = timm.get_pretrained_cfg(name)
    if size is not None and config is not None and config.fixed_input_size:
        options = {**options, "img_size": size}
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model, _first_layers(model)


def _first_layers(model: nn.Module) -> tuple[str, ...]:
    first = model.pretrained_cfg.get("first_conv") or ()  # type: ignore[union-attr, operator]
    return (first,) if isinstance(first, str) else tuple(first)


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


_BLUEPRINTS: dict[str, Callable[[ModelName], Blueprint]] = {
    "torchvision": _torchvision_blueprint,
    "timm": _timm_blueprint,
    "torchxrayvision": _xray_blueprint,
    "radimagenet": _xray_blueprint,
    "hf-hub": read_published,
    "local-dir": read_published,
}
_PATHS: dict[str, Callable[[ModelName], Path | None]] = {
    "torchvision": find_weights,
    "torchxrayvision": xray_weights,
    "radimagenet": xray_weights,
    "hf-hub": published_weights,
    "local-dir": published_weights,
}
