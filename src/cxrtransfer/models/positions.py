"""Where on the image each number of a layer's output belongs."""

import math

from torch import Tensor

__all__ = ["to_map"]


def to_map(output: Tensor, image_size: tuple[int, int], layer: str = "") -> Tensor:
    """Lay out a layer's output as maps of the image, channels first.

    The layout is read off the shape of the output and of the image, so no architecture need be
    known. A four-dimensional output is ``(N, C, h, w)``, or, where only that has the proportions
    of the image, ``(N, h, w, C)``. A three-dimensional one, ``(N, T, C)``, is a row of tokens:
    the largest grid with the proportions of the image is taken from its end, row by row; what is
    left over in front are tokens without a position (class, distillation, registers).

    Args:
        output: Of a layer of a convolutional network or a transformer.
        image_size: Height and width of the images that went in.
        layer: The layer's name, for the message of an error.

    Returns:
        A view ``(N, C, h, w)``.

    Raises:
        ValueError: If the output has another number of dimensions, or too few tokens for a grid.

    Example:
        >>> import torch
        >>> to_map(torch.zeros(2, 197, 192), (224, 224)).shape  # a class token and 14 x 14 patches
        torch.Size([2, 192, 14, 14])
        >>> to_map(torch.zeros(2, 8, 4, 96), (64, 32)).shape
        torch.Size([2, 96, 8, 4])
    """
    if output.ndim == 4:
        first, middle, last = output.shape[1:]
        channels_last = _misfit((first, middle), image_size) < _misfit((middle, last), image_size)
        return output.permute(0, 3, 1, 2) if channels_last else output
    if output.ndim == 3:
        height, width = _largest_grid(output.shape[1], image_size)
        if height * width > 0:
            grid = output[:, output.shape[1] - height * width :]
            return grid.transpose(1, 2).reshape(len(output), -1, height, width)
    raise ValueError(
        f"layer {layer!r} returned {tuple(output.shape)} for images of {tuple(image_size)}: not "
        "maps (N, C, h, w) or (N, h, w, C), nor tokens (N, T, C)"
    )


def _misfit(size: tuple[int, int], image_size: tuple[int, int]) -> float:
    return abs(math.log(size[0] * image_size[1] / (size[1] * image_size[0])))


def _largest_grid(num_tokens: int, image_size: tuple[int, int]) -> tuple[int, int]:
    divisor = math.gcd(*image_size)
    height, width = image_size[0] // divisor, image_size[1] // divisor
    scale = math.isqrt(num_tokens // (height * width))
    return scale * height, scale * width
