"""Results as pandas data frames and as HTML tables for notebooks."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from cxrtransfer.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["data_frame", "html_table"]

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


def html_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = ""
) -> str:
    """Return a table in HTML, with every text escaped.

    Args:
        title: Its caption.
        columns: The header cells.
        rows: The cells of each row; the first is a row header.
        note: Text below the table.
    """
    head = "".join(f"<th scope='col' {_STYLE}>{_text(name)}</th>" for name in columns)
    body = "".join(
        f"<tr><th scope='row' {_STYLE}>{_text(first)}</th>"
        + "".join(f"<td {_STYLE}>{_text(cell)}</td>" for cell in rest)
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
