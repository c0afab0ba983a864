"""The common style of all figures, applied to each Axes without changing global settings."""

import warnings
from collections.abc import Sized
from functools import lru_cache
from typing import Literal

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

__all__ = [
    "GRAY",
    "TEXT",
    "color",
    "legend",
    "new_axes",
    "plain",
    "require_nonempty",
    "style_axes",
]

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color/: distinguishable with any color vision.
# The most distant pairs come first; yellow is too pale for lines.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TEXT = "#262626"
GRAY = "#8C8C8C"

MAX_NAME_LENGTH = 48
_POINTS_OF_TICKS = 20
_POINTS_PER_LINE = 14  # of an axis label
_LETTERS_PER_ROW = 88  # of a legend


def color(index: int) -> str:
    """Return the color of the class or run with this index; colors repeat after seven."""
    return _COLORS[index % len(_COLORS)]


def new_axes(width: float = 6.4, height: float = 4.2) -> Axes:
    """Create Axes of the given size in inches on a new Figure that is not managed by pyplot."""
    return Figure(figsize=(width, height), dpi=150, layout="constrained").subplots()


def style_axes(
    ax: Axes,
    *,
    title: str,
    xlabel: str = "",
    ylabel: str = "",
    grid: Literal["x", "y", "both"] | None = None,
) -> None:
    """Set title, axis labels, font sizes and grid."""
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", color=TEXT)
    ax.set_xlabel(xlabel, fontsize=10, color=TEXT)
    ax.set_ylabel(ylabel, fontsize=10, color=TEXT)
    ax.tick_params(labelsize=9, colors=TEXT)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRAY)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color="#E6E6E6", linewidth=0.8)


def legend(
    ax: Axes, where: Literal["below", "right", "lower left", "lower right"] = "below"
) -> None:
    """Add a legend below the Axes, to the right of them, or in a usually empty corner.

    Below, it leaves the whole width to the figure, which then is legible on a narrow screen. A
    fixed position avoids matplotlib's slow search for the best one.
    """
    if where == "right":
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(1.02, 1.0),
            fontsize=9,
            frameon=False,
            labelcolor=TEXT,
        )
    elif where == "below":
        labels = ax.get_legend_handles_labels()[1]
        longest = max(map(len, labels), default=1)
        ticks = max((text.get_text().count("\n") for text in ax.get_xticklabels()), default=0)
        under = _POINTS_OF_TICKS + _POINTS_PER_LINE * (ticks + bool(ax.get_xlabel()))
        below = ScaledTranslation(0, -under / 72, ax.figure.dpi_scale_trans)
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            bbox_transform=ax.transAxes + below,
            ncols=max(1, min(len(labels), _LETTERS_PER_ROW // (longest + 4))),
            fontsize=9,
            frameon=False,
            labelcolor=TEXT,
        )
    else:
        ax.legend(loc=where, fontsize=9, frameon=False, labelcolor=TEXT)


def plain(name: str) -> str:
    r"""Return a name as matplotlib can draw it: no math, no control characters, not too long.

    Letters that no font of ``matplotlib.rcParams["font.family"]`` has are replaced by their code
    points, such as ``\u80ba``, so that two names remain different, and a warning names them.

    Warns:
        UserWarning: If a letter is missing from the fonts.

    Example:
        >>> print(plain("$a$ and\0b"), plain("x" * 99))
        \$a\$ and�b xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxx
    """
    name = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
    name = _with_code_points(name)
    if len(name) > MAX_NAME_LENGTH:
        name = f"{name[:35]}…{name[-12:]}"
    # Legends leave out labels that begin with an underscore.
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _with_code_points(name: str) -> str:
    families = tuple(mpl.rcParams["font.family"])
    missing = {letter for letter in name if not _is_drawable(letter, families)}
    if missing:
        warnings.warn(
            f"no font of {', '.join(families)} has the letters {''.join(sorted(missing))}: "
            "figures show their code points; install a font that has them (the report uses it), "
            "or name one in matplotlib.rcParams['font.family']",
            stacklevel=1,  # of one place, so that it is shown once
        )
    return "".join(
        letter.encode("unicode_escape").decode() if letter in missing else letter
        for letter in name
    )


@lru_cache(maxsize=4096)
def _is_drawable(letter: str, families: tuple[str, ...]) -> bool:
    properties = (font_manager.FontProperties(family=[family]) for family in families)
    fonts = (font_manager.get_font(font_manager.findfont(font)) for font in properties)
    return letter.isascii() or any(font.get_char_index(ord(letter)) for font in fonts)


def require_nonempty(what: str, values: Sized) -> None:
    """Raise an error if there is nothing to draw."""
    if not len(values):
        raise ValueError(f"the figure needs at least one element, got no {what}")
