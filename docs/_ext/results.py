"""Show numbers and lists from their files, so that no page repeats them.

``:result:`FILE KEY KEY ... | FORMAT``` shows a value of a JSON file in ``_output``, in a format of
Python's ``format``.

``.. measured-table::`` shows a table that a measurement writes.
"""

import json
import tomllib
from functools import reduce
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.parsers.rst.directives.tables import CSVTable
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from cxrtransfer.evaluation import METRICS
from cxrtransfer.report import CITED_STUDIES
from cxrtransfer.report.wording import in_sentence


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


class Cited(SphinxDirective):
    """The published metrics of a study on which the paper builds."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write them in a sentence."""
        study = CITED_STUDIES[self.arguments[0]]
        values = ", ".join(
            f"{in_sentence(METRICS[name].label)} {value:g}"
            for name, value in study.metrics.items()
        )
        text = f"Published ({study.method}; {study.data}): {values}."
        return [nodes.paragraph("", text)]


class MeasuredTable(CSVTable):
    """A table of results; without its file, a line that says that it was not measured."""

    option_spec: ClassVar = {"file": directives.path}

    def run(self) -> list[nodes.Node]:
        """Read the file, whose path is relative to the document."""
        path = Path(self.state.document.current_source).parent / self.options["file"]
        self.state.document.settings.record_dependencies.add(str(path))
        if not path.is_file():
            return [nodes.paragraph("", "", nodes.emphasis("", "Not measured yet."))]
        self.options["header-rows"] = 1
        return list(super().run())


def setup(app: Sphinx) -> dict[str, object]:
    """Register the role."""
    app.add_role("result", Result())
    app.add_directive("extras", Extras)
    app.add_directive("cited", Cited)
    app.add_directive("measured-table", MeasuredTable)
    return {"parallel_read_safe": True}
