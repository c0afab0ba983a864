"""Tables as LaTeX, with the package booktabs."""

import re

from .page import Table, inline

__all__ = ["latex_table"]

_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "\N{EN DASH}": "--",
    "[": "{[}", "]": "{]}", "*": "{*}",  # which have a meaning at the beginning of a row
    "\N{MINUS SIGN}": "$-$", "\N{MULTIPLICATION SIGN}": r"$\times$",
}  # fmt: skip

_NEGATIVE = re.compile(r"(?<![\w-])-(?=\d)")  # the sign of a number


def latex_table(table: Table) -> str:
    r"""Return a ``tabular`` environment; the highlighted row is bold.

    Example:
        >>> print(latex_table(Table(name="a", rows=[{"Run": "x_1", "AUROC": "0.9\n0.8-1"}])))
        % needs \usepackage{booktabs}
        \begin{tabular}{lr}
        \toprule
        Run & AUROC \\
        \midrule
        x\_1 & 0.9 (0.8-1) \\
        \bottomrule
        \end{tabular}
        <BLANKLINE>
    """
    columns = list(table.rows[0])
    lines = [
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        _row(columns),
        r"\midrule",
        *(
            _row(list(row.values()), bold=index == table.highlighted)
            for index, row in enumerate(table.rows)
        ),
        r"\bottomrule",
        r"\end{tabular}",
        "",
    ]
    return "\n".join(lines)


def _row(cells: list[str], *, bold: bool = False) -> str:
    texts = (
        "".join(
            _ESCAPED.get(letter, letter)
            for letter in _NEGATIVE.sub("\N{MINUS SIGN}", inline(cell))
        )
        for cell in cells
    )
    return " & ".join(rf"\textbf{{{text}}}" if bold else text for text in texts) + r" \\"
