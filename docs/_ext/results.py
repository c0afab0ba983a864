"""Show numbers and lists from their files, so that no page repeats them.

``:result:`FILE KEY KEY ... | FORMAT``` shows a value of a JSON file in ``_output``, in a format of
Python's ``format``.
"""

import json
import tomllib
from functools import reduce
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole


class Result(SphinxRole):
    """One number of a file."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Read the value and format it."""
        place, _, form = (part.strip() for part in self.text.partition("|"))
        name, *keys = place.split()
        path = Path(self.env.srcdir) / "_output" / name
        self.env.note_dependency(path)
        value = reduce(
            lambda values, key: values[int(key) if isinstance(values, list) else key],
            keys,
            json.loads(path.read_text(encoding="utf-8")),
        )
        return [nodes.Text(format(value, form))], []


class Extras(SphinxDirective):
    """The optional dependencies of the package, from ``pyproject.toml``."""

    def run(self) -> list[nodes.Node]:
        """List them."""
        path = Path(self.env.srcdir).parent / "pyproject.toml"
        self.env.note_dependency(path)
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        items = nodes.bullet_list()
        for name, packages in project["optional-dependencies"].items():
            text = nodes.paragraph("", "", nodes.literal(name, name))
            text += nodes.Text(": " + ", ".join(packages))
            items += nodes.list_item("", text)
        return [items]


def setup(app: Sphinx) -> dict[str, object]:
    """Register the role."""
    app.add_role("result", Result())
    app.add_directive("extras", Extras)
    return {"parallel_read_safe": True}
