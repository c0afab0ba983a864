"""Which network: found by name, given a new head, loaded with pretrained parameters, frozen."""

from .factory import build_finetune_model
from .freezing import freeze, set_train_mode, stages, unfreeze
from .heads import get_head, replace_head
from .inputs import input_spec
from .layers import TargetLayer, capture_features, default_target_layer
from .names import ModelName, list_models, parse_name
from .positions import to_map
from .weights import find_weights, load_backbone

__all__ = [
    "ModelName",
    "TargetLayer",
    "build_finetune_model",
    "capture_features",
    "default_target_layer",
    "find_weights",
    "freeze",
    "get_head",
    "input_spec",
    "list_models",
    "load_backbone",
    "parse_name",
    "replace_head",
    "set_train_mode",
    "stages",
    "to_map",
    "unfreeze",
]
