"""Contact sheet: every image beside its overlay, with class and probability, as one HTML file."""

import base64
import io
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrtransfer.files import atomic_path

from .decision import classes_in
from .predictions import ImagePredictions

__all__ = ["MAX_SHEET", "Cell", "describe_image", "picture_data", "write_sheet"]

MAX_SHEET = 200  # images; more make a page that browsers open slowly


class Cell(NamedTuple):
    """Pictures of one image: its name, itself and its overlay, as base64 of PNG files."""

    name: str
    plain: str
    overlay: str


def picture_data(picture: Image.Image | npt.NDArray[np.uint8]) -> str:
    """Return a picture as base64 of a PNG file."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def write_sheet(path: Path, predictions: ImagePredictions, cells: Sequence[Cell]) -> None:
    """Write the contact sheet.

    Args:
        path: The file; replaced if it exists.
        predictions: The predictions of all images.
        cells: The pictures of the first of them.
    """
    place = {name: index for index, name in enumerate(predictions.ids)}
    cards = [
        {
            "name": printable(cell.name),
            "plain": cell.plain,
            "overlay": cell.overlay,
            **describe_image(predictions, place[cell.name]),
        }
        for cell in cells
    ]
    template = files("cxrtransfer.deploy").joinpath("sheet.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(template).render(
        cards=cards,
        summary=str(predictions).splitlines()[1:],
        num_images=len(predictions),
        skipped={printable(name): why for name, why in predictions.skipped.items()},
    )
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def describe_image(predictions: ImagePredictions, index: int) -> dict[str, Any]:
    """Return the predicted class of an image with its probability, abstention and warning."""
    label = predictions.predicted_list[index]
    return {
        "label": predictions.class_names[label],
        "is_positive": label == predictions.positive_index,
        "probability": f"{predictions.probabilities[index, label]:.3f}",
        "set": "" if predictions.sets is None else _set(predictions, index),
        "warning": predictions.warnings()[index],
    }


def printable(name: str) -> str:
    """Return a file name with what is not UTF-8 replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _set(predictions: ImagePredictions, index: int) -> str:
    assert predictions.sets is not None  # noqa: S101  (for the type checker)
    flags = predictions.sets[index].tolist()
    if sum(flags) == 1:
        return ""
    names = classes_in(flags, predictions.class_names).replace("|", " or ")
    return f"abstains: {names}" if names else "abstains: no class"
