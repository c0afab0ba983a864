"""What each file of a study is, as ``README.txt`` in its folder says."""

import textwrap
from collections.abc import Mapping

__all__ = ["study_guide"]

_STUDY = {
    "report.html": "the report; one file that works without a network connection",
    "embedding.html": "interactive t-SNE embedding of the selected run, opened from the report; "
    "send it along with the report",
    "report.md": "the report as Markdown, with the figures of the folder figures",
    "metrics.csv": "every metric of every run with its confidence interval, one per row",
    "metrics.json": "the same as JSON; null where a value is undefined",
    "figures/": "every figure of the report as SVG and PDF",
    "tables/": "every table of the report as LaTeX (package booktabs)",
    "study.json": "title, runs and split of the study; read by cxrtransfer report",
    "audit.json": "result of the audit for leakage and duplicates",
    "summary.npz": "sample images and intensities that the report shows",
    "images.json": "size, time and digest of each image file, to notice changes",
}
_RUN = {
    "model.safetensors": "weights that were tested; read by cxrtransfer predict",
    "predictions_test.csv": "label and probabilities of each test image",
    "predictions_val.csv": "the same for the validation images",
    "split.csv": "label, patient and split of each image",
    "config.json": "settings, and digests of the images",
    "manifest.json": "settings, history, metrics, software versions, and a digest of each file",
    "history.csv": "loss and validation metrics of each epoch",
    "history.json": "the same as JSON",
    "features.npz": "features of the test images, float32 (N, F)",
    "embedding.npz": "t-SNE coordinates of the test images, (N, 2)",
    "embedding.html": "interactive t-SNE embedding with radiographs and heatmaps",
    "layers.npz": "t-SNE coordinates of up to 300 test images at several layers",
    "heatmaps.npz": "example radiographs with their Grad-CAM heatmaps",
    "explanations.npz": "fraction of each heatmap at the border of the image",
    "localization.npz": "heatmaps scored against the boxes of the findings, where there are boxes",
    "occlusion.npz": "occlusion maps, where they were computed",
    "randomization.npz": "model-parameter randomization test of the heatmaps",
    "stress.npz": "predictions of changed validation and test images (stress tests)",
    "reference.npz": "statistics of the training images, for images unlike them",
    "test-openings.csv": "one line per evaluation on the test split",
    "profile.npz": "size, mode and intensities of the test images, for external tests",
    "checkpoint.pt": "last state of an unfinished training; removed when the run is complete, "
    "unless keep_checkpoint is set",
    "tensorboard/": "history for TensorBoard, if asked for",
    "external/SITE/": "external tests: external.json, predictions.csv, records.csv",
}


def study_guide(title: str) -> str:
    """Return the text of ``README.txt``: one line per file of a study and of its runs."""
    return (
        f"{title}\n\n"
        f"Files of the study\n{_listed(_STUDY)}\n"
        f"Files of each run, in the folder with its name\n{_listed(_RUN)}"
    )


def _listed(descriptions: Mapping[str, str]) -> str:
    width = max(map(len, descriptions)) + 4
    return "".join(
        textwrap.fill(
            f"  {name:<{width - 2}}{text}", width=88, subsequent_indent=" " * width,
            break_on_hyphens=False, drop_whitespace=True,
        )
        + "\n"
        for name, text in descriptions.items()
    )  # fmt: skip
