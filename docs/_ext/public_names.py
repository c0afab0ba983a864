"""Write one page per public function and class, and a list of them per package.

The names are those of ``__all__``. They are grouped by the module that defines them; its
docstring is the heading. Classes that a package has outside ``__all__`` are types of results,
which users receive but do not import; they come last. ``reference/PACKAGE.rst`` includes the
list.
"""

import importlib
import inspect
import shutil
from collections import defaultdict
from pathlib import Path

from sphinx.application import Sphinx

PACKAGES = (
    "data",
    "deploy",
    "embedding",
    "errors",
    "evaluation",
    "explain",
    "inference",
    "models",
    "plots",
    "report",
    "study",
    "training",
    "types",
)


def write_pages(folder: Path) -> None:
    """Write the pages and lists of all packages into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for package in PACKAGES:
        module = importlib.import_module(f"cxrtransfer.{package}")
        topics: dict[str, list[str]] = defaultdict(list)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                topics[_topic(value.__module__)].append(name)
                _write_page(folder, package, name, is_class=inspect.isclass(value))
        results = [
            name
            for name, value in vars(module).items()
            if name not in module.__all__ and _is_class_of(value, module.__name__)
        ]
        for name in results:
            _write_page(folder, package, name, is_class=True)
        if results:
            topics["Types of results"] = sorted(results)
        text = "\n".join(_list(title, names) for title, names in topics.items())
        (folder / f"{package}.txt").write_text(text, encoding="utf-8")


def _is_class_of(value: object, package: str) -> bool:
    return inspect.isclass(value) and value.__module__.startswith(f"{package}.")


def _topic(module: str) -> str:
    """Return the first line of the docstring of a module, at most two levels down."""
    name = ".".join(module.split(".")[:3])
    docstring = inspect.getdoc(importlib.import_module(name)) or name
    return docstring.partition("\n")[0].partition(";")[0].partition(":")[0].removesuffix(".")


def _page(package: str, name: str, *, is_class: bool) -> str:
    """Return the name of a page; file systems may ignore case, so it has the kind as well."""
    return f"{package}.{name}-{'class' if is_class else 'function'}"


def _write_page(folder: Path, package: str, name: str, *, is_class: bool) -> None:
    title = f"cxrtransfer.{package}.{name}"
    lines = [
        # Not in the navigation, which every page repeats; the lists link to them.
        ":orphan:",
        "",
        title,
        "=" * len(title),
        "",
        f".. currentmodule:: cxrtransfer.{package}",
        "",
        f".. auto{'class' if is_class else 'function'}:: {name}",
    ]
    if package == "plots":
        lines += ["", f".. minigallery:: cxrtransfer.plots.{name}"]
    path = folder / f"{_page(package, name, is_class=is_class)}.rst"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _list(title: str, names: list[str]) -> str:
    return "\n".join(
        [
            title,
            "-" * len(title),
            "",
            ".. autosummary::",
            "   :nosignatures:",
            "",
            *(f"   {name}" for name in names),
            "",
        ]
    )


def setup(app: Sphinx) -> dict[str, object]:
    """Write the pages before Sphinx looks for pages."""
    write_pages(Path(app.srcdir) / "reference" / "generated")
    return {"parallel_read_safe": True}
