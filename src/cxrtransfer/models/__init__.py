"""Networks by name, with a new head, pretrained weights and frozen layers."""

from .blueprint import Blueprint as Blueprint, blueprint_of as blueprint_of
from .dilation import refine_maps
from .factory import build_finetune_model
from .freezing import freeze, set_train_mode as set_train_mode, stages, unfreeze
from .heads import get_head, replace_head
from .inputs import input_spec
from .layers import (
    TargetLayer as TargetLayer,
    capture_features as capture_features,
    default_target_layer as default_target_layer,
    find_overwritten as find_overwritten,
    to_map as to_map,
)
from .names import list_models, parse_name as parse_name

__all__ = [
    "build_finetune_model",
    "freeze",
    "get_head",
    "input_spec",
    "list_models",
    "refine_maps",
    "replace_head",
    "stages",
    "unfreeze",
]
