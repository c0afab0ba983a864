"""Networks by name, with a new head, pretrained weights and frozen layers."""

from .blueprint import Blueprint, blueprint_of
from .dilation import refine_maps
from .factory import build_finetune_model
from .freezing import freeze, set_train_mode, stages, unfreeze
from .heads import get_head, replace_head
from .inputs import input_spec
from .layers import TargetLayer, capture_features, default_target_layer, find_overwritten, to_map
from .names import list_models, parse_name

__all__ = [
    "Blueprint",
    "TargetLayer",
    "blueprint_of",
    "build_finetune_model",
    "capture_features",
    "default_target_layer",
    "find_overwritten",
    "freeze",
    "get_head",
    "input_spec",
    "list_models",
    "parse_name",
    "refine_maps",
    "replace_head",
    "set_train_mode",
    "stages",
    "to_map",
    "unfreeze",
]
