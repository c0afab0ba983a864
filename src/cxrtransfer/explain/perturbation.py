"""Perturbation checks: deletion and insertion of salient pixels, occlusion."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cxrtransfer.runtime import eval_mode, threads_for

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
    """The class probability while the pixels of an image are replaced, most salient first.

    Attributes:
        fractions: Fraction of the pixels replaced, from 0 to 1, float32, ``(S + 1,)``.
        probabilities: Probability of the class, float32, ``(N, S + 1)``.
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
    """Remove the most salient pixels first and record the class probability.

    Petsiuk et al. 2018 (arXiv:1806.07421). The faster the probability falls, the more the network
    depends on the pixels that the heatmap marks. Compare the area under the curve with that of
    random heatmaps.

    Args:
        model: A classifier that returns logits.
        images: ``(N, C, H, W)``, on the network's device.
        heatmaps: ``(N, H, W)``; only the order of the values matters, and ties are broken in
            row-major order.
        class_index: As for :class:`GradCAM`; by default the class predicted for the image.
        baseline: The replacement pixels, in the shape of ``images``; by default strongly blurred
            images, which are closer to radiographs than uniform gray.
        steps: Number of steps with equally many pixels.
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
    """Restore the most salient pixels first and record the class probability.

    Petsiuk et al. 2018 (arXiv:1806.07421). The faster the probability rises, the more of the
    network's evidence the heatmap marks.

    Args:
        model: As for :func:`deletion_curve`, like all following arguments.
        images: The images at the end of the curve.
        heatmaps: The order in which pixels are restored.
        class_index: By default the class predicted for the complete image.
        baseline: The images at the start of the curve; blurred images by default.
        steps: Number of steps with equally many pixels.
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
    """Replace the pixels of one batch by those of another, most salient first."""
    if start.ndim != 4 or end.shape != start.shape:
        raise ValueError(
            "images and baseline must have the same shape (N, C, H, W), "
            f"got {tuple(start.shape)} and {tuple(end.shape)}"
        )
    if heatmaps.shape != (len(start), *start.shape[2:]):
        raise ValueError(
            f"heatmaps must have shape {(len(start), *start.shape[2:])}, "
            f"got {tuple(heatmaps.shape)}"
        )
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps and batch_size must be positive, got {steps} and {batch_size}")
    order = heatmaps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).view_as(heatmaps)[:, None].to(start.device)  # (N, 1, H, W)
    num_pixels = heatmaps[0].numel()
    counts = [round(step * num_pixels / steps) for step in range(steps + 1)]
    initial = class_probabilities(model, start, batch_size)  # (N, K)
    classes = class_indices(class_index, initial)[:, None]
    probabilities = [initial.gather(1, classes)]
    for count in counts[1:]:
        perturbed = torch.where(rank < count, end, start)
        probabilities.append(class_probabilities(model, perturbed, batch_size).gather(1, classes))
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
    """Occlude one square after another and record the decrease of the class probability.

    The occlusion test of Kermany et al. 2018 (doi:10.1016/j.cell.2018.02.010). It needs neither
    gradients nor a target layer, but one forward pass per square.

    Args:
        model: A classifier that returns logits.
        images: ``(N, C, H, W)``, on the network's device.
        class_index: As for :class:`GradCAM`; by default the class predicted for the image.
        window: Side of the square in pixels; by default an eighth of the smaller image side.
        stride: Distance between squares in pixels; by default half the window. The last square of
            a row or column ends at the border of the image.
        fill: Value in the square. Zero is the mean of the training images if images are
            normalized.
        batch_size: Images per forward pass.

    Returns:
        Mean decrease over the squares that occlude a pixel, in [-1, 1], float32, ``(N, H, W)``;
        negative where occlusion increased the probability.

    Raises:
        ValueError: If ``images`` has the wrong shape, or a length is not positive or too large.
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            f"images must have shape (N, C, H, W) with N >= 1, got {tuple(images.shape)}"
        )
    height, width = images.shape[2:]
    window = max(1, min(height, width) // 8) if window is None else window
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= window <= min(height, width) or not 1 <= stride <= window:
        raise ValueError(
            f"window must lie in [1, {min(height, width)}] and stride in [1, window], "
            f"got {window} and {stride}"
        )
    original = class_probabilities(model, images, batch_size)  # (N, K)
    classes = class_indices(class_index, original)
    squares = _squares(height, width, window, stride).to(images.device)  # (P, H, W)
    pairs = torch.cartesian_prod(torch.arange(len(images)), torch.arange(len(squares)))
    occluded = torch.cat(
        [
            _occluded_probabilities(model, images[which], squares[where], classes[which], fill)
            for which, where in _chunks(pairs.to(images.device), batch_size)
        ]
    ).view(len(images), -1)  # (N, P)
    decreases = original.gather(1, classes[:, None]) - occluded
    return torch.einsum("np,phw->nhw", decreases, squares.float()) / squares.sum(dim=0)


def _occluded_probabilities(
    model: nn.Module, images: Tensor, squares: Tensor, classes: Tensor, fill: float
) -> Tensor:
    occluded = images.masked_fill(squares[:, None], fill)
    return class_probabilities(model, occluded).gather(1, classes[:, None]).squeeze(1)


def _chunks(pairs: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(pairs), batch_size):
        part = pairs[start : start + batch_size]
        yield part[:, 0], part[:, 1]


def _squares(height: int, width: int, window: int, stride: int) -> Tensor:
    """Return one mask per square, bool ``(P, height, width)``."""
    rows, columns = _spans(height, window, stride), _spans(width, window, stride)
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


def _spans(length: int, window: int, stride: int) -> Tensor:
    starts = torch.tensor([*range(0, length - window, stride), length - window])[:, None]
    position = torch.arange(length)
    return (position >= starts) & (position < starts + window)  # (number of spans, length)


def blurred(images: Tensor) -> Tensor:
    """Blur images with a Gaussian of a tenth of the smaller side, which hides any finding.

    Example:
        >>> image = torch.zeros(1, 1, 20, 20)
        >>> image[..., 10, 10] = 1.0
        >>> bool(blurred(image).max() < 0.05)
        True
    """
    from torchvision.transforms.functional import gaussian_blur  # noqa: PLC0415  (slow to import)

    sigma = min(images.shape[2:]) / 10
    radius = min(int(2 * sigma), *(side - 1 for side in images.shape[2:]))  # padding reflects
    blurred_images: Tensor = gaussian_blur(images, [2 * radius + 1] * 2, [sigma, sigma])
    return blurred_images


def class_probabilities(model: nn.Module, images: Tensor, batch_size: int = 64) -> Tensor:
    """Compute class probabilities of images, in eval mode and in batches.

    Args:
        model: A classifier; a single logit is the log odds of class 1.
        images: ``(N, C, H, W)``, on the network's device.
        batch_size: Images per forward pass.

    Returns:
        Probabilities, float32, ``(N, K)``.
    """
    batch = min(batch_size, len(images))
    with eval_mode(model), torch.inference_mode(), threads_for(images[:batch].numel()):
        starts = range(0, len(images), batch_size)
        logits = torch.cat([model(images[start : start + batch_size]) for start in starts]).float()
        if logits.ndim == 1:
            logits = logits[:, None]
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return logits.softmax(dim=1)
