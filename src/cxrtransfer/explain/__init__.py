"""Heatmaps that explain a network's predictions, and checks of these heatmaps."""

from .border import FractionComparison as FractionComparison, compare_fractions
from .gradcam import GradCAM
from .localization import (
    border_fraction,
    boxes_to_mask,
    corner_fraction as corner_fraction,
    energy_inside,
    intersection_over_union,
    pointing_game,
)
from .overlay import overlay
from .perturbation import (
    PerturbationCurve as PerturbationCurve,
    deletion_curve,
    insertion_curve,
    occlusion,
)
from .randomization import (
    RandomizationCheck as RandomizationCheck,
    RandomizationVerdict as RandomizationVerdict,
    check_randomization,
)
from .selection import Cell as Cell, Rule as Rule, select_examples
from .shifts import average_over_shifts
from .stress import (
    STRESSES as STRESSES,
    StressResult as StressResult,
    compare_stressed as compare_stressed,
    predict_stressed as predict_stressed,
    stress_test,
)
from .variants import EigenCAM, GradCAMPlusPlus, HiResCAM

__all__ = [
    "EigenCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "average_over_shifts",
    "border_fraction",
    "boxes_to_mask",
    "check_randomization",
    "compare_fractions",
    "deletion_curve",
    "energy_inside",
    "insertion_curve",
    "intersection_over_union",
    "occlusion",
    "overlay",
    "pointing_game",
    "select_examples",
    "stress_test",
]
