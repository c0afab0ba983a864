import hashlib
import re
import shutil
from pathlib import Path

import pytest

from cxrtransfer.errors import RunFolderError
from cxrtransfer.report import write_report
from cxrtransfer.report.build import FOLDED, SECTIONS, build_sections
from cxrtransfer.report.page import Section
from cxrtransfer.study import StudyResults, load_study


@pytest.fixture(scope="module")
def sections(study: StudyResults) -> list[Section]:
    return [section for build in (*SECTIONS, *FOLDED) if (section := build(study)) is not None]


@pytest.fixture(scope="module")
def page(kermany_study: Path) -> str:
    return write_report(kermany_study).read_text("utf-8")


def _files(folder: Path) -> dict[Path, tuple[int, str]]:
    """Return when each file was written, and its digest."""
    return {
        path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_no_section_writes_anything(
    kermany_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(kermany_study, tmp_path / "study")
    monkeypatch.chdir(shutil.copytree(kermany_study, tmp_path / "elsewhere"))
    before = _files(tmp_path)
    study = load_study(folder)

    for build in (*SECTIONS, *FOLDED):
        build(study)
        assert _files(tmp_path) == before, build.__name__


@pytest.mark.slow
def test_the_page_is_the_same_when_it_is_written_again(kermany_study: Path, page: str) -> None:
    assert write_report(kermany_study).read_text("utf-8") == page


def test_the_sections_stand_in_their_order(page: str) -> None:
    assert re.findall("<h2 .*?>(.*?)</h2>", page) == [
        "In short",
        "ROC curve and confusion matrix",
        "Split and leakage",
        "External validation",
        "Errors",
        "Comparison of runs",
        "Pairs of runs",
        "Ensemble of the runs",
        "Validation versus test",
        "Shortcuts",
        "Subgroups",
        "Decision threshold",
        "Calibration of predicted probabilities",
        "Prevalence",
        "Grad-CAM and its sanity checks",
        "t-SNE embedding of the test images",
        "Learning curves",
        "Images",
        "Settings",
        "Software versions and data digest",
    ]
    assert page.index("<h2") < page.index('<details class="folded">')


def test_the_figures_are_numbered_in_their_order_and_described(
    page: str, sections: list[Section]
) -> None:
    figures = [figure for section in sections for figure in section.figures]
    names = [figure.name for figure in figures]

    assert len(set(names)) == len(names)
    numbers = [int(number) for number in re.findall(r"<strong>Figure (\d+)\.", page)]
    assert numbers == list(range(1, len(figures) + 1))
    assert "of the paper" not in page
    for figure in figures:
        assert figure.alt
        assert figure.caption.endswith(".")
        assert not figure.title.endswith((".", "?"))


def test_an_unknown_run_cannot_be_explained(kermany_study: Path) -> None:
    with pytest.raises(ValueError, match=r"one of the runs \['plain', 'weighted'\], got 'other'"):
        write_report(kermany_study, explained="other")


def test_what_a_thesis_needs_is_beside_the_report(
    kermany_study: Path, page: str, sections: list[Section]
) -> None:
    assert page
    names = {path.name for path in kermany_study.iterdir()}
    assert names >= {
        "README.txt", "embedding.html", "figures", "metrics.csv", "metrics.json", "report.md",
        "tables",
    }  # fmt: skip
    guide = (kermany_study / "README.txt").read_text("utf-8")
    assert {name for name in names if not name.startswith(".")} - {"plain", "weighted"} <= {
        line.split()[0].rstrip("/") for line in guide.splitlines() if line.startswith("  ")
    } | {"README.txt"}
    for path in (kermany_study / "plain").iterdir():
        assert path.name.startswith(".") or f"  {path.name} " in guide
    tables = {table.name for section in sections for table in section.tables}
    assert {path.stem for path in (kermany_study / "tables").iterdir()} == tables


def test_all_rows_of_a_table_have_the_same_columns(sections: list[Section]) -> None:
    tables = [table for section in sections for table in section.tables]

    assert len(tables) >= 6
    for table in tables:
        assert len({tuple(row) for row in table.rows}) == 1


@pytest.mark.parametrize(
    "pattern",
    [
        r"\?</(h2|strong|p|li)>", r"\bval\b", r"told apart", r"elsewhere", r"p = 0\.000",
        r"\bnan\b", r"one half", r"believed", r"f1_macro", r"_accuracy", r"\bNone\b", r"\d %",
    ],
)  # fmt: skip
def test_the_page_is_written_in_the_terms_of_the_field(page: str, pattern: str) -> None:
    text = re.sub(
        r"base64,[^\"]*|data-name=\"[^\"]*|<style.*?</style>|<pre.*?</pre>|<script.*?</script>",
        "",
        page,
        flags=re.DOTALL,
    )

    assert re.findall(pattern, text) == []


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="must hold a finished study"):
        write_report(tmp_path)


def test_a_section_that_fails_is_named_and_the_others_stand(study: StudyResults) -> None:
    def first_section(_: StudyResults) -> Section:
        return Section("First")

    def broken_section(_: StudyResults) -> Section:
        raise ValueError("there must be at least 2 patients")

    first, broken = build_sections((first_section, broken_section, lambda _: None), study)

    assert first.title == "First"
    assert broken.title == "Broken"
    assert broken.text == [
        "This section is missing, as it cannot be computed: there must be at least 2 patients."
    ]
