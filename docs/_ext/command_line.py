"""Describe the command line from its parser: ``.. command-line::``."""

import argparse
from collections.abc import Iterator
from typing import ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from cxrtransfer.cli.options import build_parser


class CommandLine(SphinxDirective):
    """A section per command: its help, its usage, and every option with its help."""

    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        """Write reStructuredText and parse it."""
        parser = build_parser()
        subcommands = next(
            action
            for action in parser._actions  # noqa: SLF001
            if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        )
        lines = [
            line
            for name, command in subcommands.choices.items()
            for line in _describe(name, command)
        ]
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(
            StringList(lines, source="command line"), 0, node, match_titles=True
        )
        return node.children


def _describe(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    title = f"cxrtransfer {name}"
    yield from (title, "-" * len(title), "", f".. program:: {title}", "")
    yield from (line.strip() for line in (command.description or "").splitlines())
    yield from ("", ".. code-block:: text", "")
    usage = command.format_usage().removeprefix("usage: ").rstrip()
    yield from (f"   {line}" for line in usage.splitlines())
    yield ""
    if command.epilog:
        example = command.epilog.removeprefix("example: ").replace("%%", "%")
        yield from ("Example:", "", ".. code-block:: console", "", f"   $ {example}", "")
    for group in command._action_groups:  # noqa: SLF001
        actions = [
            action
            for action in group._group_actions  # noqa: SLF001
            if action.help != argparse.SUPPRESS and "--help" not in action.option_strings
        ]
        if actions and group.title not in ("positional arguments", "options"):
            yield from (f".. rubric:: {group.title}", "")
        for action in actions:
            yield from _describe_action(action, command)


def _describe_action(action: argparse.Action, command: argparse.ArgumentParser) -> Iterator[str]:
    formatter = command._get_formatter()  # noqa: SLF001
    text = formatter._expand_help(action) if action.help else ""  # noqa: SLF001
    invocation = formatter._format_action_invocation(action)  # noqa: SLF001
    yield from (f".. option:: {invocation}", "", f"   {text.replace('*', chr(92) + '*')}", "")


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
