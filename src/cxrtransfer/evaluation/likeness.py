"""Do the images of another hospital look like those a network was trained on?"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .intervals import Estimate, auroc_interval

__all__ = ["ImageProfile", "Shift", "compare_profiles", "feature_separability", "profile_images"]

_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclass(frozen=True, eq=False)
class ImageProfile:
    """What a set of images looks like from outside.

    Attributes:
        shapes: How many images there are of each ``(height, width)``.
        modes: How many are ``"grey"``, how many ``"colour"``.
        quantiles: Intensities that 1, 25, 50, 75 and 99 % of each image's pixels stay below,
            ``(N, 5)``, 0 to 255.
    """

    shapes: dict[tuple[int, int], int]
    modes: dict[str, int]
    quantiles: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """How differently one quantity is distributed in two sets of images.

    Attributes:
        quantity: In words.
        reference: Its mean over the set that is known.
        other: Its mean over the new set.
        distance: Kolmogorov and Smirnov's: the largest gap between the two cumulative shares, 0
            if alike, 1 if they do not overlap.
    """

    quantity: str
    reference: float
    other: float
    distance: float


def profile_images(images: Iterable[npt.NDArray[np.uint8]]) -> ImageProfile:
    """Look at each image once.

    Args:
        images: Grey ``(H, W)`` or colour ``(H, W, 3)``, uint8, as they are in their files.

    Raises:
        ValueError: If there is none.
    """
    shapes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    quantiles = []
    for image in images:
        shapes[image.shape[0], image.shape[1]] += 1
        modes["grey" if image.ndim == 2 else "colour"] += 1
        quantiles.append(np.quantile(image, _QUANTILES))
    if not quantiles:
        raise ValueError("there must be at least one image, got none")
    return ImageProfile(dict(shapes), dict(modes), np.array(quantiles))


def compare_profiles(reference: ImageProfile, other: ImageProfile) -> tuple[Shift, ...]:
    """Compare size, shape, mode and intensities of two sets of images.

    Args:
        reference: Of the images a network was trained on.
        other: Of the images it is to be used on.
    """
    pairs = {
        f"intensity that {share:.0%} of pixels stay below": (
            reference.quantiles[:, place],
            other.quantiles[:, place],
        )
        for place, share in enumerate(_QUANTILES)
    }
    pairs["width over height"] = _of_shapes(reference, _aspect), _of_shapes(other, _aspect)
    pairs["thousands of pixels"] = _of_shapes(reference, _pixels), _of_shapes(other, _pixels)
    pairs["share in colour"] = _colour(reference), _colour(other)
    return tuple(
        Shift(
            quantity=quantity,
            reference=float(first.mean()),
            other=float(second.mean()),
            distance=float(ks_2samp(first, second, method="asymp").statistic),
        )
        for quantity, (first, second) in pairs.items()
    )


def feature_separability(
    reference: npt.NDArray[np.floating],
    other: npt.NDArray[np.floating],
    *,
    seed: int = 0,
    folds: int = 5,
) -> Estimate:
    """Measure how well a linear classifier tells two sets of images apart by their features.

    The AUROC of a shrunken linear discriminant in cross-validation: 0.5 if the sets look alike to
    the network, 1 if each image betrays where it comes from.

    Args:
        reference: Features of images a network was trained on (held-out ones), ``(N, F)``.
        other: Features of the new images, ``(M, F)``.
        seed: Of the division into folds.
        folds: How many.

    Raises:
        ValueError: If the features are not of one length, or a set has fewer images than folds.
    """
    if reference.ndim != 2 or other.ndim != 2 or reference.shape[1] != other.shape[1]:
        raise ValueError(
            f"features must be (N, F) and (M, F), got {reference.shape} and {other.shape}"
        )
    if min(len(reference), len(other)) < folds:
        raise ValueError(
            f"each set must have at least {folds} images, got {len(reference)} and {len(other)}"
        )
    features = np.concatenate([reference, other]).astype(np.float64)
    is_other = np.repeat([False, True], [len(reference), len(other)])
    model = make_pipeline(
        StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    )
    division = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = cross_val_predict(model, features, is_other, cv=division, method="decision_function")
    return auroc_interval(is_other, scores, np.arange(len(scores)))


def _aspect(height: int, width: int) -> float:
    return width / height


def _pixels(height: int, width: int) -> float:
    return height * width / 1000


def _of_shapes(
    profile: ImageProfile, quantity: Callable[[int, int], float]
) -> npt.NDArray[np.float64]:
    values = [quantity(*shape) for shape in profile.shapes]
    return np.repeat(values, list(profile.shapes.values()))


def _colour(profile: ImageProfile) -> npt.NDArray[np.float64]:
    return np.repeat([0.0, 1.0], [profile.modes.get("grey", 0), profile.modes.get("colour", 0)])
