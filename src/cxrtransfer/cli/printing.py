"""Output of the commands: results on standard output, everything else on standard error."""

import json
import re
import sys
from dataclasses import fields

from cxrtransfer.config import RunConfig, TrainConfig
from cxrtransfer.files import nan_as_none

__all__ = ["Finding", "print_json", "print_lines", "shell_words"]

_FLAGS = {
    "pretrained=False": "--random",
    "mode='features'": "--features",
    "group_by=None": "--image-split",
    "on_error='skip'": "--skip-unreadable",
}


class Finding(Exception):  # noqa: N818  (the command succeeded; what it found is no error)
    """What ``--strict`` turns into exit status 3."""


def print_lines(*lines: object) -> None:
    """Print results; letters that the encoding of the output does not have are escaped."""
    text = "\n".join(map(str, lines)) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def print_json(values: object) -> None:
    """Print a result for machines; NaN becomes null."""
    sys.stdout.write(json.dumps(nan_as_none(values), indent=2) + "\n")


def shell_words(message: str) -> str:
    """Replace settings as Python spells them by options of the command line."""
    for python, shell in _FLAGS.items():
        message = message.replace(python, shell)
    names = {field.name for config in (TrainConfig, RunConfig) for field in fields(config)}
    names -= {"name", "model", "training", "mode", "compile"}

    def option(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if name not in names or (value is None and "_" not in name):
            return match[0]
        return "--" + name.replace("_", "-") + (f" {value[1:]}" if value else "")

    return re.sub(
        r"(?<![\w.\-/])(?P<name>[a-z_]+)(?P<value>=[\w.'\-]+)?(?![\w/])", option, message
    )
