"""The checker of wording, on planted phrases."""

import runpy
from pathlib import Path

import pytest

prose = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "prose.py"))


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.py", '"""Title.\n\nTested\nelsewhere."""\n', 4),
        ("a.py", "x = 1\n# No patient is on both\n# sides of it.\n", 2),
        ("a.py", 'raise ValueError(\n    "threshold one "\n    f"half, got {x}"\n)\n', 2),
        ("a.py", 'message = f"{name} was mended"\n', 1),
        ("a.py", 'def f():\n    """Tell whether it holds."""\n', 2),
        ("a.rst", "Title\n=====\n\nImageNet\nparameters\n", 4),
        ("a.md", "`val` is chosen on val.\n", 1),
    ],
)
def test_a_planted_phrase_is_reported_with_its_line(
    tmp_path: Path, name: str, text: str, line: int
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")

    (problem,) = prose["problems"](tmp_path / name)

    assert problem.startswith(f"{tmp_path / name}:{line}: ")
    assert "; say: " in problem


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "from elsewhere import mend\n\nheat = one_half = mend(elsewhere)\n"),
        ("a.py", 'values["heat"] = f"{heat} {mend(elsewhere)}"\n'),
        ("a.py", '"""The network\'s parameters, ``val`` and `elsewhere` in a literal."""\n'),
        ("a.py", 'split("one", "half")\n'),
        ("a.rst", "Heatmaps, recommended settings, ``on val``; recall at a threshold of 0.5.\n"),
        ("a.csv", "elsewhere\n"),
    ],
)
def test_code_literals_and_harmless_words_are_not_reported(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")

    assert not [hit for path in prose["files"]([str(tmp_path)]) for hit in prose["problems"](path)]


def test_the_number_of_phrases_is_what_makes_the_check_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.md").write_text("Mended anew.\n", encoding="utf-8")

    assert prose["main"]([str(tmp_path)]) == 2
    assert "'Mended'" in capsys.readouterr().out
