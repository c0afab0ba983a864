"""Embedding of the test images by the features of the network."""

from cxrtransfer.plots import plot_embedding
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.wording import unavailable
from cxrtransfer.study import StudyResults


def embedding_section(study: StudyResults) -> Section:
    """Draw the t-SNE embedding of the test images."""
    run = study.chosen
    title, coordinates = "t-SNE embedding of the test images", run.embedding()
    if coordinates is None:
        return Section(title, text=[unavailable(run, "embedding")])
    return Section(
        title,
        figures=[
            Figure(
                name="embedding",
                title="t-SNE of the features on the test set",
                caption=f"Features of {run_label(run)}; circles are correct predictions, "
                "triangles incorrect ones. Distances between clusters are not meaningful. The "
                "interactive version, a file beside this report, shows the image of each point.",
                alt=f"Scatter plot of the t-SNE embedding of {len(run.test):,} images, colored by "
                f"true class; {int((run.test.predicted != run.test.labels).sum()):,} predictions "
                "are incorrect.",
                axes=plot_embedding(
                    coordinates, run.test.labels, run.test.predicted, run.test.class_names
                ),
                link=study.folder.embedding_page.name
                if run.folder.embedding_page.exists()
                else "",
            )
        ],
    )
