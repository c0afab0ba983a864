"""Run the Python and shell blocks of a page while the documentation is built.

``run-python`` and ``run-shell`` show their content, run it, and show what it printed; a block that
fails ends the build. All blocks of a page share one folder, which is empty at the beginning, and
its Python blocks share one namespace. A block ends with an expression to show its value: Axes
become an image. With ``:hidden:``, the code of a Python block is not shown. ``run-image`` shows an
image, and ``run-file`` a text, that blocks have written.

Pages that begin with the same training include it with the option ``shared``: what the block wrote
on the first page of a build is copied to the others before it runs there, so that it finds its
finished run instead of training again.
"""

import ast
import contextlib
import hashlib
import io
import itertools
import os
import shutil
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_FOLDERS = Path("_build/blocks")  # inside the source folder, as Sphinx copies images from there
_SHARED = _FOLDERS / ".shared"
_SHOWN_FOLDER = "/home/you"
_LANGUAGES = ("python", "py", "bash", "sh", "shell")
_seconds: list[tuple[float, str]] = []


def figure_of(value: object) -> Figure | None:
    """Return the figure of Axes, of a sequence of Axes, or of a figure; None for other values."""
    if isinstance(value, list | tuple | np.ndarray) and len(value):
        value = np.asarray(value, dtype=object).flat[0]
    figure = value.figure if isinstance(value, Axes) else value
    return figure if isinstance(figure, Figure) else None


class _Block(SphinxDirective):
    """A directive that works in the folder of its page."""

    @property
    def folder(self) -> Path:
        """The folder of this document's blocks."""
        return Path(self.env.srcdir).resolve() / _FOLDERS / self.env.docname

    def source(self, code: str, language: str) -> nodes.Node:
        """Show code."""
        node = nodes.literal_block(code, code, language=language, was_run=True)
        self.set_source_info(node)
        return node

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Note the CPU time of this block and of the processes that it starts."""
        start = sum(os.times()[:4])
        yield
        _seconds.append((sum(os.times()[:4]) - start, f"{self.env.docname}:{self.lineno}"))

    def output(self, text: str) -> list[nodes.Node]:
        """Show what a block printed."""
        lines = (line.rpartition("\r")[2].rstrip() for line in text.rstrip().split("\n"))
        shown = "\n".join(lines).replace(str(self.folder), _SHOWN_FOLDER)
        return [nodes.literal_block(shown, shown, language="text", classes=["output"])]

    def image(self, path: Path) -> nodes.Node:
        """Show an image of this document's folder."""
        uri = "/" + path.relative_to(Path(self.env.srcdir).resolve()).as_posix()
        image = nodes.image(uri=uri, alt=self.options.get("alt", ""))
        if "width" in self.options:
            image["width"] = self.options["width"]
        self.set_source_info(image)
        return image

    def fail(self, reason: str) -> ExtensionError:
        """Describe the failure of this block."""
        return ExtensionError(f"{self.env.docname}, line {self.lineno}: {reason}")


