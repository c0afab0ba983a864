"""Interactive embedding: one HTML file that shows the radiograph of each point."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from cxrtransfer.types import StrPath

from .style import color

__all__ = ["write_embedding_page"]

_SIDE = 640  # of the drawing, in pixels
_MARGIN = 12


def write_embedding_page(
    path: StrPath,
    coordinates: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    class_names: Sequence[str],
    images: Sequence[npt.NDArray[np.uint8]],
    *,
    heatmaps: Sequence[npt.NDArray[np.float32]] | None = None,
    probabilities: npt.NDArray[np.float64] | None = None,
    ids: Sequence[str] | None = None,
    title: str = "t-SNE embedding of the features",
    thumbnail: int = 224,
) -> Path:
    """Write a self-contained HTML page with the embedding, and each point's image and heatmap.

    Dots are correct predictions, triangles incorrect ones, in the color of the true class. A
    point is selected by hovering, by the tab key, or by its index in the URL (``page.html#17``);
    the correct predictions can be hidden.

    Args:
        path: The file to write; overwritten if it exists.
        coordinates: Coordinates of each image, ``(N, 2)``.
        labels: True classes, ``(N,)``.
        predicted: Predicted classes, ``(N,)``.
        class_names: Names in label order.
        images: N gray images, uint8 ``(H, W)``.
        heatmaps: N maps in [0, 1], ``(h, w)``, overlaid on a second copy of the image; they may be
            coarser than it. By default only images are shown.
        probabilities: Probabilities of all classes, ``(N, K)``, of which that of the predicted
            class is shown. By default none is.
        ids: N image ids; positions by default.
        title: Page title.
        thumbnail: Longer side of the stored images in pixels; about 8 KB per image at 224.

    Returns:
        The path.

    Raises:
        ValueError: If the lengths differ, or the coordinates are not two-dimensional.
    """
    from cxrtransfer.files import atomic_path  # noqa: PLC0415  (figures do not import torch)

    count = len(labels)
    ids = [str(index) for index in range(count)] if ids is None else ids
    lengths = (len(coordinates), len(predicted), len(images), len(ids))
    if coordinates.ndim != 2 or coordinates.shape[1] != 2 or set(lengths) != {count}:
        raise ValueError(
            "coordinates, predicted, images and ids must have one entry for each of "
            f"{count} labels, got {coordinates.shape} and {lengths[1:]}"
        )
    if heatmaps is not None and len(heatmaps) != count:
        raise ValueError(
            f"heatmaps must contain one map for each of {count} images, got {len(heatmaps)}"
        )
    if probabilities is not None and probabilities.shape != (count, len(class_names)):
        raise ValueError(
            f"probabilities must have shape ({count}, {len(class_names)}), "
            f"got {probabilities.shape}"
        )
    points = [
        {
            "id": ids[index],
            "label": class_names[labels[index]],
            "predicted": class_names[predicted[index]],
            "probability": None
            if probabilities is None
            else f"{probabilities[index, predicted[index]]:.3f}",
            "image": _data_uri(images[index], thumbnail),
            "heatmap": None if heatmaps is None else _heatmap_uri(heatmaps[index]),
        }
        for index in range(count)
    ]
    marks = [
        _mark(index, x, y, color(int(labels[index])), points[index])
        for index, (x, y) in enumerate(_positions(coordinates))
    ]
    # "</script" or "<!--<script" inside a string would change where the script ends.
    data = json.dumps(points).replace("<", "\\u003c")
    key = " ".join(
        f'<span class="key"><i style="background:{color(index)}"></i>{escape(name)}</span>'
        for index, name in enumerate(class_names)
    )
    page = _PAGE.substitute(
        title=escape(title),
        side=_SIDE,
        key=key,
        num_errors=f"{int((labels != predicted).sum()):,}",
        num_points=f"{count:,}",
        marks="\n".join(marks),
        data=data,
    )
    target = Path(path)
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return target


def _positions(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scale coordinates to the drawing, with equal scale on both axes and y upward."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    span = max(float((high - low).max()), 1e-12)
    scaled = (coordinates - (low + high) / 2) / span * (_SIDE - 2 * _MARGIN) * [1, -1] + _SIDE / 2
    rounded: npt.NDArray[np.float64] = scaled.round(1)
    return rounded


def _mark(index: int, x: float, y: float, fill: str, point: Mapping[str, str | None]) -> str:
    shape = (
        f'circle cx="{x}" cy="{y}" r="4"'
        if point["label"] == point["predicted"]
        else f'path d="M{x:.1f} {y - 7:.1f}l6 11h-12z" class="incorrect"'
    )
    name = escape(f"{point['id']}: {point['label']}, predicted {point['predicted']}")
    return (
        f'<{shape} fill="{fill}" tabindex="0" role="button" aria-label="{name}" '
        f'data-index="{index}"/>'
    )


def _data_uri(image: npt.NDArray[np.uint8], side: int) -> str:
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _heatmap_uri(heatmap: npt.NDArray[np.float32]) -> str:
    """Color a heatmap as :func:`cxrtransfer.explain.overlay` does; the browser blends it."""
    buffer = io.BytesIO()
    colors = colormaps["turbo"](heatmap, bytes=True)[..., :3]
    Image.fromarray(np.ascontiguousarray(colors)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:;
  style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ccc; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --paper: #16181b; --line: #555; }
  svg, .key i { filter: brightness(1.5); } }
body { font: 16px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; padding: 1.2rem; max-width: 76rem; }
h1 { font-size: 1.4rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
main { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1.5rem; }
@media (max-width: 50rem) { main { grid-template-columns: minmax(0, 1fr); } }
svg { border: 1px solid var(--line); width: 100%; height: auto; max-height: 90vh; }
svg circle { opacity: .7; }
svg .incorrect { stroke: var(--ink); stroke-width: .8; }
svg [data-index] { cursor: pointer; outline: none; }
svg .open { stroke: var(--ink); stroke-width: 2.5; opacity: 1; }
.errors-only circle { display: none; }
.key { margin-right: 1rem; }
.key i { display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .4em; }
aside { position: sticky; top: 1rem; align-self: start; min-height: 12em; }
.picture { position: relative; margin-bottom: .8rem; max-width: 26rem; }
.picture img { width: 100%; display: block; }
.picture img + img { position: absolute; inset: 0; height: 100%; opacity: .4; }
aside p { overflow-wrap: anywhere; margin: .3rem 0; }
</style>
</head>
<body>
<header>
<h1>$title</h1>
<p>$key</p>
<p>Dots: correct predictions. Triangles: incorrect predictions. The axes have no unit.
<label><input type="checkbox" id="errors"> Errors only ($num_errors of $num_points)</label></p>
</header>
<main>
<svg viewBox="0 0 $side $side" role="group" aria-label="$title">
$marks
</svg>
<aside aria-live="polite"><p>Select a point to see its radiograph.</p></aside>
</main>
<script>
const points = $data;
const panel = document.querySelector("aside");
const line = text => { const p = document.createElement("p"); p.textContent = text; return p; };
const picture = (text, ...layers) => {
  const frame = document.createElement("div");
  frame.className = "picture";
  for (const source of layers) {
    const image = document.createElement("img");
    image.src = source;
    image.alt = text;
    frame.append(image);
  }
  return frame;
};
function open(mark) {
  const point = points[mark.dataset.index];
  document.querySelectorAll(".open").forEach(other => other.classList.remove("open"));
  mark.classList.add("open");
  const probability = point.probability === null ? "" : " (probability " + point.probability + ")";
  panel.replaceChildren(
    line(point.id), line("True class: " + point.label),
    line("Predicted class: " + point.predicted + probability),
    picture("Radiograph " + point.id, point.image));
  if (point.heatmap)
    panel.append(picture("Heatmap of " + point.id, point.image, point.heatmap));
}
for (const mark of document.querySelectorAll("[data-index]")) {
  mark.addEventListener("mouseenter", () => open(mark));
  mark.addEventListener("focus", () => open(mark));
}
document.getElementById("errors").addEventListener("change", event =>
  document.querySelector("svg").classList.toggle("errors-only", event.target.checked));
function follow() {
  const mark = document.querySelector(`[data-index="$${location.hash.slice(1)}"]`);
  if (location.hash && mark) open(mark);
}
addEventListener("hashchange", follow);
follow();
</script>
</body>
</html>
""")
