"""Which parts of an image speak for a class, and whether that is so."""

from .border import FractionComparison, compare_fractions
from .gradcam import GradCAM, Layer
from .localization import (
    border_fraction,
    border_mask,
    boxes_to_mask,
    corner_fraction,
    corner_mask,
    energy_inside,
    pointing_game,
)
from .maps import (
    class_activation_map,
    class_activation_map_plus_plus,
    eigen_map,
    elementwise_map,
)
from .overlay import overlay
from .perturbation import (
    PerturbationCurve,
    blurred,
    class_probabilities,
    deletion_curve,
    insertion_curve,
    occlusion,
)
from .randomization import (
    RandomizationCheck,
    check_randomization,
    rank_correlation,
    structural_similarity,
)
from .scores import ClassIndex, class_score
from .selection import Cell, Rule, select_examples
from .shifts import average_over_shifts
from .variants import EigenCAM, GradCAMPlusPlus, HiResCAM

__all__ = [
    "Cell",
    "ClassIndex",
    "EigenCAM",
    "FractionComparison",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "Layer",
    "PerturbationCurve",
    "RandomizationCheck",
    "Rule",
    "average_over_shifts",
    "blurred",
    "border_fraction",
    "border_mask",
    "boxes_to_mask",
    "check_randomization",
    "class_activation_map",
    "class_activation_map_plus_plus",
    "class_probabilities",
    "class_score",
    "compare_fractions",
    "corner_fraction",
    "corner_mask",
    "deletion_curve",
    "eigen_map",
    "elementwise_map",
    "energy_inside",
    "insertion_curve",
    "occlusion",
    "overlay",
    "pointing_game",
    "rank_correlation",
    "select_examples",
    "structural_similarity",
]
