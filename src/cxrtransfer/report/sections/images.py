"""Images: samples, class balance and brightness of the data set."""

import numpy as np

from cxrtransfer.plots import plot_class_balance, plot_image_statistics, plot_samples
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.study import StudyResults

SPLITS: dict[str, str] = {"train": "training", "val": "validation", "test": "test"}


def images_section(study: StudyResults) -> Section:
    """Draw samples, class balance and brightness by class."""
    summary = study.summary
    names = study.chosen.test.class_names
    brightness = {
        name: summary.intensity[summary.intensity_labels == label]
        for label, name in enumerate(names)
    }
    return Section(
        "Images",
        figures=[
            Figure(
                name="samples",
                is_photo=True,
                title="Sample images",
                caption="Images of the training split by class, drawn at random with a fixed "
                "seed.",
                alt="Grid of sample radiographs by class.",
                axes=plot_samples(list(summary.samples), summary.sample_labels, names),
            ),
            Figure(
                name="class_balance",
                title="Number of images",
                caption="Images of each class in each split. If the prevalence differs between "
                "validation and test, accuracy and F1 differ as well, even for the same network.",
                alt="Bar chart of the number of images: "
                + "; ".join(
                    f"{SPLITS[split]} "
                    + ", ".join(f"{count:,} {name}" for name, count in counts.items())
                    for split, counts in study.chosen.manifest.counts.items()
                )
                + ".",
                axes=plot_class_balance(
                    {SPLITS[split]: labels for split, labels in summary.labels.items()}, names
                ),
            ),
            Figure(
                name="brightness",
                title="Mean intensity by class",
                caption="Distribution of the mean intensity of each image. If the distributions "
                "of the classes are separate, a network can classify by brightness alone, "
                "without recognizing any lesion.",
                alt="Distribution of the mean image intensity. Medians: "
                + ", ".join(
                    f"{name} {float(np.median(values)):.0f}" for name, values in brightness.items()
                )
                + ".",
                axes=plot_image_statistics(brightness),
            ),
        ],
    )
