"""Audit of a data set for leakage between splits, duplicates and shortcuts."""

from .audit import audit
from .duplicates import near_pairs
from .results import AuditResult

__all__ = ["AuditResult", "audit", "near_pairs"]
