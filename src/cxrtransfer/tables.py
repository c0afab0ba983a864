"""Results as pandas data frames and as HTML tables for notebooks."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cxrtransfer.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MAX_COLUMNS", "data_frame", "html_table", "shortened"]

MAX_COLUMNS = 20
_MAX_SHOWN = 5

_STYLE = "style='text-align:left'"


def data_frame(columns: Mapping[str, Sequence[object]]) -> "pd.DataFrame":
    """Build a data frame from its columns.

    Raises:
        MissingExtraError: If pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415  (optional)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "the package 'pandas' is required but not installed; "
            "install it with: pip install 'cxrtransfer[pandas]'"
        ) from error
    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def shortened(parts: Sequence[str], unit: str) -> str:
    """Join some parts of a text, and say how many there are if not all are shown.

    Example:
        >>> shortened(["2 A", "1 B"], "classes"), shortened(list("abcdefg"), "classes")
        ('2 A, 1 B', 'a, b, c, d, e, ... (7 classes)')
    """
    if len(parts) <= _MAX_SHOWN:
        return ", ".join(parts)
    return f"{', '.join(parts[:_MAX_SHOWN])}, ... ({len(parts):,} {unit})"


def html_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = ""
) -> str:
    """Return a table in HTML, with every text escaped.

    Args:
        title: Its caption.
        columns: The header cells; only the first ``MAX_COLUMNS`` columns are shown.
        rows: The cells of each row; the first is a row header.
        note: Text below the table.
    """
    shown = [*columns[:MAX_COLUMNS], *(["..."] if len(columns) > MAX_COLUMNS else [])]
    head = "".join(f"<th scope='col' {_STYLE}>{_text(name)}</th>" for name in shown)
    body = "".join(
        f"<tr><th scope='row' {_STYLE}>{_text(first)}</th>"
        + "".join(f"<td {_STYLE}>{_text(cell)}</td>" for cell in rest[: MAX_COLUMNS - 1])
        + "</tr>"
        for first, *rest in rows
    )
    below = f"<p>{_text(note)}</p>" if note else ""
    return (
        f"<table><caption {_STYLE}>{_text(title)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
    )


def _text(value: object) -> str:
    return html.escape(str(value))
