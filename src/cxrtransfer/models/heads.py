"""The classification head of a network."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cxrtransfer.runtime import eval_mode, preserve_rng

from .inputs import random_images

__all__ = ["classifier_names", "get_head", "replace_head"]


def get_head(model: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Find the layer that maps features to one logit per class.

    timm's networks name it themselves; in any other network it is the fully connected layer, or,
    without one (SqueezeNet), the 1 x 1 convolution, whose output is the output of the network. If
    there are several candidates, the network is run once on a random image to find out, and if it
    does not run, the last one is taken.

    Args:
        model: Any classifier.

    Returns:
        Its dotted name and the layer. Of two parallel heads (distilled transformers) the first,
        of consecutive heads (EfficientViM) the last.

    Raises:
        ValueError: If the network has no such layer.

    Example:
        >>> get_head(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
        ('2', Linear(in_features=3, out_features=2, bias=True))
    """
    classifier = _classifiers(model)[0]
    head = _last_projection(classifier)
    if head is None:
        raise ValueError(
            f"the head must contain a fully connected layer or a 1 x 1 convolution, "
            f"got {classifier}"
        )
    return _name_of(head, model), head


def classifier_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that are replaced for another number of classes.

    Returns:
        Dotted names; more than one for a distilled transformer. A classifier may contain more
        than the layer that :func:`get_head` returns, such as a normalization layer.
    """
    return tuple(_name_of(module, model) for module in _classifiers(model))


def replace_head(model: nn.Module, num_classes: int) -> None:
    """Replace the head of a network by a new, randomly initialized one, in place.

    This is for custom networks; :func:`~cxrtransfer.models.build_finetune_model` returns
    networks with a new head.

    Args:
        model: Any classifier whose head :func:`get_head` finds.
        num_classes: Number of classes of the new head.

    Raises:
        ValueError: If ``num_classes`` is below 1 or the network has no head.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 1000))
        >>> replace_head(model, 2)
        >>> model[1]
        Linear(in_features=4, out_features=2, bias=True)
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    name, head = get_head(model)
    new = (
        nn.Linear(head.in_features, num_classes)
        if isinstance(head, nn.Linear)
        else nn.Conv2d(head.in_channels, num_classes, kernel_size=1)
    )
    parent, _, child = name.rpartition(".")
    new.to(head.weight)
    setattr(model.get_submodule(parent), child, new)


def free_logits(model: nn.Module) -> None:
    """Remove a ReLU after a convolutional head, in place (torchvision's SqueezeNet).

    With few classes, a logit that becomes negative for every image has no gradient and never
    recovers (a dead ReLU). Without the ReLU, SqueezeNet has a linear head on pooled features.
    """
    name, head = get_head(model)
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(head, nn.Conv2d) and isinstance(parent, nn.Sequential):
        after = list(parent).index(head) + 1
        if after < len(parent) and isinstance(parent[after], nn.ReLU):
            parent[after] = nn.Identity()


def _classifiers(model: nn.Module) -> list[nn.Module]:
    ask = getattr(model, "get_classifier", None)
    if callable(ask):
        answer = ask()
        if isinstance(answer, nn.ModuleList):
            heads = list(answer)[::-1]
        else:
            heads = list(answer) if isinstance(answer, tuple | list) else [answer]
    else:
        output_layer = _output_layer(model)
        heads = [output_layer] if output_layer is not None else []
    heads = [module for module in heads if any(True for _ in module.parameters())]
    if not heads:
        raise ValueError(
            "the network must have a fully connected layer or a 1 x 1 convolution as its head, "
            f"got {type(model).__name__} with neither"
        )
    return heads


def _last_projection(module: nn.Module) -> nn.Linear | nn.Conv2d | None:
    projections = _projections(module)
    return projections[-1] if projections else None


def _projections(module: nn.Module) -> list[nn.Linear] | list[nn.Conv2d]:
    """Return the fully connected layers or, without any, the 1 x 1 convolutions."""
    layers = list(module.modules())
    return [layer for layer in layers if isinstance(layer, nn.Linear)] or [
        layer for layer in layers if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
    ]


_output_layers: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


def _output_layer(model: nn.Module) -> nn.Module | None:
    """Return the projection whose output is that of the network."""
    projections = _projections(model)
    # In torchvision's networks the last one is the head.
    if len(projections) < 2 or type(model).__module__.startswith("torchvision.models"):
        return projections[-1] if projections else None
    known = _output_layers.get(model)
    if known is None or all(known is not projection for projection in projections):
        known = _output_layers[model] = _found_by_running(model, projections)
    return known


def _found_by_running(
    model: nn.Module, projections: list[nn.Linear] | list[nn.Conv2d]
) -> nn.Module:
    outputs: list[tuple[nn.Module, Tensor]] = []
    handles = [
        projection.register_forward_hook(lambda layer, _, output: outputs.append((layer, output)))
        for projection in projections
    ]
    try:
        with eval_mode(model), preserve_rng(), torch.no_grad():
            for images in random_images(model):
                outputs.clear()
                try:
                    logits = model(images)
                except (RuntimeError, ValueError, TypeError, AssertionError):
                    continue
                for layer, output in reversed(outputs):
                    if _is_output(output, logits):
                        return layer
                # Something follows the head, such as a softmax.
                return outputs[-1][0] if outputs else projections[-1]
    finally:
        for handle in handles:
            handle.remove()
    return projections[-1]


def _is_output(output: Tensor, logits: object) -> bool:
    if isinstance(logits, tuple | list) and logits:
        logits = logits[0]
    if not isinstance(logits, Tensor):
        return False
    if output.ndim == 4 and output.numel() != logits.numel():
        output = output.mean(dim=(2, 3))
    return output.numel() == logits.numel() and torch.allclose(
        output.flatten(), logits.flatten(), rtol=1e-3, atol=1e-5
    )


def _name_of(module: nn.Module, model: nn.Module) -> str:
    names: dict[int, str] = {id(candidate): name for name, candidate in model.named_modules()}
    return names[id(module)]
