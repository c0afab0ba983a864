"""Change the image where the heat is, or everywhere in turn, and see what the network says."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from cxrtransfer.runtime import eval_mode

from .scores import ClassIndex, class_indices

__all__ = [
    "PerturbationCurve",
    "blurred",
    "class_probabilities",
    "deletion_curve",
    "insertion_curve",
    "occlusion",
]


@dataclass(frozen=True, eq=False, repr=False)
class PerturbationCurve:
    """The class probability while an image is changed pixel by pixel, hottest first.

    Attributes:
        fractions: Share of the pixels changed so far, from 0 to 1, float32, ``(S + 1,)``.
        probabilities: Of the class, float32, ``(N, S + 1)``.
    """

    fractions: Tensor
    probabilities: Tensor

    @property
    def auc(self) -> Tensor:
        """Area under each image's curve, in [0, 1], ``(N,)``."""
        return torch.trapezoid(self.probabilities, self.fractions, dim=1)

    def __repr__(self) -> str:
        images, points = self.probabilities.shape
        return (
            f"PerturbationCurve({images} images, {points} points, {self.auc.mean():.3f} mean AUC)"
        )


def deletion_curve(
    model: nn.Module,
    images: Tensor,
    heatmaps: Tensor,
    class_index: ClassIndex = None,
    *,
    baseline: Tensor | None = None,
    steps: int = 20,
    batch_size: int = 64,
) -> PerturbationCurve:
    """Take the hottest pixels away first and follow the class probability (Petsiuk et al. 2018).

    The faster it falls, the more the network depended on what the heatmap marks. Compare with
    random heatmaps: a small area by itself says little.

    Args:
        model: A classifier that returns logits.
        images: ``(N, C, H, W)``, on the network's device.
        heatmaps: ``(N, H, W)``; only the order of the values counts. Equal ones go in reading
            order.
        class_index: As for :class:`GradCAM`; by default the class predicted for the image.
        baseline: What the pixels are replaced by, the shape of ``images``; by default the images
            blurred until only shades are left, which stays nearer to radiographs than gray does.
        steps: Number of equal portions of pixels.
        batch_size: Images per forward pass.

    Returns:
        The curve, from the whole image to the baseline.

    Raises:
        ValueError: If a shape does not fit or a number is not positive.
    """
    baseline = blurred(images) if baseline is None else baseline
    return _curve(model, images, baseline, heatmaps, class_index, steps, batch_size)


def insertion_curve(
    model: nn.Module,
    images: Tensor,
    heatmaps: Tensor,
    class_index: ClassIndex = None,
    *,
    baseline: Tensor | None = None,
    steps: int = 20,
    batch_size: int = 64,
) -> PerturbationCurve:
    """Put the hottest pixels back first and follow the class probability (Petsiuk et al. 2018).

    The faster it rises, the more of the network's evidence the heatmap has found.

    Args:
        model: As for :func:`deletion_curve`, like all that follow.
        images: The images the curve ends with; the default class is the one predicted for them.
        heatmaps: The order in which pixels come back.
        class_index: The class to follow.
        baseline: The images the curve begins with; blurred ones by default.
        steps: Number of equal portions of pixels.
        batch_size: Images per forward pass.

    Returns:
        The curve, from the baseline to the whole image.

    Raises:
        ValueError: If a shape does not fit or a number is not positive.
    """
    baseline = blurred(images) if baseline is None else baseline
    if class_index is None:
        class_index = class_probabilities(model, images, batch_size).argmax(dim=1)
    return _curve(model, baseline, images, heatmaps, class_index, steps, batch_size)


def _curve(
    model: nn.Module,
    start: Tensor,
    end: Tensor,
    heatmaps: Tensor,
    class_index: ClassIndex,
    steps: int,
    batch_size: int,
) -> PerturbationCurve:
    """Go from one batch to another, pixel by pixel in the order of the heat."""
    if start.ndim != 4 or end.shape != start.shape:
        raise ValueError(
            "images and baseline must have one shape (N, C, H, W), "
            f"got {tuple(start.shape)} and {tuple(end.shape)}"
        )
    if heatmaps.shape != (len(start), *start.shape[2:]):
        raise ValueError(
            f"heatmaps must have the shape {(len(start), *start.shape[2:])}, "
            f"got {tuple(heatmaps.shape)}"
        )
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps and batch_size must be positive, got {steps} and {batch_size}")
    order = heatmaps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).view_as(heatmaps)[:, None].to(start.device)  # (N, 1, H, W)
    num_pixels = heatmaps[0].numel()
    counts = [round(step * num_pixels / steps) for step in range(steps + 1)]
    at_start = class_probabilities(model, start, batch_size)  # (N, K)
    classes = class_indices(class_index, at_start)[:, None]
    probabilities = [at_start.gather(1, classes)]
    for count in counts[1:]:
        changed = torch.where(rank < count, end, start)
        probabilities.append(class_probabilities(model, changed, batch_size).gather(1, classes))
    fractions = torch.tensor(counts, device=start.device) / num_pixels
    return PerturbationCurve(fractions, torch.cat(probabilities, dim=1))


