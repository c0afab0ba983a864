"""An embedding to look into: one HTML file in which pointing at a mark shows its radiograph."""

import base64
import io
import json
from collections.abc import Sequence
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
    ids: Sequence[str] | None = None,
    title: str = "t-SNE of the network's features",
    thumbnail: int = 160,
) -> Path:
    """Write a page that needs no network: points, and behind each its image and heatmap.

    Dots are right predictions, triangles wrong ones, the color is that of the true class. A mark
    is opened by pointing at it, by the tab key, or by its position in the address
    (``page.html#17``).

    Args:
        path: The file to write; overwritten.
        coordinates: Place of each image, ``(N, 2)``.
        labels: True classes, ``(N,)``.
        predicted: Predicted classes, ``(N,)``.
        class_names: Names in label order.
        images: N gray images, uint8 ``(H, W)``.
        heatmaps: N maps in [0, 1], ``(h, w)``, laid over a second copy of the image; they may be
            coarser than it. Without them only images are shown.
        ids: N names; positions by default.
        title: Of the page.
        thumbnail: Longer side of the stored images in pixels. About 5 KB each at 160.

    Returns:
        The path.

    Raises:
        ValueError: If the lengths differ or the places are not in a plane.
    """
    from cxrtransfer.files import atomic_path  # noqa: PLC0415  (figures do not wait for torch)

    count = len(labels)
    ids = [str(index) for index in range(count)] if ids is None else ids
    given = (len(coordinates), len(predicted), len(images), len(ids))
    if coordinates.ndim != 2 or coordinates.shape[1] != 2 or set(given) != {count}:
        raise ValueError(
            "there must be two coordinates, a prediction, an image and an id for each of "
            f"{count} labels, got {coordinates.shape} and {given[1:]}"
        )
    if heatmaps is not None and len(heatmaps) != count:
        raise ValueError(f"there must be one heatmap for each of {count} images")
    points = [
        {
            "id": ids[index],
            "truth": class_names[labels[index]],
            "said": class_names[predicted[index]],
            "image": _data_uri(images[index], thumbnail),
            "heat": None if heatmaps is None else _heat_uri(heatmaps[index]),
        }
        for index in range(count)
    ]
    marks = [
        _mark(index, x, y, color(int(labels[index])), right=labels[index] == predicted[index])
        for index, (x, y) in enumerate(_places(coordinates))
    ]
    # A closing tag inside a string would end the script; escaped, JSON reads it the same.
    data = json.dumps(points).replace("</", "<\\/")
    key = " ".join(
        f'<span style="color:{color(index)}">&#9679; {escape(name)}</span>'
        for index, name in enumerate(class_names)
    )
    page = _PAGE.substitute(
        title=escape(title),
        side=_SIDE,
        shown=thumbnail,
        panel=2 * thumbnail + 30,
        key=key,
        marks="\n".join(marks),
        data=data,
    )
    target = Path(path)
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def _places(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scale coordinates into the drawing, keeping their proportions; up stays up."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    span = max(float((high - low).max()), 1e-12)
    scaled = (coordinates - (low + high) / 2) / span * (_SIDE - 2 * _MARGIN) * [1, -1] + _SIDE / 2
    rounded: npt.NDArray[np.float64] = scaled.round(1)
    return rounded


def _mark(index: int, x: float, y: float, fill: str, *, right: bool) -> str:
    shape = (
        f'circle cx="{x}" cy="{y}" r="4"'
        if right
        else f'path d="M{x:.1f} {y - 7:.1f}l6 11h-12z" class="wrong"'
    )
    return f'<{shape} fill="{fill}" tabindex="0" data-index="{index}"/>'


def _data_uri(image: npt.NDArray[np.uint8], side: int) -> str:
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _heat_uri(heatmap: npt.NDArray[np.float32]) -> str:
    """Color a heatmap as :func:`cxrtransfer.explain.overlay` does; the browser blends it in."""
    buffer = io.BytesIO()
    colors = colormaps["turbo"](heatmap, bytes=True)[..., :3]
    Image.fromarray(np.ascontiguousarray(colors)).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; color: #262626; margin: 1.5em; }
main { display: flex; flex-wrap: wrap; gap: 1.5em; align-items: flex-start; }
svg { border: 1px solid #ccc; max-width: 100%; }
svg circle { opacity: .65; }
svg .wrong { stroke: #000; stroke-width: .8; }
svg [data-index] { cursor: pointer; outline: none; }
svg .open { stroke: #000; stroke-width: 2.5; opacity: 1; }
aside { width: ${panel}px; min-height: 12em; }
.picture { position: relative; display: inline-block; margin-right: 8px; }
.picture img { width: ${shown}px; display: block; }
.picture img + img { position: absolute; inset: 0; height: 100%; opacity: .4; }
aside p { overflow-wrap: anywhere; }
</style>
<h1>$title</h1>
<p>$key. Dots: predicted right. Triangles: predicted wrong. The axes have no unit.</p>
<main>
<svg width="$side" height="$side" viewBox="0 0 $side $side" role="group" aria-label="$title">
$marks
</svg>
<aside aria-live="polite"><p>Point at a mark to see its radiograph.</p></aside>
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
  panel.replaceChildren(
    line(point.id), line("true: " + point.truth + ", predicted: " + point.said),
    picture("radiograph", point.image));
  if (point.heat) panel.append(picture("heatmap", point.image, point.heat));
}
for (const mark of document.querySelectorAll("[data-index]")) {
  mark.addEventListener("mouseenter", () => open(mark));
  mark.addEventListener("focus", () => open(mark));
}
function follow() {
  const mark = document.querySelector(`[data-index="$${location.hash.slice(1)}"]`);
  if (location.hash && mark) open(mark);
}
addEventListener("hashchange", follow);
follow();
</script>
</html>
""")
