"""Domain shift: differences in images and features between two sites."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from .bootstrap import patient_codes
from .intervals import Estimate, auroc_interval

__all__ = [
    "ImageProfile",
    "Shift",
    "compare_profiles",
    "feature_separability",
    "intensity_quantiles",
]

_Kind = Literal["intensity", "aspect ratio", "size", "pixel mode"]

_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclass(frozen=True, eq=False)
class ImageProfile:
    """Sizes, pixel modes and intensities of a set of images.

    Attributes:
        sizes: Width and height of each image file, in pixels, ``(N, 2)``.
        modes: Pixel mode of each image file, such as ``"L"`` or ``"RGB"``.
        quantiles: The 1%, 25%, 50%, 75% and 99% quantiles of each image's intensities,
            ``(N, 5)``, 0 to 255.

    Raises:
        ValueError: If there is no image, or the three lengths differ.
    """

    sizes: npt.NDArray[np.int64]
    modes: tuple[str, ...]
    quantiles: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = len(self.sizes), len(self.modes), len(self.quantiles)
        if not lengths[0] or len(set(lengths)) > 1:
            raise ValueError(
                "a profile needs the size, mode and intensities of each of one or more images, "
                f"got {lengths[0]}, {lengths[1]} and {lengths[2]}"
            )


@dataclass(frozen=True)
class Shift:
    """Difference of one quantity's distributions in two sets of images.

    Attributes:
        kind: What the quantity belongs to; several quantities may be of one kind.
        quantity: Display name of the quantity.
        reference: Its mean over the reference set.
        other: Its mean over the other set.
        distance: Kolmogorov-Smirnov distance: 0 for identical distributions, 1 for disjoint ones.
        critical_distance: The distance above which the distributions differ significantly at the
            5% level, for independent images.
    """

    kind: _Kind
    quantity: str
    reference: float
    other: float
    distance: float
    critical_distance: float

    @property
    def is_significant(self) -> bool:
        """Whether the distributions differ significantly at the 5% level."""
        return self.distance > self.critical_distance


def intensity_quantiles(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the 1%, 25%, 50%, 75% and 99% quantiles of an image's intensities, ``(5,)``."""
    return np.quantile(pixels, _QUANTILES)


def compare_profiles(reference: ImageProfile, other: ImageProfile) -> tuple[Shift, ...]:
    """Compare the intensities, aspect ratios, sizes and pixel modes of two sets of images.

    Args:
        reference: Profile of the images a network was trained on.
        other: Profile of the images it is to be used on.
    """
    both = reference, other
    quantities: list[tuple[_Kind, str, list[npt.NDArray[np.float64]]]] = [
        (
            "intensity",
            f"intensity, {fraction:.0%} quantile",
            [profile.quantiles[:, place] for profile in both],
        )
        for place, fraction in enumerate(_QUANTILES)
    ]
    ratios = [profile.sizes[:, 0] / profile.sizes[:, 1] for profile in both]
    quantities.append(("aspect ratio", "aspect ratio (width / height)", ratios))
    pixels = [profile.sizes.prod(axis=1) / 1000 for profile in both]
    quantities.append(("size", "size in thousands of pixels", pixels))
    for mode in sorted({*reference.modes, *other.modes}):
        has_mode = [np.array([own == mode for own in profile.modes]) * 1.0 for profile in both]
        quantities.append(("pixel mode", f"fraction of pixel mode {mode}", has_mode))
    # Smirnov's asymptotic critical value at the 5% level; with ties the test is conservative.
    critical = 1.358 * math.sqrt(1 / len(reference.modes) + 1 / len(other.modes))
    return tuple(
        Shift(
            kind=kind,
            quantity=quantity,
            reference=float(first.mean()),
            other=float(second.mean()),
            distance=float(scipy.stats.ks_2samp(first, second, method="asymp").statistic),
            critical_distance=min(1.0, critical),
        )
        for kind, quantity, (first, second) in quantities
    )


def feature_separability(
    reference: npt.NDArray[np.floating],
    other: npt.NDArray[np.floating],
    *,
    reference_patients: Sequence[str] | None = None,
    other_patients: Sequence[str] | None = None,
    seed: int = 0,
) -> Estimate:
    """Estimate the AUROC of a linear classifier of the site from a network's features.

    A shrinkage linear discriminant is fitted on half of the patients and evaluated on the other
    half: 0.5 if the features of the two sets are indistinguishable, 1 if they are separable. Folds
    are not pooled, as their scores depend on each other and the interval would be invalid. Compare
    images of one class at a time, as otherwise a difference in prevalence shows as well.

    Args:
        reference: Features of held-out images from the training site, ``(N, F)``.
        other: Features of images from the other site, ``(M, F)``.
        reference_patients: The patient of each image of the first set; None treats each image as
            a separate patient.
        other_patients: The patient of each image of the second set, in the same way.
        seed: Seed of the division into halves.

    Returns:
        The AUROC with its confidence interval.

    Raises:
        ValueError: If the numbers of features differ, or a set has fewer than four patients.
    """
    if reference.ndim != 2 or other.ndim != 2 or reference.shape[1] != other.shape[1]:
        raise ValueError(
            f"features must be (N, F) and (M, F), got {reference.shape} and {other.shape}"
        )
    codes, others = (
        np.arange(len(features)) if names is None else patient_codes(names, len(features))
        for features, names in ((reference, reference_patients), (other, other_patients))
    )
    groups = np.concatenate([codes, others + len(codes)])
    num_patients = len(np.unique(codes)), len(np.unique(others))
    if min(num_patients) < 4:
        raise ValueError(
            "each set must have at least four patients, "
            f"got {num_patients[0]} and {num_patients[1]}"
        )
    features = np.concatenate([reference, other]).astype(np.float64)
    is_other = np.repeat([False, True], [len(reference), len(other)])
    # Slow to import, and only needed here.
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: PLC0415
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    model = make_pipeline(
        StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    )
    halves = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
    fit_rows, test_rows = next(halves.split(features, is_other, groups))
    scores = model.fit(features[fit_rows], is_other[fit_rows]).decision_function(
        features[test_rows]
    )
    return auroc_interval(
        is_other[test_rows], scores, np.unique(groups[test_rows], return_inverse=True)[1]
    )
