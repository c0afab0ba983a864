"""How the report writes numbers, and the sentences that several of its sections share."""

import math

from cxrtransfer.data import AuditResult
from cxrtransfer.evaluation import METRICS, Drop, Estimate
from cxrtransfer.study import ExternalTest, RunResult

from .names import run_label

UNDEFINED = "\N{EN DASH}"
EXTERNAL_METRICS = (
    "auroc", "balanced_accuracy", "accuracy", "f1_macro", "recall", "specificity", "precision",
    "brier",
)  # fmt: skip
DEPENDS_ON_PREVALENCE = ("accuracy", "f1_macro", "precision", "brier")
MIN_P_VALUE = 0.001  # smaller ones are reported as a bound


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
    return f"< {MIN_P_VALUE}" if value is not None and value < MIN_P_VALUE else number(value)


def p_equals(value: float | None) -> str:
    """Format a p-value within a sentence, e.g. ``p = 0.021`` or ``p < 0.001``."""
    is_bound = value is not None and value < MIN_P_VALUE
    return f"p {'' if is_bound else '= '}{p_value(value)}"


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
    """Format several values as a table cell: their mean, and their range on the next line.

    An en dash where one is undefined.
    """
    if any(map(math.isnan, values)):
        return UNDEFINED
    mean = number(sum(values) / len(values))
    return f"{mean}\n{interval(min(values), max(values))}"


def difference_with_interval(
    difference: float, low: float, high: float, reason: str = "", *, confidence: float = 0.95
) -> str:
    """Format a difference within a sentence, e.g. ``+0.012, 95% CI -0.010 to +0.034``."""
    if math.isnan(low):
        return f"{number(difference, signed=True)}, no CI{': ' if reason else ''}{reason}"
    ends = f"{number(low, signed=True)} to {number(high, signed=True)}"
    return f"{number(difference, signed=True)}, {level(confidence)} CI {ends}"


def level(confidence: float) -> str:
    """Format the confidence of an interval, e.g. ``95%``."""
    return f"{100 * confidence:g}%"


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


def audit_warning(audit: AuditResult) -> str:
    """Warn of leakage, or of patients that are unknown; empty where the audit found neither."""
    if audit.leaks:
        return (
            "Patients, files or near-duplicates occur in more than one split; performance on new "
            "images may be worse than reported here (see the split and leakage checklist)."
        )
    if not audit.patients_known:
        return (
            "No patient identifiers are known. Patients may occur in more than one split, and "
            "the confidence intervals may be too narrow."
        )
    return ""


def external_sentences(test: ExternalTest, *, name_drop: bool = True) -> list[str]:
    """Caution about an external test where necessary, and compare it with the internal one.

    Args:
        test: The external test.
        name_drop: Whether to state the largest significant drop of any metric.
    """
    num_images, num_skipped = test.external.num_images, len(test.skipped)
    sentences = []
    if num_skipped:
        sentences.append(
            f"{num_skipped:,} of {num_images + num_skipped:,} images are unreadable and were "
            "skipped."
        )
    if test.known:
        sentences.append(
            f"{test.known:,} of {num_images:,} images have an id or patient that also occurs in "
            "the run's own data; if they are the same images, this is not an external test."
        )
    drop = test.drop("auroc")
    largest = largest_drop(test)
    if name_drop and largest is not None:
        sentences.append(f"{_drop_sentence(test, largest)} {_AUROC_IS_RANKING[drop.low > 0]}")
    difference = f"change {_change(test, drop)}"
    if math.isnan(drop.low):
        reason = drop.reference.reason or drop.other.reason
        sentences.append(
            f"No conclusion on generalization: an AUROC or its CI is undefined ({reason})."
        )
    elif drop.low > 0 and largest is not None and largest.metric != "auroc":
        sentences.append(f"The external AUROC is lower than the internal one ({difference}).")
    elif drop.high < 0:
        sentences.append(
            f"The external AUROC is higher than the internal one ({difference}): the two test "
            "sets are not equivalent."
        )
    elif not drop.excludes_zero:
        sentences.append(
            f"The internal and external AUROCs do not differ significantly ({difference})."
        )
    return sentences


_AUROC_IS_RANKING = {
    True: "The internal performance does not generalize.",
    False: "The performance at this threshold does not generalize.",
}


def largest_drop(test: ExternalTest) -> Drop | None:
    """Return the largest significant fall in performance of any metric shown; None without one."""
    drops = [test.drop(metric) for metric in EXTERNAL_METRICS]
    falls = [drop for drop in drops if worsening(drop) > 0 and drop.excludes_zero]
    return max(falls, key=worsening, default=None)


def worsening(drop: Drop) -> float:
    """Return by how much a metric is worse on the external images; negative if it is better."""
    return drop.drop if METRICS[drop.metric].higher_is_better else -drop.drop


def _drop_sentence(test: ExternalTest, drop: Drop) -> str:
    label = METRICS[drop.metric].label
    change = "decrease" if METRICS[drop.metric].higher_is_better else "increase"
    prevalence = ""
    if drop.metric in DEPENDS_ON_PREVALENCE:
        prevalence = (
            f"; it depends on the prevalence, which is {percent(test.internal.prevalence)} "
            f"internally and {percent(test.external.prevalence)} externally"
        )
    return (
        f"The largest significant {change} is that of the {in_sentence(label)}: "
        f"{number(drop.reference.value)} internally, {number(drop.other.value)} externally "
        f"(change {_change(test, drop)}{prevalence})."
    )


def _change(test: ExternalTest, drop: Drop) -> str:
    """Format the change from the internal to the external test set within a sentence."""
    return difference_with_interval(
        -drop.drop, -drop.high, -drop.low, confidence=test.external.confidence
    )


def in_sentence(label: str) -> str:
    """Return a display name as within a sentence; abbreviations and names of persons stay."""
    stays = label[:2].isupper() or label.startswith(("Brier", "Matthews"))
    return label if stays else label[:1].lower() + label[1:]


def image_sentences(test: ExternalTest) -> list[str]:
    """State whether features and files separate the images of the two sites.

    Args:
        test: The external test.
    """
    if test.separable:
        features = (
            f"The network's features separate the {joined(test.separable)} images of the two "
            "sites, so its predictions may rely on properties unrelated to disease."
        )
    elif test.inconclusive:
        features = (
            "Whether the network's features separate the two sites is inconclusive for "
            f"{joined(test.inconclusive)} images: there are too few."
        )
    else:
        features = "The network's features do not separate the two sites."
    if not test.shifted:
        files = "The image files of the two sites do not differ beyond sampling variation."
    else:
        largest = max(test.shifted, key=lambda shift: shift.distance)
        files = (
            "The image files of the two sites differ beyond sampling variation in "
            f"{len(test.shifted)} of {len(test.shifts)} properties, most in {largest.quantity}."
        )
    return [features, files]


def unavailable(run: RunResult, stage: str) -> str:
    """State why a stage of a run has no result."""
    reason = run.missing.get(stage, "it was not computed")
    return f"Not available for {run_label(run)}: {reason}"
