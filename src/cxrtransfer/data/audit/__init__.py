"""Audit of a data set for leakage between splits, duplicates and shortcuts."""

from .audit import audit
from .duplicates import near_pairs
from .results import AuditResult, Duplicates, NearDuplicates, SharedPatients

__all__ = [
    "AuditResult",
    "Duplicates",
    "NearDuplicates",
    "SharedPatients",
    "audit",
    "near_pairs",
]
