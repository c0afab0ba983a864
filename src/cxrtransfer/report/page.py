"""The parts of the page: sections of text, tables and figures, and how they become HTML."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import cast

import jinja2
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrtransfer.evaluation import Estimate
from cxrtransfer.files import atomic_path

__all__ = [
    "PageFigure",
    "Section",
    "Table",
    "keep_figure",
    "number",
    "render_page",
    "share",
    "with_interval",
]


@dataclass(frozen=True)
class PageFigure:
    """One figure of the page.

    Attributes:
        name: The paper's number, or a letter for a figure that the paper does not have.
        title: What it shows.
        caption: What to see in it, and what not to.
        images: One or more PNG files as base64.
        link: A page to look into, relative to this one, or nothing.
    """

    name: str
    title: str
    caption: str
    images: tuple[str, ...]
    link: str = ""


@dataclass(frozen=True)
class Table:
    """Text in rows and columns; the part of a cell after a line break is printed small.

    Attributes:
        head: Names of the columns.
        rows: One cell per column.
        marked: The row to stand out, if any.
        folded: What to click on to see it; shown at once if empty.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: int | None = None
    folded: str = ""


@dataclass(frozen=True)
class Section:
    """One question of the page and its answer.

    Attributes:
        title: The question.
        text: Paragraphs.
        points: A list after them.
        tables: Tables after that.
        figures: Figures after those.
        notes: Small print: how to read what stands above.
        listing: Text to print as it is, folded.
        folded: Whether all but the title has to be clicked open.
    """

    title: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[PageFigure] = ()
    notes: Sequence[str] = ()
    listing: str = ""
    folded: bool = False


def render_page(
    *,
    title: str,
    note: str,
    subtitle: str,
    sections: Sequence[Section],
    versions: Mapping[str, str],
    digest: str,
) -> str:
    """Write the page as one HTML text that needs nothing from anywhere."""
    text = files("cxrtransfer.report").joinpath("report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(text).render(
        title=title,
        note=note,
        subtitle=subtitle,
        sections=sections,
        versions=versions,
        digest=digest,
    )


def keep_figure(
    folder: Path,
    name: str,
    title: str,
    caption: str,
    axes: Axes | Sequence[Axes],
    *,
    link: str = "",
) -> PageFigure:
    """Save a figure as ``figures/figure_NAME.png``, or one file a part, and take it for the page.

    Args:
        folder: The study's folder.
        name: The paper's number, or a letter.
        title: What it shows.
        caption: What to see in it.
        axes: What was drawn, in one or several parts.
        link: A page to look into, relative to the study's folder.
    """
    parts = [axes] if isinstance(axes, Axes) else list(axes)
    images = []
    for index, ax in enumerate(parts):
        suffix = "" if len(parts) == 1 else f"_{index + 1}"
        stem = f"figure_{name.zfill(2) if name.isdigit() else name}{suffix}"
        images.append(save_png(ax, folder / "figures" / f"{stem}.png"))
    return PageFigure(name, title, caption, tuple(images), link)


def save_png(ax: Axes, path: Path) -> str:
    """Save the figure of Axes, and return it as base64."""
    buffer = io.BytesIO()
    cast("Figure", ax.figure).savefig(buffer, format="png", dpi=130, bbox_inches="tight")
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def number(value: float | None, *, signed: bool = False) -> str:
    """Write a number with three decimals; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def share(value: float) -> str:
    """Write a share as per cent."""
    return "-" if not math.isfinite(value) else f"{value:.1%}"


def with_interval(estimate: Estimate) -> str:
    """Write a value with its interval in small below it."""
    if not math.isfinite(estimate.low):
        return number(estimate.value)
    return f"{estimate.value:.3f}\n{estimate.low:.3f} to {estimate.high:.3f}"
