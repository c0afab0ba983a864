"""Audit of a data set for leakage between splits, duplicates and shortcuts."""

from .acquisition import BORDER_STATISTICS, acquisition_statistics
from .audit import audit
from .duplicates import near_pairs
from .groups import acquisition_groups, balanced_weights
from .results import (
    Acquisition,
    AuditResult,
    AurocEstimate,
    Duplicates,
    NearDuplicates,
    SharedPatients,
    SplitShift,
)

__all__ = [
    "BORDER_STATISTICS",
    "Acquisition",
    "AuditResult",
    "AurocEstimate",
    "Duplicates",
    "NearDuplicates",
    "SharedPatients",
    "SplitShift",
    "acquisition_groups",
    "acquisition_statistics",
    "audit",
    "balanced_weights",
    "near_pairs",
]
