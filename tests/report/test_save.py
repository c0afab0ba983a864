import base64
import csv
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawing

from cxrtransfer.report.page import Case, Check, Figure, Page, Section, Table, Tile
from cxrtransfer.report.save import save_page
from cxrtransfer.study import StudyFolder


def drawn():
    return Drawing(figsize=(1, 1)).subplots()


def figure(name, axes, **changes):
    texts = {"title": "Curve", "caption": "Read it.", "alt": f"Plot {name}", **changes}
    return Figure(name=name, axes=axes, **texts)


@pytest.fixture
def save(tmp_path: Path):
    def save(*sections: Section, **changes: str) -> str:
        texts = {"title": "Title", "note": "Note.", "facts": {"Date": "today"}, **changes}
        page = Page(sections=sections, **texts)
        downloads = {"metrics.csv": "run,value\na,1\n"}
        return save_page(StudyFolder(tmp_path), page, downloads).read_text("utf-8")

    return save


class Images(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))


def test_figures_are_numbered_in_order_and_saved_as_files_and_inside_the_page(save, tmp_path):
    page = save(
        Section("One", figures=[figure("b", drawn()), figure("c", [drawn(), drawn()])]),
        Section("Two", figures=[figure("a", drawn(), is_photo=True)], folded=True),
    )

    stems = ["a", "b", "c_1", "c_2"]
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == sorted(f"{stem}.{kind}" for stem in stems for kind in ("svg", "pdf"))
    parser = Images()
    parser.feed(page)
    assert [image["alt"] for image in parser.images] == [
        "Plot b", "Plot c (part 1 of 2)", "Plot c (part 2 of 2)", "Plot a",
    ]  # fmt: skip
    *plots, photo = [image["src"] for image in parser.images]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in plots)
    assert base64.b64decode(plots[0].split(",")[1]) == (tmp_path / "figures/b.svg").read_bytes()
    assert photo.startswith("data:image/jpeg;base64,")
    assert re.findall(r"Figure (\d)\. Curve\.", page) == ["1", "2", "3"]
    assert re.findall(r'<figure id="figure-(\d)"', page) == ["1", "2", "3"]


def test_a_figure_has_the_same_bytes_every_time_and_adapts_to_the_dark(save, tmp_path):
    section = Section("One", figures=[figure("a", drawn())])
    save(section)
    before = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    save(section)

    assert before == {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert b"prefers-color-scheme: dark" in before["a.svg"]


def test_the_page_has_headings_in_order_and_an_entry_of_contents_per_section(save):
    page = save(Section("In short", steps=["Go."]), Section("Settings (all)", folded=True))

    assert page.startswith('<!doctype html>\n<html lang="en">')
    assert re.findall(r"<h(\d)", page) == ["1", "2", "3", "2"]
    assert "<title>Title</title>" in page
    assert '<summary><h2 id="settings-all">Settings (all)</h2></summary>' in page
    anchors = set(re.findall(r'<a href="#([^"]+)"', page))
    assert anchors == set(re.findall(r'<h2 id="([^"]+)"', page)) == {"in-short", "settings-all"}


def test_options_of_the_command_line_are_marked(save):
    page = save(Section("In short", steps=["Repeat (--seeds 0 1), not <b>a--b</b>."]))

    assert "<li>Repeat (<code>--seeds</code> 0 1), not &lt;b&gt;a--b&lt;/b&gt;.</li>" in page


def test_texts_are_escaped(save, tmp_path):
    evil = "<script>alert(1)</script>"
    table = Table(name="t", rows=[{evil: evil}], summary=evil)
    case = Case(pictures={evil: np.zeros((2, 2), np.uint8)}, lines=[evil])
    page = save(
        Section(
            evil, tiles=[Tile(label=evil, value=evil, details=[evil])], text=[evil],
            points=[evil], checks=[Check("found", evil)], steps=[evil], tables=[table],
            cases=[case], notes=[evil], listing={evil: evil},
            figures=[figure("a", drawn(), title=evil, caption=evil, alt=f'"{evil}', link=evil)],
        ),
        title=evil, note=evil, facts={evil: evil},
    )  # fmt: skip

    assert page.count("<script>") == 1  # our own
    assert page.count("&lt;script&gt;") == 27
    assert 'alt="&#34;&lt;' in page
    assert "<script" not in re.sub(r"\\[<>]", "", (tmp_path / "report.md").read_text("utf-8"))


def test_nothing_is_requested_and_only_the_own_script_may_run(save):
    page = save(Section("One", figures=[figure("a", drawn())]))
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]

    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "default-src 'none'" in page
    import hashlib

    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_tables_are_saved_as_latex_and_markdown(save, tmp_path):
    table = Table(
        name="runs",
        rows=[{"Run": "a_b", "AUROC\n95% CI": "0.9\n0.8"}, {"Run": "c|d", "AUROC\n95% CI": "< 1"}],
        highlighted=1,
    )
    page = save(Section("Summary", tables=[table]))

    assert "<td>0.9<br><small>0.8</small></td>" in page
    assert page.count('<tr class="highlighted">') == 1
    latex = (tmp_path / "tables" / "runs.tex").read_text("utf-8")
    assert r"Run & AUROC (95\% CI) \\" in latex
    assert r"a\_b & 0.9 (0.8) \\" in latex
    assert r"\textbf{c|d} & \textbf{\textless{} 1} \\" in latex
    assert r"| a\_b | 0.9 (0.8) |" in (tmp_path / "report.md").read_text("utf-8")
    assert r"| c\|d | \< 1 |" in (tmp_path / "report.md").read_text("utf-8")


