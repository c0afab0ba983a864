"""What a test on images from elsewhere found, in words and tables."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxrtransfer.evaluation import Drop, Estimate, Evaluation, Predictions, Shift

__all__ = ["ExternalTest"]

_SHOWN = {
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "recall": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "brier": "Brier score",
}
_ALIKE = 0.7  # an AUROC of telling sources apart; an interval that reaches above is too wide


@dataclass(frozen=True, eq=False, kw_only=True)
class ExternalTest:
    """What a run is worth on images from elsewhere; ``print`` shows it as a table.

    Attributes:
        run: Name of the run.
        place: Where the new images are from, in a word.
        predictions: What the network said about them.
        home: The run on its own test images.
        elsewhere: The run on the new ones.
        drops: How much lower each metric is there, with the interval of the difference between
            two sets of different patients.
        shifts: How the images themselves differ: size, mode, intensities.
        separability: By class, how well the network's own features tell where an image is from:
            an AUROC, 0.5 if the two sources look alike to it. A class with too few patients is
            nan and says so.
        known: How many of the new images have an id or a patient that the run knows: were they
            the same images, this would be no external test.
        skipped: Why each image that was left out is unreadable, by id.
    """

    run: str
    place: str
    predictions: Predictions
    home: Evaluation
    elsewhere: Evaluation
    drops: tuple[Drop, ...]
    shifts: tuple[Shift, ...]
    separability: dict[str, Estimate]
    known: int
    skipped: Mapping[str, str]

    def sentences(self) -> tuple[str, ...]:
        """Say in words what to make of it.

        The last two are on the look of the images, what comes before on the numbers.
        """
        drop = next(drop for drop in self.drops if drop.metric == "auroc")
        told_apart = [name for name, found in self.separability.items() if found.low > 0.5]
        shifted = dict.fromkeys(shift.kind for shift in self.shifts if shift.is_significant)
        # A missing interval, and one that reaches far up, leave the question open.
        unsure = [n for n, found in self.separability.items() if not found.high <= _ALIKE]
        if told_apart:
            look = (
                f"By its features the network tells {' and '.join(told_apart)} images of the two "
                "places apart, so it may use what has nothing to do with disease."
            )
        elif unsure:
            look = (
                "Whether the network's features tell the two places apart cannot be said of "
                f"{' and '.join(unsure)} images: there are too few."
            )
        else:
            look = "The network's features do not tell the two places apart."
        files = (
            f"As files the images differ more than by chance in {', '.join(shifted)}."
            if shifted
            else "As files the images do not differ more than by chance."
        )
        return (*self._cautions(), _verdict(drop), look, files)

    def _cautions(self) -> Iterator[str]:
        num_images = self.elsewhere.num_images
        if self.skipped:
            yield (
                f"{len(self.skipped):,} of {num_images + len(self.skipped):,} images cannot be "
                "read and are left out."
            )
        if self.known:
            yield (
                f"{self.known:,} of the {num_images:,} images have an id or a patient that the "
                "run knows; if they are the same images, this is no external test."
            )

    def table(self) -> list[tuple[str, str, str, str]]:
        """Return rows of text: metric, at home, elsewhere, drop."""
        found = {drop.metric: drop for drop in self.drops}
        return [
            (words, _short(found[name].reference), _short(found[name].other), _drop(found[name]))
            for name, words in _SHOWN.items()
        ]

    def look(self) -> list[tuple[str, str, str, str]]:
        """Return rows of text on the images themselves: quantity, at home, elsewhere, distance."""
        rows = [
            (
                shift.quantity,
                f"{shift.reference:.4g}",
                f"{shift.other:.4g}",
                f"{shift.distance:.2f} (by chance up to {shift.critical_distance:.2f})",
            )
            for shift in self.shifts
        ]
        rows += [
            (f"features of {name} images tell the place (AUROC)", "", "", str(found))
            for name, found in self.separability.items()
        ]
        return rows

    def __str__(self) -> str:
        head = (
            f"{self.run} on {self.place}: {_size(self.elsewhere)}; at home {_size(self.home)}; "
            f"positive is {self.home.class_names[self.home.positive_index]}, "
            f"threshold {self.home.threshold:g}; intervals of {self.home.confidence:.0%}"
        )
        left_out = [f"  {name}: {why}" for name, why in self.skipped.items()]
        return "\n\n".join(
            [
                head,
                "\n".join(self.sentences()),
                _columns(("", "at home", "elsewhere", "drop"), self.table()),
                _columns(("the images", "at home", "elsewhere", "distance"), self.look()),
                *(["\n".join(["Left out as unreadable", *left_out])] if left_out else []),
            ]
        )


def _verdict(drop: Drop) -> str:
    size = f"{abs(drop.drop):.3f} (difference {drop.low:+.3f} to {drop.high:+.3f})"
    if math.isnan(drop.low):
        return "Whether it holds elsewhere cannot be said: an AUROC or its interval is missing."
    if drop.low > 0:
        return f"The AUROC is lower elsewhere by {size}: what was measured at home does not hold."
    if drop.high < 0:
        return f"The AUROC is higher elsewhere by {size}: the two sets are not alike."
    return f"The AUROCs at home and elsewhere cannot be told apart; they differ by {size}."


def _drop(drop: Drop) -> str:
    if math.isnan(drop.low):
        return "-" if math.isnan(drop.drop) else f"{drop.drop:+.3f} (no interval)"
    words = f"{drop.drop:+.3f} ({drop.low:+.3f} to {drop.high:+.3f})"
    return f"{words} *" if drop.excludes_zero else words


def _short(estimate: Estimate) -> str:
    """Leave a reason that would burst the table to the evaluation that gives it."""
    if math.isfinite(estimate.value) and math.isnan(estimate.low):
        return f"{estimate.value:.3f} (no interval)"
    return str(estimate)


def _size(evaluation: Evaluation) -> str:
    positive = evaluation.confusion_matrix[evaluation.positive_index].sum()
    return (
        f"{evaluation.num_images:,} images of {evaluation.num_patients:,} patients, "
        f"{positive / evaluation.num_images:.1%} positive"
    )


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )
