"""One look for every figure, put on each Axes by itself: nothing global is touched."""

from collections.abc import Sized
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["GRAY", "color", "dress", "legend", "new_axes", "refuse_empty"]

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color/: told apart with any color vision. The
# order puts the pairs that are furthest from each other first; yellow is too pale for lines.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_TEXT = "#262626"
GRAY = "#8C8C8C"


def color(index: int) -> str:
    """Return the color of the class or run with this number; they repeat after seven."""
    return _COLOURS[index % len(_COLOURS)]


def new_axes(width: float = 6.4, height: float = 4.2) -> Axes:
    """Make Axes of a size in inches on a Figure of their own, which pyplot does not know."""
    return Figure(figsize=(width, height), dpi=150, layout="constrained").subplots()


def dress(
    ax: Axes,
    *,
    title: str,
    xlabel: str = "",
    ylabel: str = "",
    grid: Literal["x", "y", "both"] | None = None,
) -> None:
    """Give Axes their words, sizes and lines."""
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", color=_TEXT)
    ax.set_xlabel(xlabel, fontsize=10, color=_TEXT)
    ax.set_ylabel(ylabel, fontsize=10, color=_TEXT)
    ax.tick_params(labelsize=9, colors=_TEXT)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRAY)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color="#E6E6E6", linewidth=0.8)


def legend(
    ax: Axes, where: Literal["right", "below", "lower left", "lower right"] = "right"
) -> None:
    """Name what is drawn: right of the Axes, below it, or in a corner that most often is empty.

    By default matplotlib looks for a free place, and warns where that takes it a second.
    """
    if where == "right":
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=9, frameon=False)
    elif where == "below":
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.06),
            ncols=len(ax.get_legend_handles_labels()[0]),
            fontsize=9,
            frameon=False,
        )
    else:
        ax.legend(loc=where, fontsize=9, frameon=False)


def refuse_empty(what: str, given: Sized) -> None:
    """Raise where there is nothing to draw."""
    if not len(given):
        raise ValueError(f"there must be something to draw, got no {what}")
