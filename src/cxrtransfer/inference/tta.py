"""Fixed views of an image, for asking a network more than once (test-time augmentation)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["View", "small_views"]


@dataclass(frozen=True, kw_only=True)
class View:
    """The same image a little turned, shifted, or mirrored; called on a network's input.

    What comes in from outside repeats the image's border, so that it suits images of any
    normalization.

    Attributes:
        rotation: Turn against the clock, in degrees.
        right: Shift to the right, as a part of the width.
        down: Shift downward, as a part of the height.
        mirror: Whether to mirror left and right. A mirrored radiograph shows the burnt-in R
            marker reversed and the heart on the wrong side, which in a patient is a rare finding
            of its own; a network that never saw that in training has nothing to say about it.

    Example:
        >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> View(mirror=True)(image)
        tensor([[[[2., 1.],
                  [4., 3.]]]])
    """

    rotation: float = 0.0
    right: float = 0.0
    down: float = 0.0
    mirror: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """Change images, float ``(N, C, H, W)``, into others of the same shape and dtype."""
        if self.mirror:
            images = images.flip(-1)
        if not (self.rotation or self.right or self.down):
            return images
        height, width = images.shape[-2:]
        angle = torch.deg2rad(torch.tensor(self.rotation))
        cos, sin = angle.cos(), angle.sin()
        # Where each pixel of the view comes from, with the image spanning -1 to 1.
        right, down = torch.tensor(2 * self.right), torch.tensor(2 * self.down)
        aspect = height / width
        matrix = torch.stack(
            [
                torch.stack([cos, -sin * aspect, -cos * right + sin * aspect * down]),
                torch.stack([sin / aspect, cos, -sin / aspect * right - cos * down]),
            ]
        ).to(images)
        grid = functional.affine_grid(
            matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False
        )
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def small_views(
    *, rotation: float = 3.0, shift: float = 0.02, mirror: bool = False
) -> tuple[View, ...]:
    """List the image itself, two turns and four shifts of it.

    Args:
        rotation: Turn either way, in degrees.
        shift: Shift in each of four directions, as a part of the image.
        mirror: Whether to add the mirror image of each. Not by default: it shows the R marker
            reversed and the heart on the wrong side (see :class:`View`).

    Returns:
        Seven views, or fourteen; the first is the image as it is.
    """
    views = (
        View(),
        View(rotation=rotation),
        View(rotation=-rotation),
        View(right=shift),
        View(right=-shift),
        View(down=shift),
        View(down=-shift),
    )
    if not mirror:
        return views
    return (
        *views,
        *(
            View(rotation=view.rotation, right=view.right, down=view.down, mirror=True)
            for view in views
        ),
    )
