"""The report as Markdown."""

import re
from collections.abc import Iterator

from .page import Page, Section, Table, inline

__all__ = ["markdown_page"]

_STATUS = {"passed": "passed", "found": "**found**", "unknown": "**unknown**"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def markdown_page(page: Page, *, figures: str) -> str:
    """Return a report as Markdown.

    Args:
        page: The report.
        figures: Folder of its figures, relative to the Markdown file.
    """
    numbers = page.numbered()
    lines = [f"# {_plain(page.title)}", "", f"**{_plain(page.note)}**", ""]
    lines += [f"- {_plain(name)}: {_plain(text)}" for name, text in page.facts.items()]
    for section in page.sections:
        lines += ["", f"## {_plain(section.title)}", *_section(section, numbers, figures)]
    return "\n".join(lines) + "\n"


def _section(section: Section, numbers: dict[str, int], figures: str) -> Iterator[str]:
    for tile in section.tiles:
        details = "; ".join(tile.details)
        yield from ("", f"- {_plain(tile.label)}: **{_plain(tile.value)}** ({_plain(details)})")
    for paragraph in section.text:
        yield from ("", _plain(paragraph))
    if section.points:
        yield from ("", *(f"- {_plain(point)}" for point in section.points))
    if section.checks:
        yield ""
        for check in section.checks:
            yield f"- {_STATUS[check.status]}: {_plain(check.text)}"
    if section.steps:
        steps = enumerate(section.steps, start=1)
        yield from ("", "What to do next:", "")
        yield from (f"{number}. {_plain(step)}" for number, step in steps)
    for table in section.tables:
        yield from ("", *_table(table))
    for figure in section.figures:
        for name in figure.parts():
            yield from ("", f"![{_plain(figure.alt)}]({figures}/{name}.svg)")
        label = f"**Figure {numbers[figure.name]}. {_plain(figure.title)}.**"
        yield from ("", f"{label} {_plain(figure.caption)}")
    for case in section.cases:
        yield from ("", f"- {_plain('; '.join(case.lines))}")
    for note in section.notes:
        yield from ("", _plain(note))


def _table(table: Table) -> Iterator[str]:
    yield _row(list(table.rows[0]))
    yield _row(["---", *["---:"] * (len(table.rows[0]) - 1)], is_plain=True)
    for row in table.rows:
        yield _row(list(row.values()))


def _row(cells: list[str], *, is_plain: bool = False) -> str:
    texts = (cell if is_plain else _plain(inline(cell)) for cell in cells)
    return f"| {' | '.join(texts)} |"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
