"""How the report writes numbers, and the sentences that several of its sections share."""

import math

from cxrtransfer.data import AuditResult
from cxrtransfer.evaluation import Drop, Estimate, Evaluation
from cxrtransfer.study import ExternalTest, RunResult

UNDEFINED = "\N{EN DASH}"


def number(value: float | None, *, signed: bool = False) -> str:
    """Format a number with three decimals; an en dash where it is undefined."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def percent(fraction: float, *, signed: bool = False) -> str:
    """Format a fraction as a percentage with one decimal; an en dash where it is undefined."""
    if not math.isfinite(fraction):
        return UNDEFINED
    return f"{fraction:+.1%}" if signed else f"{fraction:.1%}"


def p_value(value: float | None) -> str:
    """Format a p-value as a table cell, e.g. ``0.021`` or ``< 0.001``."""
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def p_equals(value: float | None) -> str:
    """Format a p-value within a sentence, e.g. ``p = 0.021`` or ``p < 0.001``."""
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def interval(low: float, high: float) -> str:
    """Format an interval of values that are never negative; an en dash where it is undefined."""
    if not math.isfinite(low):
        return UNDEFINED
    return f"{number(low)}\N{EN DASH}{number(high)}"


def with_interval(estimate: Estimate) -> str:
    """Format an estimate within a sentence, e.g. ``0.961 (95% CI 0.941 to 0.974)``."""
    if math.isnan(estimate.value):
        return f"undefined ({estimate.reason})"
    if math.isnan(estimate.low):
        return f"{number(estimate.value)} (no CI: {estimate.reason})"
    return f"{number(estimate.value)} (95% CI {interval(estimate.low, estimate.high)})"


def value_over_interval(estimate: Estimate) -> str:
    """Format an estimate as a table cell: the value, and its interval on the next line."""
    if math.isnan(estimate.low):
        return number(estimate.value)
    return f"{number(estimate.value)}\n{interval(estimate.low, estimate.high)}"


def mean_over_range(values: list[float]) -> str:
    """Format several values as a table cell: their mean, and their range on the next line."""
    mean = number(sum(values) / len(values))
    return f"{mean}\n{interval(min(values), max(values))}"


def difference_with_interval(difference: float, low: float, high: float, reason: str = "") -> str:
    """Format a difference within a sentence, e.g. ``+0.012, 95% CI -0.010 to +0.034``."""
    if math.isnan(low):
        return f"{number(difference, signed=True)}, no CI{': ' if reason else ''}{reason}"
    ends = f"{number(low, signed=True)} to {number(high, signed=True)}"
    return f"{number(difference, signed=True)}, 95% CI {ends}"


def difference_cell(difference: float, low: float, high: float) -> str:
    """Format a difference as a table cell: the value, and its interval on the next line."""
    if math.isnan(low):
        return number(difference, signed=True)
    ends = f"{number(low, signed=True)} to {number(high, signed=True)}"
    return f"{number(difference, signed=True)}\n{ends}"


def counted(count: int, noun: str) -> str:
    """Format a count with its noun, e.g. ``1 run`` or ``1,200 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def joined(names: tuple[str, ...] | list[str]) -> str:
    """Join names in a sentence, e.g. ``a, b and c``."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def prevalence(evaluation: Evaluation) -> float:
    """Return the fraction of positive images of an evaluated set."""
    positive = evaluation.confusion_matrix[evaluation.positive_index].sum()
    return float(positive / evaluation.num_images)


def audit_warning(audit: AuditResult) -> str:
    """Warn of leakage, or of patients that are unknown; empty where the audit found neither."""
    if audit.leaks:
        return (
            "Patients, files or near-duplicates occur in more than one split; performance on new "
            "images may be worse than reported here (see the leakage audit)."
        )
    if not audit.patients_known:
        return (
            "No patient identifiers are known. Patients may occur in more than one split, and "
            "the confidence intervals may be too narrow; provide identifiers in a table with the "
            "column patient_id."
        )
    return ""


def external_verdict(test: ExternalTest) -> str:
    """Compare the AUROC of an external test with that of the internal test set."""
    drop: Drop = test.drop("auroc")
    size = f"by {number(abs(drop.drop))} (difference {_interval_of(drop)})"
    if math.isnan(drop.low):
        reason = drop.reference.reason or drop.other.reason
        return f"No conclusion on generalization: an AUROC or its CI is undefined ({reason})."
    if drop.low > 0:
        return f"The external AUROC is lower {size}: the internal performance does not generalize."
    if drop.high < 0:
        return f"The external AUROC is higher {size}: the two test sets are not equivalent."
    return (
        "The internal and external AUROCs do not differ significantly "
        f"(difference {_interval_of(drop)})."
    )


def _interval_of(drop: Drop) -> str:
    return difference_with_interval(drop.drop, drop.low, drop.high)


def external_cautions(test: ExternalTest) -> list[str]:
    """Warn of unreadable images, and of images that the run already knows."""
    num_images = test.external.num_images
    cautions = []
    if test.skipped:
        total = num_images + len(test.skipped)
        cautions.append(
            f"{len(test.skipped):,} of {total:,} images are unreadable and were excluded."
        )
    if test.known:
        cautions.append(
            f"{test.known:,} of {num_images:,} images have an id or patient that also occurs in "
            "the run's own data; if they are the same images, this is not an external test."
        )
    return cautions


def unavailable(run: RunResult, stage: str) -> str:
    """State why a stage of a run has no result."""
    return f"Not available for {run.name}: {run.missing[stage]}"