def test_latex_shows_signs_and_no_row_begins_with_a_command_of_tabular(save, tmp_path):
    rows = [{"Run": "[1] a-1", "Change": "-0.1\n-0.2 to +0.1*"}, {"Run": "*", "Change": ""}]
    save(Section("Summary", tables=[Table(name="changes", rows=rows)]))

    latex = (tmp_path / "tables" / "changes.tex").read_text("utf-8")
    assert r"{[}1{]} a-1 & $-$0.1 ($-$0.2 to +0.1{*}) \\" in latex
    assert r"{*} &  \\" in latex


def test_a_page_that_fails_leaves_the_old_one(save, tmp_path):
    old = save(Section("Summary"))

    with pytest.raises(TypeError):
        save(Section("Summary", points=5))  # type: ignore[arg-type]

    assert (tmp_path / "report.html").read_text("utf-8") == old
    assert not list(tmp_path.glob(".*"))


def test_metrics_are_those_of_the_evaluations(study):
    from cxrtransfer.evaluation import METRICS
    from cxrtransfer.report.metrics import metrics_csv, metrics_json

    rows = list(csv.DictReader(metrics_csv(study).splitlines()))
    values = json.loads(metrics_json(study))

    assert len(rows) == len(METRICS) * (len(study.runs) + 1)
    assert values["selected"] == study.chosen.name
    for evaluation in values["evaluations"][: len(study.runs)]:
        expected = study.tests[evaluation["run"]]
        for name, estimate in expected.estimates().items():
            stored = evaluation["metrics"][name]
            assert (stored["value"] is None) == math.isnan(estimate.value)
            assert (stored["low"] is None) == (estimate.low != estimate.low)
            (row,) = (
                row for row in rows
                if (row["run"], row["data"], row["metric"]) == (evaluation["run"], "test", name)
            )  # fmt: skip
            assert row["value"] == ("" if stored["value"] is None else str(stored["value"]))
            if stored["value"] is not None:
                assert stored["value"] == estimate.value
    assert rows[-1]["data"] == "validation"


def test_radiographs_in_an_svg_are_jpegs_and_transparent_images_are_kept(save, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(100, 140, (64, 64, 3), dtype=np.uint8)
    photos, markers = drawn(), drawn()
    for left in (0, 2):  # with a gap between them, as in a grid of radiographs
        photos.imshow(noise, extent=(left, left + 1, 0, 1))
    photos.set_xlim(0, 3)  # each image sets the limits to its own
    markers.imshow(np.dstack([noise, np.tile(np.uint8([0, 255]), (64, 32))]))
    save(Section("One", figures=[figure("photos", photos), figure("markers", markers)]))

    svg = (tmp_path / "figures/photos.svg").read_bytes()
    assert (svg.count(b"data:image/jpeg"), svg.count(b"data:image/png")) == (2, 0)
    svg = (tmp_path / "figures/markers.svg").read_bytes()
    assert (svg.count(b"data:image/jpeg"), svg.count(b"data:image/png")) == (0, 1)