def occlusion(
    model: nn.Module,
    images: Tensor,
    class_index: ClassIndex = None,
    *,
    window: int | None = None,
    stride: int | None = None,
    fill: float = 0.0,
    batch_size: int = 64,
) -> Tensor:
    """Cover one square after another and note how far the class probability falls.

    The occlusion test of Kermany et al. 2018 (doi:10.1016/j.cell.2018.02.010). It needs no
    gradient and no layer, only many forward passes: one for each square.

    Args:
        model: A classifier that returns logits.
        images: ``(N, C, H, W)``, on the network's device.
        class_index: As for :class:`GradCAM`; by default the class predicted for the image.
        window: Side of the square in pixels; by default an eighth of the smaller image side.
        stride: Distance between squares in pixels; by default half a window. The last square of
            a row or column ends at the image's edge.
        fill: Value in the square. Zero is the mean of what the network was trained on, where
            images are normalized.
        batch_size: Images per forward pass.

    Returns:
        Mean fall over the squares that cover a pixel, in [-1, 1], float32, ``(N, H, W)``; below
        zero where covering helped the class.

    Raises:
        ValueError: If ``images`` has the wrong shape, or a length is not positive or too large.
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images must be (N, C, H, W) with N >= 1, got {tuple(images.shape)}")
    height, width = images.shape[2:]
    window = max(1, min(height, width) // 8) if window is None else window
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= window <= min(height, width) or not 1 <= stride <= window:
        raise ValueError(
            f"window must lie in [1, {min(height, width)}] and stride in [1, window], or pixels "
            f"stay uncovered; got {window} and {stride}"
        )
    whole = class_probabilities(model, images, batch_size)  # (N, K)
    classes = class_indices(class_index, whole)
    squares = _squares(height, width, window, stride).to(images.device)  # (P, H, W)
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(len(squares)))
    covered = torch.cat(
        [
            _covered_probabilities(model, images[which], squares[where], classes[which], fill)
            for which, where in _portions(pairs.to(images.device), batch_size)
        ]
    ).view(len(images), -1)  # (N, P)
    falls = whole.gather(1, classes[:, None]) - covered
    return torch.einsum("np,phw->nhw", falls, squares.float()) / squares.sum(dim=0)


def _covered_probabilities(
    model: nn.Module, images: Tensor, squares: Tensor, classes: Tensor, fill: float
) -> Tensor:
    covered = images.masked_fill(squares[:, None], fill)
    return class_probabilities(model, covered).gather(1, classes[:, None]).squeeze(1)


def _portions(pairs: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(pairs), batch_size):
        part = pairs[start : start + batch_size]
        yield part[:, 0], part[:, 1]


def _squares(height: int, width: int, window: int, stride: int) -> Tensor:
    """Mark each square in a mask of its own, bool ``(P, height, width)``."""
    rows, columns = _spans(height, window, stride), _spans(width, window, stride)
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


def _spans(length: int, window: int, stride: int) -> Tensor:
    starts = torch.tensor([*range(0, length - window, stride), length - window])[:, None]
    place = torch.arange(length)
    return (place >= starts) & (place < starts + window)  # (number of spans, length)


def blurred(images: Tensor) -> Tensor:
    """Blur images until no finding is left: a Gaussian of a tenth of the smaller side.

    Example:
        >>> image = torch.zeros(1, 1, 20, 20)
        >>> image[..., 10, 10] = 1.0
        >>> bool(blurred(image).max() < 0.05)
        True
    """
    sigma = min(images.shape[2:]) / 10
    reach = min(int(2 * sigma), *(side - 1 for side in images.shape[2:]))  # padding reflects
    blurred_images: Tensor = gaussian_blur(images, [2 * reach + 1] * 2, [sigma, sigma])
    return blurred_images


def class_probabilities(model: nn.Module, images: Tensor, batch_size: int = 64) -> Tensor:
    """Run images through a network in eval mode, in portions.

    Args:
        model: A classifier; a single logit is read as that of class 1 against class 0.
        images: ``(N, C, H, W)``, on the network's device.
        batch_size: Images per forward pass.

    Returns:
        Probabilities, float32, ``(N, K)``.
    """
    with eval_mode(model), torch.inference_mode():
        starts = range(0, len(images), batch_size)
        logits = torch.cat([model(images[start : start + batch_size]) for start in starts]).float()
        if logits.ndim == 1:
            logits = logits[:, None]
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return logits.softmax(dim=1)
