from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure as Drawing

from cxrtransfer.report.page import Figure, Section, Table, save_page
from cxrtransfer.study import StudyFolder


def drawn():
    return Drawing(figsize=(1, 1)).subplots()


def figure(name, axes, **changes):
    texts = {"title": "Curve", "caption": "Read it.", "alt": f"Plot {name}", **changes}
    return Figure(name=name, axes=axes, **texts)


@pytest.fixture
def save(tmp_path: Path):
    def save(*sections: Section) -> str:
        return save_page(
            StudyFolder(tmp_path), sections, title="Title", note="Note.", subtitle="Subtitle."
        ).read_text("utf-8")

    return save


class Images(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))


def test_figures_are_saved_as_files_and_inside_the_page(save, tmp_path):
    page = save(
        Section("One", figures=[figure("1", drawn()), figure("9b", [drawn(), drawn()])]),
        Section("Two", figures=[figure("1", drawn(), kind="Table")]),
    )

    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "figure_01.png", "figure_9b_1.png", "figure_9b_2.png", "table_01.png",
    ]  # fmt: skip
    parser = Images()
    parser.feed(page)
    assert [image["alt"] for image in parser.images] == [
        "Plot 1", "Plot 9b (part 1 of 2)", "Plot 9b (part 2 of 2)", "Plot 1",
    ]  # fmt: skip
    assert all(image["src"].startswith("data:image/png;base64,") for image in parser.images)
    assert "Figure 1. Curve." in page
    assert "Table 1. Curve." in page


def test_the_page_names_its_language_and_has_one_main_heading(save):
    page = save(Section("Summary"), Section("Settings", folded=True))

    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert page.count("<h1>") == 1
    assert "<title>Title</title>" in page
    assert page.count("<h2>") == 2
    assert "<summary><h2>Settings</h2></summary>" in page


def test_texts_are_escaped(save):
    evil = "<script>alert(1)</script>"
    table = Table(rows=[{evil: evil}], summary=evil)
    page = save(
        Section(
            evil, text=[evil], points=[evil], tables=[table], notes=[evil], listing=evil,
            figures=[figure("1", drawn(), title=evil, caption=evil, alt=f'"{evil}', link=evil)],
        )
    )  # fmt: skip

    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 12
    assert 'alt="&#34;&lt;' in page


def test_the_second_line_of_a_cell_is_small_and_a_row_can_stand_out(save):
    table = Table(rows=[{"AUROC": "0.9\n0.8"}, {"AUROC": "0.7"}], highlighted=1)
    page = save(Section("Summary", tables=[table]))

    assert "<td>0.9<br><small>0.8</small></td>" in page
    assert page.count('<tr class="highlighted">') == 1
    assert '<tr class="highlighted"><td>0.7</td>' in page


def test_a_page_that_fails_leaves_the_old_one(save, tmp_path):
    old = save(Section("Summary"))

    with pytest.raises(TypeError):
        save(Section("Summary", points=5))  # type: ignore[arg-type]

    assert (tmp_path / "report.html").read_text("utf-8") == old
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
