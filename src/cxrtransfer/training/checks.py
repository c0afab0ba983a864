"""Checks of the data and the network, so that errors name the cause before the first epoch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from cxrtransfer.inference import ImageData, are_probabilities, check_pair
from cxrtransfer.models import set_train_mode
from cxrtransfer.runtime import ResolvedPrecision, autocast, eval_mode

__all__ = [
    "check_batch",
    "check_batch_norm",
    "check_data",
    "check_labels",
    "check_logits",
    "check_outputs",
    "check_weights",
]


_NUM_CHECKED = 16  # images whose outputs are checked


def check_data(data: ImageData, split: str) -> None:
    """Raise if a split is an ``IterableDataset`` or a loader over one."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(dataset, IterableDataset):
        raise TypeError(
            f"{split} must be a dataset with a length and items by index, got "
            f"{type(dataset).__name__}, an IterableDataset; write a Dataset with __len__ and "
            "__getitem__, or collect its items in a list"
        )


def check_labels(labels: npt.NDArray[np.int64], class_names: Sequence[str], split: str) -> None:
    """Raise if a split is empty or a label is not the index of a class."""
    if not len(labels):
        raise ValueError(f"{split} must hold at least one image, got none")
    outside = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(outside):
        raise ValueError(
            f"labels of {split} must be class indices in [0, {len(class_names)}) for the classes "
            f"{list(class_names)}, got {labels[outside[0]]} for image {outside[0]} "
            f"({len(outside)} such labels)"
        )


def check_batch(batch: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:  # noqa: ANN401  (a user's)
    """Return the images, in the network's dtype, and the int64 labels ``(n,)`` of a batch."""
    check_pair(batch, "a batch")
    images, labels = batch
    if not isinstance(images, Tensor) or not images.is_floating_point():
        raise TypeError(
            f"images must be float tensors, got {_describe(images)}; convert them, e.g. with "
            "cxrtransfer.data.to_model_input() or torchvision's ToTensor"
        )
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"labels must be integer class indices, got {_describe(labels)}")
    if labels.shape == (len(images), 1):  # as of MedMNIST
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise ValueError(
            f"labels must be one class index per image, shape ({len(images)},), got "
            f"{tuple(labels.shape)}; turn one-hot labels into indices with argmax"
        )
    return images.to(dtype), labels.long()


def check_logits(output: Any, num_classes: int) -> Tensor:  # noqa: ANN401  (a user's network's)
    """Return a network's output if it is logits ``(n, num_classes)``."""
    if not isinstance(output, Tensor):
        raise TypeError(
            f"the network must return one tensor of logits (N, K), got {_describe(output)}; wrap "
            "it in a module that returns the logits only, or switch auxiliary outputs off"
        )
    if output.ndim != 2:
        raise ValueError(
            f"the network must return logits of shape (N, K), got {tuple(output.shape)}"
        )
    if output.shape[1] != num_classes:
        raise ValueError(
            f"the network must have one output per class ({num_classes}), got {output.shape[1]}; "
            f"build it with num_classes={num_classes}"
        )
    return output


def check_outputs(
    model: nn.Module,
    val: ImageData,
    num_classes: int,
    precision: ResolvedPrecision,
) -> int:
    """Raise if the network does not return logits ``(n, num_classes)`` of a few validation images.

    Args:
        model: The network, on its device.
        val: The validation split.
        num_classes: Number of classes.
        precision: Number format of the forward pass.

    Returns:
        Number of values of an image.
    """
    loader = val if isinstance(val, DataLoader) else DataLoader(val)
    dataset: Any = loader.dataset
    if loader.batch_sampler is None:  # the dataset itself returns batches
        batches = loader
    else:
        subset = Subset(dataset, range(min(len(dataset), _NUM_CHECKED)))
        batches = DataLoader(subset, batch_size=_NUM_CHECKED, collate_fn=loader.collate_fn)
    parameter = next(model.parameters())
    images, labels = check_batch(next(iter(batches)), parameter.dtype)
    images, labels = images[:_NUM_CHECKED], labels[:_NUM_CHECKED]
    with (
        eval_mode(model),
        torch.inference_mode(),
        autocast(parameter.device, precision),
    ):
        outputs = check_logits(model(images.to(parameter.device)), num_classes)
    values, few = outputs.float().cpu().numpy(), TensorDataset(images, labels)
    if are_probabilities(model, values, few, parameter.device):
        raise ValueError(
            "the network must return logits, got probabilities; remove its last softmax or "
            "sigmoid, which is part of the loss"
        )
    return images[0].numel()


def check_weights(model: nn.Module) -> None:
    """Raise if there are none, or in half precision, which loses small updates."""
    if next(model.parameters(), None) is None:
        raise ValueError("model must have at least one trainable parameter, got none")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"trainable weights must be float32 or float64, got {parameter.dtype} for {name}; "
                "call model.float(): precision='bf16' or 'fp16' sets the forward pass only"
            )


def check_batch_norm(model: nn.Module, train: ImageData, batch_size: int) -> None:
    """Raise if the network cannot be trained on a batch of one image.

    Batch normalization needs more than one value per channel, which one image has only where its
    feature maps have more than one pixel.

    Args:
        model: The network, on its device; its buffers and modes are restored.
        train: The training split, of which the first image is used.
        batch_size: For the error message.
    """
    first: Any = train
    parameter = next(model.parameters())
    images, _ = check_batch(default_collate([first[0]]), parameter.dtype)
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with eval_mode(model), torch.no_grad():
            set_train_mode(model)
            model(images.to(parameter.device))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            f"batch normalization needs at least 2 images per batch, but with batch_size="
            f"{batch_size} some batch of a process has only 1; choose another batch_size"
        ) from error
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    first = f" of {type(value[0]).__name__}" if isinstance(value, list | tuple) and value else ""
    return f"{type(value).__name__}{first}"
