"""Figures and radiographs as bytes: SVG, PDF and JPEG."""

import base64
import io
import re
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from PIL import Image

__all__ = ["data_uri", "font_families", "to_jpeg", "to_pdf", "to_picture", "to_svg"]

# Text and lines of cxrtransfer.plots on a dark background; an image of a page follows its scheme.
_DARK = """<style>@media (prefers-color-scheme: dark) {
[style*="fill: #262626"] { fill: #e4e4e4 !important }
[style*="stroke: #262626"] { stroke: #e4e4e4 !important }
[style*="stroke: #e6e6e6"] { stroke: #3c4046 !important }
[style*="fill: #d9d9d9"] { fill: #4a4f57 !important }
[style*="fill: #595959"] { fill: #b8b8b8 !important }
[style*="fill: #0072b2"] { fill: #4da6dd !important }
[style*="stroke: #0072b2"] { stroke: #4da6dd !important }
}</style>"""
_PHOTO_DPI = 130
_MAX_DPI = 150  # of rasterized parts; radiographs and heatmaps are stored with less
_PNG = re.compile(rb"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


def font_families(text: str) -> list[str]:
    """Return matplotlib's font families, and installed ones for the letters these do not have.

    Args:
        text: All that figures may show.
    """
    families = list(mpl.rcParams["font.family"])
    missing = {letter for letter in text if not letter.isascii() and letter.isprintable()}
    paths = {
        family: font_manager.findfont(font_manager.FontProperties(family=[family]))
        for family in families
    }
    others = {
        font.name: font.fname
        for font in font_manager.fontManager.ttflist
        if not font.name.startswith("Last Resort")  # boxes for all of Unicode
    }
    for family, path in (*paths.items(), *sorted(others.items())):
        if not missing:
            break
        font = font_manager.get_font(path)
        found = {letter for letter in missing if font.get_char_index(ord(letter))}
        if found and family not in families:
            families.append(family)
        missing -= found
    return families


def to_svg(ax: Axes) -> bytes:
    """Return the figure of Axes as SVG, which adapts to a dark background."""
    # Without a fixed salt, every file would have other ids. Images side by side would be
    # composed into one with transparent gaps, which JPEG does not have.
    with mpl.rc_context({"svg.hashsalt": "cxrtransfer", "image.composite_image": False}):
        svg = _saved(ax, "svg", dpi=_MAX_DPI, metadata={"Date": None}, transparent=True)
    head, end, tail = _PNG.sub(_smaller, svg).rpartition(b"</svg>")
    return head + _DARK.encode() + end + tail


def to_pdf(ax: Axes) -> bytes:
    """Return the figure of Axes as PDF."""
    return _saved(ax, "pdf", dpi=_MAX_DPI, metadata={"CreationDate": None}, transparent=True)


def to_jpeg(ax: Axes) -> bytes:
    """Return the figure of Axes as JPEG."""
    quality = {"quality": 88}
    return _saved(ax, "jpeg", dpi=_PHOTO_DPI, pil_kwargs=quality)


def to_picture(image: npt.NDArray[np.uint8]) -> bytes:
    """Return a gray ``(H, W)`` or color ``(H, W, 3)`` image as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _smaller(match: re.Match[bytes]) -> bytes:
    """Return the address of an opaque PNG as that of a JPEG if this is smaller."""
    with Image.open(io.BytesIO(base64.b64decode(match[1]))) as png:
        if png.mode == "RGBA" and png.getchannel("A").getextrema() != (255, 255):
            return match[0]
        jpeg = data_uri(to_picture(np.asarray(png.convert("RGB"))), "image/jpeg").encode()
    return min(jpeg, match[0], key=len)


def data_uri(data: bytes, media_type: str) -> str:
    """Return an address that contains the data."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def _saved(ax: Axes, form: str, **options: Any) -> bytes:  # noqa: ANN401  (as savefig)
    buffer = io.BytesIO()
    cast("Drawing", ax.figure).savefig(buffer, format=form, bbox_inches="tight", **options)
    return buffer.getvalue()
