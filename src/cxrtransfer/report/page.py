"""What a report consists of: sections of tiles, text, tables, figures and radiographs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

__all__ = ["Case", "Check", "Figure", "Page", "Section", "Table", "Tile", "inline"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number that stands out.

    Attributes:
        label: What it is.
        value: The number.
        details: Lines below it: its interval, and what it was measured on.
    """

    label: str
    value: str
    details: Sequence[str]


@dataclass(frozen=True)
class Check:
    """One entry of a checklist.

    Attributes:
        status: Whether what was checked is in order, is not, or is unknown.
        text: What was found.
    """

    status: Literal["passed", "found", "unknown"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure, drawn but not saved; the report numbers figures in their order.

    Attributes:
        name: Name of its files, without a suffix.
        title: What it shows.
        caption: How to read it.
        alt: Description with the main values, for readers who cannot see it.
        axes: What was drawn, in one or several parts.
        link: Address of an interactive version relative to the report; empty if there is none.
        is_photo: Whether it shows radiographs; the report then holds a JPEG of it.
    """

    name: str
    title: str
    caption: str
    alt: str
    axes: Axes | Sequence[Axes]
    link: str = ""
    is_photo: bool = False

    def parts(self) -> dict[str, Axes]:
        """Return the Axes of each part by the name of its files, without a suffix."""
        axes = [self.axes] if isinstance(self.axes, Axes) else list(self.axes)
        if len(axes) == 1:
            return {self.name: axes[0]}
        return {f"{self.name}_{number}": ax for number, ax in enumerate(axes, start=1)}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Text in rows and columns; the part of a cell after a line break is printed small.

    Attributes:
        name: Name of its files, without a suffix.
        rows: The cells of each row by the name of their column; all rows have the same columns.
        highlighted: Index of the row to highlight, if any.
        summary: Text to click on to see the table; empty shows it at once.
    """

    name: str
    rows: Sequence[Mapping[str, str]]
    highlighted: int | None = None
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image with its classification.

    Attributes:
        pictures: Gray or color images, uint8 ``(H, W)`` or ``(H, W, 3)``, by what they show.
        lines: Text below them.
    """

    pictures: Mapping[str, npt.NDArray[np.uint8]]
    lines: Sequence[str]


@dataclass(frozen=True)
class Section:
    """One section of the report, shown in the order of its attributes; nothing is saved yet.

    Attributes:
        title: What the section is about.
        tiles: Numbers that stand out.
        text: Paragraphs.
        points: A list.
        checks: A checklist.
        steps: What to do next, in this order.
        tables: Tables.
        figures: Figures.
        cases: Images with their classification.
        notes: Small print: how to read the above.
        listing: Preformatted text by the text to click on to see it.
        folded: Whether all but the title is shown on a click only.
        side_by_side: Whether the figures stand side by side where there is room.
    """

    title: str
    tiles: Sequence[Tile] = ()
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    checks: Sequence[Check] = ()
    steps: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    cases: Sequence[Case] = ()
    notes: Sequence[str] = ()
    listing: Mapping[str, str] | None = None
    folded: bool = False
    side_by_side: bool = False

    @property
    def anchor(self) -> str:
        """Name of the section in the address of the report."""
        words = "".join(c if c.isascii() and c.isalnum() else " " for c in self.title.lower())
        return "-".join(words.split())


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole report.

    Attributes:
        title: Its heading.
        note: What a reader has to know before any number.
        facts: Data, networks, date and version, by their names.
        sections: The sections in order; those that are folded come last.
    """

    title: str
    note: str
    facts: Mapping[str, str]
    sections: Sequence[Section]

    def numbered(self) -> dict[str, int]:
        """Return the number of each figure by its name: 1 to n, in the order of the report."""
        figures = [figure.name for section in self.sections for figure in section.figures]
        return {name: number for number, name in enumerate(figures, start=1)}


def inline(cell: str) -> str:
    """Return the text of a cell on one line, with the small part in parentheses."""
    first, *rest = cell.split("\n")
    return f"{first} ({'; '.join(rest)})" if rest else first
