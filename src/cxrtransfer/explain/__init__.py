"""Heatmaps that explain a network's predictions, and checks of these heatmaps."""

from .border import FractionComparison, compare_fractions
from .gradcam import GradCAM
from .localization import (
    border_fraction,
    boxes_to_mask,
    corner_fraction,
    energy_inside,
    intersection_over_union,
    pointing_game,
)
from .overlay import overlay
from .perturbation import PerturbationCurve, deletion_curve, insertion_curve, occlusion
from .randomization import RandomizationCheck, RandomizationVerdict, check_randomization
from .selection import Cell, Rule, select_examples
from .shifts import average_over_shifts
from .stress import STRESSES, StressResult, compare_stressed, predict_stressed, stress_test
from .variants import EigenCAM, GradCAMPlusPlus, HiResCAM

__all__ = [
    "STRESSES",
    "Cell",
    "EigenCAM",
    "FractionComparison",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "PerturbationCurve",
    "RandomizationCheck",
    "RandomizationVerdict",
    "Rule",
    "StressResult",
    "average_over_shifts",
    "border_fraction",
    "boxes_to_mask",
    "check_randomization",
    "compare_fractions",
    "compare_stressed",
    "corner_fraction",
    "deletion_curve",
    "energy_inside",
    "insertion_curve",
    "intersection_over_union",
    "occlusion",
    "overlay",
    "pointing_game",
    "predict_stressed",
    "select_examples",
    "stress_test",
]
