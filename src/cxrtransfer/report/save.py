"""Saving a report: the HTML file, Markdown, LaTeX tables, and each figure as SVG and PDF."""

import base64
import hashlib
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from cxrtransfer.files import atomic_path
from cxrtransfer.study import StudyFolder

from .drawing import data_uri, to_jpeg, to_pdf, to_picture, to_svg
from .latex import latex_table
from .markdown import markdown_page
from .page import Figure, Page

__all__ = ["save_page"]

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def save_page(folder: StudyFolder, page: Page, downloads: Mapping[str, str]) -> Path:
    """Save a report with its figures and tables; each file is replaced atomically.

    Args:
        folder: Folder of the study.
        page: The report.
        downloads: Texts beside the report, which offers them for download, by the name of their
            file.

    Returns:
        The path of the HTML file, which contains all that it shows.
    """
    numbers = page.numbered()
    images = {}
    for section in page.sections:
        for figure in section.figures:
            images[figure.name] = _save_figure(figure, folder.figures)
        for table in section.tables:
            _write(folder.tables / f"{table.name}.tex", latex_table(table).encode())
    _write(folder.markdown, markdown_page(page, figures=folder.figures.name).encode())
    for name, text in downloads.items():
        _write(folder.path / name, text.encode())
    style, script = (_resource(name) for name in ("page.css", "page.js"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["options"] = _with_options
    html = environment.from_string(_resource("page.html.j2")).render(
        page=page,
        numbers=numbers,
        images=images,
        picture=lambda image: data_uri(to_picture(image), "image/jpeg"),
        downloads={
            name: data_uri(text.encode(), "text/plain") for name, text in downloads.items()
        },
        style=style,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    _write(folder.report, html.encode(errors="replace"))
    return folder.report


def _save_figure(figure: Figure, folder: Path) -> dict[str, str]:
    """Save each part of a figure; return what the report shows of it, by its name."""
    images = {}
    for name, ax in figure.parts().items():
        svg = to_svg(ax)
        _write(folder / f"{name}.svg", svg)
        _write(folder / f"{name}.pdf", to_pdf(ax))
        images[name] = (
            data_uri(to_jpeg(ax), "image/jpeg")
            if figure.is_photo
            else data_uri(svg, "image/svg+xml")
        )
    return images


def _with_options(text: str) -> Markup:
    """Mark the options of the command line, which must not break into two lines."""
    escaped = str(escape(text))  # re would escape what it inserts into Markup
    return Markup(_OPTION.sub(r"<code>\g<0></code>", escaped))  # noqa: S704  (escaped)


def _resource(name: str) -> str:
    return files("cxrtransfer.report").joinpath(name).read_text("utf-8")


def _write(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
