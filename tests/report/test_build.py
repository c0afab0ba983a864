import hashlib
import re
import shutil
from pathlib import Path

import pytest

from cxrtransfer.errors import RunFolderError
from cxrtransfer.report import write_report
from cxrtransfer.report.build import SECTIONS
from cxrtransfer.report.page import Section
from cxrtransfer.study import StudyResults, load_study


@pytest.fixture(scope="module")
def sections(study: StudyResults) -> list[Section]:
    return [section for build in SECTIONS if (section := build(study)) is not None]


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

    for build in SECTIONS:
        build(study)
        assert _files(tmp_path) == before, build.__name__


def test_the_page_is_the_same_when_it_is_written_again(kermany_study: Path, page: str) -> None:
    assert write_report(kermany_study).read_text("utf-8") == page


def test_the_sections_stand_in_their_order(page: str) -> None:
    assert re.findall("<h2>(.*?)</h2>", page) == [
        "Summary",
        "Performance on the test set",
        "Comparison of runs",
        "Ensemble of the runs",
        "Subgroups",
        "Decision threshold",
        "Calibration of predicted probabilities",
        "Prevalence",
        "Validation versus test",
        "Shortcuts",
        "External validation",
        "Leakage and split",
        "Grad-CAM and its sanity checks",
        "t-SNE embedding of the test images",
        "ROC curves, metrics and confusion matrices",
        "Learning curves",
        "Images",
        "Settings",
        "Software versions and data digest",
    ]


def test_each_figure_appears_once_and_is_described(page: str, sections: list[Section]) -> None:
    figures = [figure for section in sections for figure in section.figures]
    labels = [figure.label for figure in figures]

    assert len(set(labels)) == len(labels)
    assert {"Figure A", "Figure 1", "Figure 10", "Table 1"} <= set(labels)
    for figure in figures:
        assert page.count(f'<figure id="{figure.label.lower().replace(" ", "-")}">') == 1
        assert figure.alt
        assert figure.caption.endswith(".")
        assert not figure.title.endswith((".", "?"))


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
    text = re.sub(r"base64,[^\"]*|<style.*?</style>|<pre>.*?</pre>", "", page, flags=re.DOTALL)

    assert re.findall(pattern, text) == []


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="must hold a finished study"):
        write_report(tmp_path)
