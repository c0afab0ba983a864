"""Test-time augmentation: predictions averaged over fixed views of each image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from cxrtransfer.evaluation import Predictions, average
from cxrtransfer.types import Precision

from .datasets import ImageData
from .predict import OutputKind, predict

__all__ = ["View", "predict_views", "small_views"]


@dataclass(frozen=True, kw_only=True)
class View:
    """A fixed rotation, shift and reflection, applied to the input of a network.

    Pixels from outside the image repeat its border, which suits any normalization.

    Attributes:
        rotation: Counterclockwise rotation in degrees.
        right: Shift to the right, as a fraction of the width.
        down: Shift downward, as a fraction of the height.
        mirror: Whether to flip left and right. A mirrored radiograph shows a reversed R marker
            and the heart on the wrong side, a rare finding of its own; a network that was not
            trained on mirrored images is not expected to predict them well.

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
        """Transform images, float ``(N, C, H, W)``; shape and dtype stay the same."""
        if self.mirror:
            images = images.flip(-1)
        if not (self.rotation or self.right or self.down):
            return images
        height, width = images.shape[-2:]
        angle = torch.deg2rad(torch.tensor(self.rotation))
        cos, sin = angle.cos(), angle.sin()
        # Source position of each pixel of the view, in coordinates from -1 to 1.
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
    """Return the identity, two small rotations and four small shifts.

    Args:
        rotation: Rotation in both directions, in degrees.
        shift: Shift in each of four directions, as a fraction of the image.
        mirror: Whether to add the mirror image of each view. Off by default, because it reverses
            the R marker and puts the heart on the wrong side (see :class:`View`).

    Returns:
        Seven views, or fourteen; the first is the identity.
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
    return (*views, *(replace(view, mirror=True) for view in views))


def predict_views(
    model: nn.Module,
    data: ImageData,
    views: Sequence[Callable[[Tensor], Tensor]],
    *,
    output: OutputKind | None = None,
    batch_size: int = 32,
    device: str | torch.device = "auto",
    precision: Precision = "auto",
    num_workers: int = 0,
    progress: bool = False,
) -> Predictions:
    """Average the predictions for several views of each image (test-time augmentation).

    Each view costs a pass over the data. Check the benefit on the validation set; views that do
    not occur in training can decrease performance.

    Args:
        model: As for :func:`predict`.
        data: As for :func:`predict`.
        views: Functions from model input ``(N, C, H, W)`` to the same, such as
            :func:`cxrtransfer.inference.small_views` returns.
        output: As for :func:`predict`.
        batch_size: Images per forward pass; ignored for a loader.
        device: Where to run.
        precision: Number format of the forward pass.
        num_workers: Loader processes; ignored for a loader.
        progress: Whether to show a progress bar per view.

    Returns:
        The mean of the predictions, in the dataset's order.

    Raises:
        ValueError: If ``views`` is empty, or as for :func:`predict`.
    """
    if not views:
        raise ValueError("views must contain at least one view, got none")
    return average(
        [
            predict(
                _Transformed(model, view),
                data,
                output=output,
                batch_size=batch_size,
                device=device,
                precision=precision,
                num_workers=num_workers,
                progress=progress,
            )
            for view in views
        ]
    )


class _Transformed(nn.Module):
    """A network applied to one view of its input."""

    def __init__(self, model: nn.Module, view: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.view = model, view

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(self.view(images))
        return logits