class RunPython(_Block):
    """Run Python; show the code, what it printed, and the value of its last expression."""

    has_content = True
    option_spec: ClassVar = {
        "alt": directives.unchanged_required,
        "width": directives.unchanged,
        "hidden": directives.flag,
        "shared": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Run the block."""
        code = "\n".join(self.content)
        shared = Path(self.env.srcdir) / _SHARED / hashlib.sha256(code.encode()).hexdigest()
        if "shared" in self.options and shared.exists():
            shutil.copytree(shared, self.folder, dirs_exist_ok=True)
        namespaces = self.env.temp_data.setdefault("run-python", {"__name__": "__main__"})
        printed = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed), self.timed():
            try:
                value = _execute(code, namespaces)
            except Exception as error:
                raise self.fail(f"the block failed\n{traceback.format_exc()}") from error
        if "shared" in self.options and not shared.exists():
            shutil.copytree(self.folder, shared)
        figure = figure_of(value)
        if figure is None and value is not None:
            printed.write(repr(value))
        shown = self.output(printed.getvalue()) if printed.getvalue().strip() else []
        if figure is not None:
            if "alt" not in self.options:
                raise self.fail("a figure needs the option alt, which describes it")
            number = self.env.new_serialno("run-python")
            path = self.folder / f"figure{number}.png"
            figure.savefig(path, dpi=120, bbox_inches="tight")
            shown.append(self.image(path))
        return shown if "hidden" in self.options else [self.source(code, "python"), *shown]


def _execute(code: str, namespace: dict[str, object]) -> object:
    """Run code and return the value of its last expression, or None."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *_args, **_options: print(f"warning: {message}")
        exec(compile(tree, "<block>", "exec"), namespace)  # noqa: S102  (our own pages)
        if last is None:
            return None
        return eval(compile(ast.Expression(last.value), "<block>", "eval"), namespace)  # noqa: S307


class RunShell(_Block):
    """Run shell commands; show them and what they printed."""

    has_content = True
    option_spec: ClassVar = {
        "status": directives.nonnegative_int,
        "lines": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        """Run the block."""
        code = "\n".join(self.content)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "99",
            "NO_COLOR": "1",
        }
        with self.timed():
            done = subprocess.run(  # noqa: S603  (our own pages)
                ["bash", "-e", "-o", "pipefail", "-c", code],  # noqa: S607
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                check=False,
            )
        if done.returncode != self.options.get("status", 0):
            raise self.fail(f"exit status {done.returncode} of\n{code}\n{done.stdout}")
        text = done.stdout
        if "lines" in self.options:
            head = list(itertools.islice(text.splitlines(), self.options["lines"]))
            text = "\n".join([*head, "..."])
        return [self.source(code, "shell"), *(self.output(text) if text.strip() else [])]


class RunImage(_Block):
    """Show an image that a block has written."""

    required_arguments = 1
    option_spec: ClassVar = {"alt": directives.unchanged_required, "width": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Show the image."""
        path = self.folder / self.arguments[0]
        if not path.is_file() or "alt" not in self.options:
            raise self.fail(f"run-image needs the option alt and a file; {path} may be missing")
        return [self.image(path)]


class RunFile(_Block):
    """Show a text file that a block has written."""

    required_arguments = 1
    option_spec: ClassVar = {"language": directives.unchanged, "lines": directives.positive_int}

    def run(self) -> list[nodes.Node]:
        """Show the text."""
        path = self.folder / self.arguments[0]
        if not path.is_file():
            raise self.fail(f"no such file: {path}")
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > self.options.get("lines", len(lines)):
            lines = [*lines[: self.options["lines"]], "..."]
        return [self.source("\n".join(lines), self.options.get("language", "text"))]


def _empty_folder(app: Sphinx, docname: str, _source: list[str]) -> None:
    folder = Path(app.srcdir) / _FOLDERS / docname
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _forget_shared(app: Sphinx) -> None:
    shutil.rmtree(Path(app.srcdir) / _SHARED, ignore_errors=True)


def _remove_folder(_app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    shutil.rmtree(Path(env.srcdir) / _FOLDERS / docname, ignore_errors=True)


def _check_all_run(app: Sphinx, doctree: nodes.document) -> None:
    """Refuse blocks of Python or shell code that the build does not run."""
    if app.env.docname.startswith(("gallery/", "reference/generated/", "tutorials/notebook")):
        return
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") in _LANGUAGES and "was_run" not in block:
            raise ExtensionError(
                f"{app.env.docname}: use run-python or run-shell, or, for what the build cannot "
                f"run, pycon or console:\n{block.astext()}"
            )


def _report_slowest(_app: Sphinx, _exception: Exception | None) -> None:
    total = sum(seconds for seconds, _block in _seconds)
    slowest = sorted(_seconds, reverse=True)[:20]
    lines = [f"{seconds:6.1f} s  {block}" for seconds, block in slowest]
    text = "\n".join([f"the blocks took {total:.0f} s of CPU time; the slowest:", *lines])
    logging.getLogger(__name__).info(text)


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directives."""
    app.add_directive("run-python", RunPython)
    app.add_directive("run-shell", RunShell)
    app.add_directive("run-image", RunImage)
    app.add_directive("run-file", RunFile)
    app.connect("builder-inited", _forget_shared)
    app.connect("source-read", _empty_folder)
    app.connect("env-purge-doc", _remove_folder)
    app.connect("doctree-read", _check_all_run)
    app.connect("build-finished", _report_slowest)
    return {"parallel_read_safe": True}
