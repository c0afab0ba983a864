"""Show measured numbers from their files, so that no page has a number that was typed.

``:result:`FILE KEY KEY ... | FORMAT``` shows a value of a JSON file in ``_output``, in a format of
Python's ``format``.
"""

import json
from functools import reduce
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole


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


def setup(app: Sphinx) -> dict[str, object]:
    """Register the role."""
    app.add_role("result", Result())
    return {"parallel_read_safe": True}
