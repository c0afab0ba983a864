"""The gallery of figures: saving them, and checking that it has every figure function."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from run_blocks import figure_of
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx_gallery.scrapers import figure_rst

import cxrtransfer.plots


class FigureScraper:
    """Save the figure of the Axes that a block of a script ends with.

    The figures of the library do not belong to pyplot, where sphinx-gallery looks for them.
    """

    def __init__(self) -> None:
        self._last: object = None

    def __repr__(self) -> str:
        return "FigureScraper()"  # sphinx-gallery compares settings by it

    def __call__(
        self,
        _block: tuple[Any, ...],
        variables: Mapping[str, Any],
        settings: Mapping[str, Any],
        **_options: object,
    ) -> str:
        """Save the figure and return the reStructuredText that shows it."""
        value = variables["example_globals"].get("___")
        figure = figure_of(value)
        if figure is None or figure is self._last:
            return ""
        self._last = figure
        path = next(variables["image_path_iterator"])
        figure.savefig(path, dpi=120, bbox_inches="tight")
        title = figure.axes[0].get_title(loc="left") or figure.axes[0].get_title()
        return figure_rst([path], settings["src_dir"], title)


def _check_complete(app: Sphinx) -> None:
    scripts = Path(app.srcdir, "plots").glob("plot_*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in scripts)
    missing = [name for name in cxrtransfer.plots.__all__ if f"{name}(" not in text]
    if missing:
        raise ExtensionError(f"no script in docs/plots draws {', '.join(missing)}")


def setup(app: Sphinx) -> dict[str, object]:
    """Check the gallery at the beginning of a build."""
    app.connect("builder-inited", _check_complete)
    return {"parallel_read_safe": True}
