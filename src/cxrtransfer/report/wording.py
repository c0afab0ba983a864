"""Sentences of the report and of the command line, composed from values."""

import math

from cxrtransfer.evaluation import Drop
from cxrtransfer.study import ExternalTest, PositiveClass

__all__ = [
    "external_cautions",
    "external_sentences",
    "image_sentences",
    "positive_choice",
    "positive_doubt",
]


def external_sentences(test: ExternalTest) -> tuple[str, ...]:
    """Return cautions about an external test, and what it says of the AUROC."""
    return (*external_cautions(test), _auroc_sentence(test.drop("auroc")))


def external_cautions(test: ExternalTest) -> tuple[str, ...]:
    """Return what limits an external test: skipped images, images that may not be external."""
    num_images = test.external.num_images
    cautions = []
    if test.skipped:
        cautions.append(
            f"{len(test.skipped):,} of {num_images + len(test.skipped):,} images are unreadable "
            "and were skipped."
        )
    if test.known:
        cautions.append(
            f"{test.known:,} of {num_images:,} images have an id or a patient that is also in the "
            "run; if they are the same images, this is not an external test."
        )
    return tuple(cautions)


def image_sentences(test: ExternalTest) -> tuple[str, str]:
    """Return how the images of the two sites differ, to the network and as files."""
    if test.separable:
        features = (
            f"The network's features separate {' and '.join(test.separable)} images by site, so "
            "it may use information unrelated to disease."
        )
    elif test.inconclusive:
        features = (
            "Whether the network's features separate the sites is inconclusive for "
            f"{' and '.join(test.inconclusive)} images: there are too few."
        )
    else:
        features = "The network's features do not separate the sites."
    shifted = ", ".join(shift.quantity for shift in test.shifted)
    if not shifted:
        return features, "As files, the images do not differ significantly."
    return features, f"As files, the images differ significantly in {shifted}."


def _auroc_sentence(drop: Drop) -> str:
    if math.isnan(drop.low):
        return "Whether the AUROC generalizes is undefined: a value or its interval is missing."
    size = f"by {abs(drop.drop):.3f} (95% CI {drop.low:+.3f} to {drop.high:+.3f})"
    if drop.low > 0:
        return f"The external AUROC is lower {size}."
    if drop.high < 0:
        return f"The external AUROC is higher {size}: the two test sets differ."
    return f"The internal and external AUROC do not differ significantly; they differ {size}."


def positive_choice(positive: PositiveClass) -> str:
    """Return the name of the positive class, and whether anybody chose it."""
    chosen = "" if positive.chosen else " (the second class by name; none was chosen)"
    return f"{positive.name}{chosen}"


def positive_doubt(positive: PositiveClass) -> str:
    """Return a caution if nobody chose the positive class and its name suggests health."""
    if not positive.is_doubtful:
        return ""
    return (
        f"the positive class is {positive.name}, the second class by name: sensitivity, "
        f"specificity and thresholds refer to detecting {positive.name}; to choose another "
        "one, set it (--positive, RunConfig(positive=...)) and rerun in another folder"
    )
