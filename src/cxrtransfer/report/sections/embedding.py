"""Embedding of the test images by the features of the network."""

from cxrtransfer.plots import plot_embedding
from cxrtransfer.report.page import Figure, Section
from cxrtransfer.report.wording import unavailable
from cxrtransfer.study import StudyResults


def embedding_section(study: StudyResults) -> Section:
    """Draw the t-SNE embedding of the test images."""
    run = study.chosen
    title, coordinates = "t-SNE embedding of the test images", run.embedding()
    if coordinates is None:
        return Section(title, text=[unavailable(run, "embedding")])
    page = run.folder.embedding_page
    return Section(
        title,
        figures=[
            Figure(
                name="10",
                title="t-SNE of the features on the test set",
                caption=f"Features of {run.name}; circles are correct predictions, triangles "
                "incorrect ones. Distances between clusters are not meaningful.",
                alt="Scatter plot of the t-SNE embedding, colored by true class.",
                axes=plot_embedding(
                    coordinates, run.test.labels, run.test.predicted, run.test.class_names
                ),
                link=page.relative_to(study.folder.path).as_posix() if page.exists() else "",
            )
        ],
    )
