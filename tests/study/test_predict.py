import csv
import shutil
from pathlib import Path

import pytest

from cxrtransfer.study import load_run, predict_images

pytestmark = pytest.mark.filterwarnings("ignore:.*heatmaps are empty:UserWarning")


@pytest.fixture(scope="module")
def run(kermany_study: Path) -> Path:
    return kermany_study / "plain"


@pytest.fixture
def images(kermany_tree: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kermany_tree / "test", tmp_path / "images")


def test_a_heatmap_that_cannot_be_written_costs_nothing_else(
    run: Path, images: Path, tmp_path: Path
) -> None:
    first, *others = sorted((images / "NORMAL").iterdir())
    long = first.rename(first.with_name("a" * 251 + ".png"))  # with .png once more it is too long

    with pytest.warns(
        UserWarning, match=f"1 of 48 heatmaps cannot be written: 'NORMAL/{'a' * 251}"
    ):
        predictions = predict_images(
            run, images, out=tmp_path / "table.csv", heatmaps=tmp_path / "maps"
        )

    assert f"NORMAL/{long.name}" in predictions.ids
    assert (tmp_path / "table.csv").read_text("utf-8").count("\n") == 49
    assert sum(1 for _ in (tmp_path / "maps").rglob("*.png")) == 47
    assert len(others) == 23


def test_a_name_that_is_not_utf_8_keeps_its_row(run: Path, images: Path, tmp_path: Path) -> None:
    first = min((images / "NORMAL").iterdir())
    first.rename(first.with_name("scan\udce9.png"))

    predict_images(run, images, out=tmp_path / "table.csv")

    assert b"NORMAL/scan\xe9.png" in (tmp_path / "table.csv").read_bytes()


def test_a_table_that_cannot_be_written_is_refused_before_any_image_is_read(
    run: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for path in images.rglob("*.png"):
        path.write_bytes(b"no image")

    with pytest.raises(IsADirectoryError, match="out must be a file"):
        predict_images(run, images, out=tmp_path)
    with pytest.raises(OSError, match="file"):
        predict_images(run, images, out=tmp_path / "file" / "table.csv")


def test_heatmaps_inside_the_source_are_refused(run: Path, images: Path) -> None:
    for folder in (images, images / "maps", images / "NORMAL" / ".." / "maps"):
        with pytest.raises(ValueError, match="must be outside the source folder"):
            predict_images(run, images, heatmaps=folder)


def test_one_file_is_one_image(run: Path, images: Path, tmp_path: Path) -> None:
    path = images / "NORMAL" / "IM-2000-0000.png"

    predictions = predict_images(run, str(path), heatmaps=tmp_path / "maps")

    assert predictions.ids == (path.as_posix(),)
    assert [p.name for p in (tmp_path / "maps").iterdir()] == ["IM-2000-0000.png.png"]


def test_an_empty_folder_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(FileNotFoundError, match=r"at least one image, got .*empty"):
        predict_images(run, tmp_path / "empty")


@pytest.mark.usefixtures("images")
def test_a_tilde_is_the_home_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    predictions = predict_images(run, "~/images", out="~/table.csv")

    with (tmp_path / "table.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == list(predictions.ids)
    shutil.copytree(run, tmp_path / "run")
    assert load_run("~/run").name == "plain"
