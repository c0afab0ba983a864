"""How the modules of a network are built again, before its weights are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from cxrtransfer.types import InputSpec

from .inputs import spec_from_timm

__all__ = ["Blueprint", "attach_blueprint", "blueprint_of"]

_ATTRIBUTE = "cxr_blueprint"


@dataclass(frozen=True)
class Blueprint:
    """How the modules of a network are built, without its weights and its number of classes.

    Attributes:
        architecture: Its name in torchvision or timm, with the prefix of the library.
        spec: The input that it is built for, before an adaptation from three channels to one.
        arguments: Further arguments of the network in timm.
        fine_maps: Whether :func:`cxrtransfer.models.refine_maps` was applied.
    """

    architecture: str
    spec: InputSpec
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fine_maps: bool = False


def attach_blueprint(model: nn.Module, blueprint: Blueprint) -> None:
    """Store a blueprint as an attribute of a network, which copies of the network keep."""
    setattr(model, _ATTRIBUTE, blueprint)


def blueprint_of(model: nn.Module) -> Blueprint | None:
    """Return how a network was built.

    Args:
        model: A network from :func:`build_finetune_model`, or any of timm's.

    Returns:
        None if it is unknown. Of timm's networks that were built by timm, the arguments are
        unknown and taken to be the defaults.
    """
    attached = getattr(model, _ATTRIBUTE, None)
    if isinstance(attached, Blueprint):
        return attached
    config = getattr(model, "pretrained_cfg", None)
    if isinstance(config, dict) and config.get("architecture") and "input_size" in config:
        return Blueprint(f"timm:{config['architecture']}", spec_from_timm(config))
    return None
