"""Display names of networks and runs."""

import re

from cxrtransfer.config import run_name
from cxrtransfer.study import RunResult

__all__ = ["network_label", "run_label"]

# Beginnings of names, the longer before the shorter.
_FAMILIES = {
    "alexnet": "AlexNet",
    "convnext_": "ConvNeXt-",
    "densenet": "DenseNet-",
    "efficientnet_v2_": "EfficientNetV2-",
    "efficientnet_": "EfficientNet-",
    "googlenet": "GoogLeNet",
    "inception_v": "Inception-v",
    "mobilenet_v": "MobileNetV",
    "resnet": "ResNet-",
    "squeezenet": "SqueezeNet ",
    "swin_": "Swin-",
    "vgg": "VGG-",
    "vit_": "ViT-",
    "wide_resnet": "Wide ResNet-",
}


def network_label(model: str) -> str:
    """Return the display name of a network; its own name where none is known.

    Example:
        >>> network_label("resnet50"), network_label("squeezenet1_1"), network_label("timm:xyz")
        ('ResNet-50', 'SqueezeNet 1.1', 'timm:xyz')
    """
    for beginning, label in _FAMILIES.items():
        if model.startswith(beginning):
            rest = re.sub(r"(?<=\d)_(?=\d)", ".", model.removeprefix(beginning))
            return label + rest.replace("_", " ")
    return model


def run_label(run: RunResult, *, with_seed: bool = True) -> str:
    """Return the display name of a run: its network, and the rest of its name in parentheses.

    A run whose name does not begin with that of its network keeps its name.
    """
    network, name = run_name(run.config.model), run.name
    if not with_seed:
        name = re.sub(r"_?seed-?\d+$", "", name)
    if not name.startswith(network):
        return name
    words = name.removeprefix(network).replace("_", " ")
    words = re.sub(r" ?\bseed(?=-?\d)", ", seed ", words).strip(", ")
    words = re.sub(r"^plain\b", "unweighted", words)  # of paper_grid
    return (
        f"{network_label(run.config.model)} ({words})"
        if words
        else network_label(run.config.model)
    )
