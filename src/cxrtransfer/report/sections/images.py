"""Images: samples, class balance and brightness of the data set."""

from cxrtransfer.plots import plot_class_balance, plot_image_statistics, plot_samples
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.study import StudyResults


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
                name="1",
                title="Sample images",
                caption="Images of the training split by class, drawn at random with a fixed "
                "seed.",
                alt="Grid of sample radiographs by class.",
                axes=plot_samples(list(summary.samples), summary.sample_labels, names),
            ),
            Figure(
                name="2",
                title="Number of images",
                caption="Images of each class in each split. Where the prevalence differs between "
                "validation and test, accuracy and F1 differ as well, whatever the network.",
                alt="Bar chart of the number of images of each class in each split.",
                axes=plot_class_balance(dict(summary.labels.items()), names),
            ),
            Figure(
                name="3",
                title="Mean intensity by class",
                caption="Distribution of the mean intensity of each image. If the distributions "
                "of the classes are separate, a network can classify by brightness alone, "
                "without recognizing any lesion.",
                alt="Distribution of the mean image intensity of each class.",
                axes=plot_image_statistics(brightness),
            ),
        ],
        folded=True,
    )
