"""Do the images of another hospital look like those a network was trained on?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .bootstrap import patient_codes
from .intervals import Estimate, auroc_interval

__all__ = [
    "ImageProfile",
    "Shift",
    "compare_profiles",
    "feature_separability",
    "intensity_quantiles",
]

_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclass(frozen=True, eq=False)
class ImageProfile:
    """What a set of images looks like from outside.

    Attributes:
        sizes: Width and height of each image as it was stored, in pixels, ``(N, 2)``.
        modes: Kind of pixels of each image as it was stored, such as ``"L"`` or ``"RGB"``.
        quantiles: Intensities that 1, 25, 50, 75 and 99% of each image's pixels stay below,
            ``(N, 5)``, 0 to 255.

    Raises:
        ValueError: If there is no image, or the three are not of one length.
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
    """How differently one quantity is distributed in two sets of images.

    Attributes:
        quantity: In words.
        reference: Its mean over the set that is known.
        other: Its mean over the new set.
        distance: Kolmogorov and Smirnov's: the largest gap between the two cumulative shares, 0
            if alike, 1 if they do not overlap.
        chance: What the distance stays below in 95 of 100 cases if both sets come from one
            source and every image is another patient's.
    """

    quantity: str
    reference: float
    other: float
    distance: float
    chance: float


def intensity_quantiles(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the intensities that 1, 25, 50, 75 and 99% of an image's pixels stay below."""
    return np.quantile(pixels, _QUANTILES)


def compare_profiles(reference: ImageProfile, other: ImageProfile) -> tuple[Shift, ...]:
    """Compare size, shape, mode and intensities of two sets of images.

    Args:
        reference: Of the images a network was trained on.
        other: Of the images it is to be used on.
    """
    both = reference, other
    quantities: dict[str, list[npt.NDArray[np.float64]]] = {
        f"intensity that {share:.0%} of pixels stay below": [
            profile.quantiles[:, place] for profile in both
        ]
        for place, share in enumerate(_QUANTILES)
    }
    quantities["width over height"] = [
        profile.sizes[:, 0] / profile.sizes[:, 1] for profile in both
    ]
    quantities["thousands of pixels"] = [profile.sizes.prod(axis=1) / 1000 for profile in both]
    for mode in sorted({*reference.modes, *other.modes}):
        quantities[f"share of mode {mode}"] = [
            np.array([found == mode for found in profile.modes], dtype=np.float64)
            for profile in both
        ]
    # Smirnov's limit for large sets; ties make it stay below this more often still.
    chance = 1.358 * math.sqrt(1 / len(reference.modes) + 1 / len(other.modes))
    return tuple(
        Shift(
            quantity=quantity,
            reference=float(first.mean()),
            other=float(second.mean()),
            distance=float(ks_2samp(first, second, method="asymp").statistic),
            chance=min(1.0, chance),
        )
        for quantity, (first, second) in quantities.items()
    )


def feature_separability(
    reference: npt.NDArray[np.floating],
    other: npt.NDArray[np.floating],
    *,
    reference_patients: Sequence[str] | None = None,
    other_patients: Sequence[str] | None = None,
    seed: int = 0,
) -> Estimate:
    """Measure how well a linear classifier tells two sets of images apart by their features.

    The AUROC, on half of the patients, of a shrunken linear discriminant fitted on the other half:
    0.5 if the sets look alike to the network, 1 if each image betrays where it comes from. Halves
    rather than folds, as the scores of folds depend on each other and no interval would hold.
    Compare images of one class at a time, or a difference in how frequent disease is will show
    as well.

    Args:
        reference: Features of images a network was trained on (held-out ones), ``(N, F)``.
        other: Features of the new images, ``(M, F)``.
        reference_patients: The patient of each image of the first set; None takes each image for
            its own.
        other_patients: The patient of each image of the second set, likewise.
        seed: Of the division into halves.

    Raises:
        ValueError: If the features are not of one length, or a set has fewer than four patients.
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
    model = make_pipeline(
        StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    )
    halves = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
    fitted_on, judged_on = next(halves.split(features, is_other, groups))
    scores = model.fit(features[fitted_on], is_other[fitted_on]).decision_function(
        features[judged_on]
    )
    return auroc_interval(
        is_other[judged_on], scores, np.unique(groups[judged_on], return_inverse=True)[1]
    )
