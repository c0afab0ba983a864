"""The network of a saved classifier: its configuration in the form of timm, and its weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from cxrtransfer.errors import BundleError, IncompatibleWeightsError, UnknownModelError
from cxrtransfer.models import Blueprint, build_finetune_model, refine_maps
from cxrtransfer.runtime import eval_mode, preserve_rng
from cxrtransfer.types import InputSpec

from .parts import Parts

__all__ = [
    "CONFIG",
    "WEIGHTS",
    "check_rebuilt",
    "known_blueprint",
    "load_network",
    "network_config",
]

CONFIG = "config.json"  # in the form of timm's hub repositories
WEIGHTS = "model.safetensors"


def network_config(parts: Parts, blueprint: Blueprint) -> dict[str, Any]:
    """Return timm's form: its networks without a prefix, torchvision's with theirs."""
    library, _, name = blueprint.architecture.partition(":")
    timm_config = dict(getattr(parts["network"], "pretrained_cfg", None) or {})
    shared = ("classifier", "first_conv", "fixed_input_size")
    spec = parts["input_spec"]
    # timm loads all weights; its published ones may be of another size, as may its options.
    arguments = {**blueprint.arguments, **({"in_chans": 1} if spec.channels == 1 else {})}
    if timm_config.get("fixed_input_size"):
        arguments["img_size"] = spec.size
    # A network adapted to one channel is built for three, and adapted again.
    built = spec if blueprint.spec.channels == spec.channels else blueprint.spec
    return {
        "architecture": name.partition(".")[0] if library == "timm" else blueprint.architecture,
        "num_classes": _logits(parts["network"], spec).shape[1],
        "label_names": list(parts["class_names"]),
        "model_args": arguments,
        "pretrained_cfg": {
            **{key: timm_config[key] for key in shared if key in timm_config},
            "input_size": [built.channels, spec.size, spec.size],
            "interpolation": spec.interpolation,
            "crop_pct": 1.0,
            "crop_mode": "squash" if parts["fit"] == "squash" else "border",
            "mean": list(built.mean),
            "std": list(built.std),
        },
    }


def load_network(
    folder: Path, config: Mapping[str, Any], spec: InputSpec, num_classes: int
) -> nn.Module:
    """Rebuild the network of a folder, and load its weights.

    Args:
        folder: The folder.
        config: Its configuration.
        spec: The input of the network.
        num_classes: Number of class names.

    Raises:
        BundleError: If configuration, input and weights do not fit each other.
    """
    size = list(config["pretrained_cfg"]["input_size"][1:])
    if size != [spec.size, spec.size]:
        raise BundleError(
            f"the input of the network and of the preprocessor must have the same size, got "
            f"{size} and {[spec.size, spec.size]} pixels"
        )
    logits = config["num_classes"]
    if logits != num_classes and (logits, num_classes) != (1, 2):
        raise BundleError(
            f"num_classes must be {num_classes}, the number of class names, got {logits}"
        )
    try:
        network = _build(folder, logits, spec, fine_maps=config["cxrtransfer"]["fine_maps"])
    except UnknownModelError as error:
        raise BundleError(f"{folder / CONFIG}: {error}") from error
    except IncompatibleWeightsError as error:  # names the file
        raise BundleError(str(error)) from error
    try:
        load_model(network, folder / WEIGHTS)
    except SafetensorError as error:
        raise BundleError(f"{folder / WEIGHTS} is damaged: {error}; copy it again") from error
    except RuntimeError as error:  # missing, unexpected or mismatched tensors
        raise BundleError(
            f"{folder / WEIGHTS} does not fit the architecture {config['architecture']!r} with "
            f"{spec.channels} channels and {logits} logits: {error}"
        ) from error
    return network.eval()


def _build(folder: Path, num_logits: int, spec: InputSpec, *, fine_maps: bool) -> nn.Module:
    """Build the network that the configuration in a folder describes; its weights are not read."""
    if spec.channels not in (1, 3):
        raise BundleError(f"channels must be 1 or 3, got {spec.channels}")
    with preserve_rng():  # the random initialization is overwritten
        network = build_finetune_model(
            f"local-dir:{folder}",
            num_classes=num_logits,
            pretrained=False,
            in_chans=1 if spec.channels == 1 else 3,
            image_size=spec.size,
        ).eval()
    if fine_maps:
        refine_maps(network, spec.size)
    return network


def _logits(network: nn.Module, spec: InputSpec) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, spec.channels, spec.size, spec.size, generator=generator)
    with torch.no_grad(), eval_mode(network):
        logits: torch.Tensor = network(images.to(next(network.parameters()).device)).cpu()
    return logits


def known_blueprint(parts: Parts) -> Blueprint:
    """Return how the network is rebuilt, of which only the size may have changed."""
    blueprint = parts["blueprint"]
    if blueprint is None:
        raise ValueError(
            f"this {type(parts['network']).__name__} can be used but not saved, as it cannot be "
            "rebuilt from a name; build it with build_finetune_model(), or pass architecture="
        )
    return replace(blueprint, spec=replace(blueprint.spec, size=parts["input_spec"].size))


def check_rebuilt(folder: Path, parts: Parts, blueprint: Blueprint) -> None:
    """Raise unless the network of a folder has the outputs of the network."""
    network, spec = parts["network"], parts["input_spec"]
    logits = _logits(network, spec)
    rebuilt = _build(folder, logits.shape[1], spec, fine_maps=blueprint.fine_maps)
    try:
        rebuilt.load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"the network is not of the architecture {blueprint.architecture!r} with "
            f"{spec.channels} channels and {spec.size} pixels: {error}"
        ) from error
    device = next(network.parameters()).device
    if not torch.allclose(_logits(rebuilt.to(device), spec), logits, rtol=1e-4, atol=1e-5):
        raise ValueError(
            f"the network has the weights of the architecture {blueprint.architecture!r} but "
            "other outputs, so that it would predict differently when loaded; save it with "
            "torch.save() instead"
        )
