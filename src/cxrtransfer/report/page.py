"""What a page consists of (sections of text, tables and figures), and how it is saved as HTML."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import cast

import jinja2
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from cxrtransfer.files import atomic_path
from cxrtransfer.study import StudyFolder

__all__ = ["Figure", "Section", "Table", "save_page"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of the report, drawn but not saved.

    Attributes:
        name: The paper's number, or a letter for a figure that the paper does not have.
        title: What it shows.
        caption: How to read it.
        alt: Description for readers who cannot see it.
        axes: What was drawn, in one or several parts.
        link: An interactive version, relative to the report; empty if there is none.
        kind: What it is called.
    """

    name: str
    title: str
    caption: str
    alt: str
    axes: Axes | Sequence[Axes]
    link: str = ""
    kind: str = "Figure"

    @property
    def label(self) -> str:
        """How the report refers to it, e.g. ``"Figure 9b"``."""
        return f"{self.kind} {self.name}"

    def parts(self) -> dict[str, Axes]:
        """Return the Axes of each part by the name of its file, without a suffix."""
        axes = [self.axes] if isinstance(self.axes, Axes) else list(self.axes)
        stem = f"{self.kind.lower()}_{self.name.zfill(2) if self.name.isdigit() else self.name}"
        if len(axes) == 1:
            return {stem: axes[0]}
        return {f"{stem}_{number}": ax for number, ax in enumerate(axes, start=1)}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Text in rows and columns; the part of a cell after a line break is printed small.

    Attributes:
        rows: The cells of each row by the name of their column; all rows have the same columns.
        highlighted: Index of the row to highlight, if any.
        summary: Text to click on to see the table; empty shows it at once.
    """

    rows: Sequence[Mapping[str, str]]
    highlighted: int | None = None
    summary: str = ""


@dataclass(frozen=True)
class Section:
    """One section of the report: text and Axes, nothing saved yet, shown in this order.

    Attributes:
        title: What the section is about.
        text: Paragraphs.
        points: A list.
        tables: Tables.
        figures: Figures.
        notes: Small print: how to read the above.
        listing: Preformatted text of the leakage audit, folded.
        folded: Whether all but the title is shown on a click only.
    """

    title: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    listing: str = ""
    folded: bool = False


def save_page(
    folder: StudyFolder, sections: Sequence[Section], *, title: str, note: str, subtitle: str
) -> Path:
    """Save a page as one self-contained HTML file, and each of its figures as a PNG file too.

    Args:
        folder: Folder that gets the report and its figures; each file is replaced atomically.
        sections: The sections in order; the first one stands out.
        title: Heading of the report.
        note: What a reader has to know before any number.
        subtitle: One sentence below the heading.

    Returns:
        The path of the report.
    """
    images = {
        figure.label: [
            _save_png(ax, folder.figures / f"{stem}.png") for stem, ax in figure.parts().items()
        ]
        for section in sections
        for figure in section.figures
    }
    template = files("cxrtransfer.report").joinpath("page.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(template).render(
        title=title, note=note, subtitle=subtitle, sections=sections, images=images
    )
    with atomic_path(folder.report) as path:
        path.write_text(html, encoding="utf-8")
    return folder.report


def _save_png(ax: Axes, path: Path) -> str:
    """Save the figure of Axes, and return the file's bytes as base64."""
    buffer = io.BytesIO()
    cast("Drawing", ax.figure).savefig(buffer, format="png", dpi=130, bbox_inches="tight")
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return base64.b64encode(buffer.getvalue()).decode("ascii")
