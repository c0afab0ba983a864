import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.deploy import Classifier, ImagePredictions, output as module, predict_files
from cxrtransfer.deploy.images import ImageSource
from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.evaluation import ConformalScores, OperatingPoint
from cxrtransfer.files import read_json

pytestmark = pytest.mark.filterwarnings("ignore:.*heatmaps are empty:UserWarning")


@pytest.fixture
def images(kermany_tree: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kermany_tree / "test", tmp_path / "images")


def test_a_heatmap_that_cannot_be_written_costs_nothing_else(
    classifier: Classifier, images: Path, tmp_path: Path
) -> None:
    first, *others = sorted((images / "NORMAL").iterdir())
    long = first.rename(first.with_name("a" * 251 + ".png"))  # with .png once more it is too long

    with pytest.warns(
        UserWarning, match=f"1 of 48 heatmaps cannot be written: 'NORMAL/{'a' * 251}"
    ):
        predictions = predict_files(
            classifier, images, out=tmp_path / "table.csv", heatmaps=tmp_path / "maps"
        )

    assert f"NORMAL/{long.name}" in predictions.ids
    assert (tmp_path / "table.csv").read_text("utf-8").count("\n") == 49
    assert sum(1 for _ in (tmp_path / "maps").rglob("*.png")) == 47
    assert len(others) == 23


def test_a_name_that_is_not_utf_8_keeps_its_row(
    classifier: Classifier, images: Path, tmp_path: Path
) -> None:
    first = min((images / "NORMAL").iterdir())
    first.rename(first.with_name("scan\udce9.png"))

    predict_files(classifier, images, out=tmp_path / "table.csv")

    assert b"NORMAL/scan\xe9.png" in (tmp_path / "table.csv").read_bytes()


def test_a_table_that_cannot_be_written_is_refused_before_any_image_is_read(
    classifier: Classifier, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for path in images.rglob("*.png"):
        path.write_bytes(b"no image")

    with pytest.raises(IsADirectoryError, match="out must be a file"):
        predict_files(classifier, images, out=tmp_path)
    with pytest.raises(OSError, match="file"):
        predict_files(classifier, images, out=tmp_path / "file" / "table.csv")


def test_heatmaps_inside_the_source_are_refused(classifier: Classifier, images: Path) -> None:
    for folder in (images, images / "maps", images / "NORMAL" / ".." / "maps"):
        with pytest.raises(ValueError, match="must be outside the source folder"):
            predict_files(classifier, images, out="p.csv", heatmaps=folder)


def test_one_file_is_one_image(classifier: Classifier, images: Path, tmp_path: Path) -> None:
    path = images / "NORMAL" / "IM-2000-0000.png"

    predictions = predict_files(
        classifier, str(path), out=tmp_path / "p.csv", heatmaps=tmp_path / "maps"
    )

    assert predictions.ids == (path.as_posix(),)
    assert [p.name for p in (tmp_path / "maps").iterdir()] == ["IM-2000-0000.png.png"]


def test_an_empty_folder_is_named(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(FileNotFoundError, match=r"at least one image, got .*empty"):
        predict_files(classifier, tmp_path / "empty", out=tmp_path / "p.csv")


@pytest.mark.usefixtures("images")
def test_a_tilde_is_the_home_folder(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    predictions = predict_files(classifier, "~/images", out="~/table.csv")

    with (tmp_path / "table.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == list(predictions.ids)


def predict(
    classifier: Classifier, images: Path, folder: Path, **options: object
) -> ImagePredictions:
    return predict_files(classifier, images, out=folder / "table.csv", **options)


def test_the_table_has_the_columns_of_a_runs_test_predictions_and_the_json_the_decision(
    classifier: Classifier, kermany_study: Path, images: Path, tmp_path: Path
) -> None:
    predictions = predict(classifier, images, tmp_path, json_out=tmp_path / "p.json")

    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (kermany_study / "plain" / "predictions_test.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert set(columns) - {"label"} <= set(rows[0])
    values = read_json(tmp_path / "p.json")
    assert values["threshold_rule"] == classifier.threshold.rule
    assert values["calibration"] == predictions.calibration
    assert [float(row["PNEUMONIA"]) for row in rows] == predictions.probabilities[:, 1].tolist()
    assert [image["id"] for image in values["images"]] == list(predictions.ids)


def test_classes_that_are_called_like_a_column_have_columns_of_their_own(tmp_path: Path) -> None:
    predictions = ImagePredictions(
        ids=("a.png", "b.png"),
        probabilities=np.array([[0.75, 0.25], [0.125, 0.875]]),
        class_names=("predicted", "positive"),
        positive_index=1,
        threshold=OperatingPoint(0.5, "default"),
        skipped={"c.png": "broken"},
    )
    predictions.to_csv(tmp_path / "table.csv")

    assert (tmp_path / "table.csv").read_text().splitlines() == [
        "id,predicted,positive,p_predicted,p_positive,unreadable",
        "a.png,predicted,positive,0.75,0.25,",
        "b.png,positive,positive,0.125,0.875,",
        "c.png,,,,,broken",
    ]


def test_an_existing_file_is_kept_unless_it_is_to_be_replaced(
    classifier: Classifier, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text("mine")

    with pytest.raises(FileExistsError, match="--overwrite"):
        predict(classifier, images, tmp_path)
    assert (tmp_path / "table.csv").read_text() == "mine"
    predict(classifier, images, tmp_path, overwrite=True)
    assert (tmp_path / "table.csv").read_text() != "mine"


def test_results_in_the_source_folder_are_not_predicted_the_next_time(
    classifier: Classifier, images: Path
) -> None:
    options = {"json_out": images / "p.json", "html_out": images / "p.html", "overwrite": True}
    first = predict(classifier, images, images, **options)

    again = predict(classifier, images, images, **options)

    assert again.ids == first.ids
    with pytest.raises(FileNotFoundError, match="got results only"):
        predict(classifier, images / "p.json", images, **options)


def test_one_file_for_two_results_is_refused(
    classifier: Classifier, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="different files"):
        predict(classifier, images, tmp_path, json_out=tmp_path / "table.csv")


def test_an_interrupted_call_goes_on_and_gives_the_same_bytes(
    classifier: Classifier, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    names = {"json_out": "p.json", "html_out": "p.html", "heatmaps": "maps"}
    predict(classifier, images, whole, **{key: whole / name for key, name in names.items()})
    options = {key: parts / name for key, name in names.items()}
    calls = []
    compute = module.predict_chunk

    def interrupted(*arguments: object, **others: object) -> object:
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(*arguments, **others)

    monkeypatch.setattr(module, "predict_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(classifier, images, parts, **options)
    assert not (parts / "table.csv").exists()
    predict(classifier, images, parts, **options)

    assert len(calls) == 6  # two chunks were kept, and the other three of five computed
    for path in whole.rglob("*.*"):
        assert (parts / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert {path.name for path in parts.iterdir()} == {path.name for path in whole.iterdir()}


def test_a_line_cut_off_by_one_interruption_costs_nothing_at_the_next(
    classifier: Classifier, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    compute, starts = module.predict_chunk, []

    def interrupted(_: object, sources: list[ImageSource], **options: object) -> object:
        starts.append(sources[0].name)
        if len(starts) in (2, 4):
            raise KeyboardInterrupt
        return compute(classifier, sources, **options)

    monkeypatch.setattr(module, "predict_chunk", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            predict(classifier, images, tmp_path)
        with (tmp_path / ".table.csv.partial").open("ab") as file:
            file.write(b'{"ids": ["NORMAL/IM')
    predictions = predict(classifier, images, tmp_path)

    names = [source.name for source in module.list_sources(images)]
    assert starts == [*names[:20:10], *names[10:30:10], *names[20::10]]
    assert predictions.ids == tuple(names)


def test_an_unreadable_image_of_a_later_chunk_leaves_no_overlay_of_an_earlier_one(
    classifier: Classifier, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    last = max((images / "PNEUMONIA").iterdir())
    last.write_bytes(b"no image")

    with pytest.raises(UnreadableImagesError, match=last.name):
        predict(classifier, images, tmp_path, heatmaps=tmp_path / "maps")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]


def test_tables_are_replaced_only_by_complete_ones(
    classifier: Classifier, images: Path, tmp_path: Path
) -> None:
    predictions = predict(classifier, images, tmp_path)
    before = (tmp_path / "table.csv").read_bytes()
    unwritable = "\ud800"  # no encoding has it
    ids = (*predictions.ids[:-1], unwritable)

    with pytest.raises(UnicodeEncodeError):
        replace(predictions, ids=ids).to_csv(tmp_path / "table.csv")

    assert (tmp_path / "table.csv").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "table.csv"]


def test_a_changed_image_is_not_taken_from_the_interrupted_call(
    classifier: Classifier, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    compute = module.predict_chunk

    def interrupted(part: Classifier, sources: list[ImageSource], **options: object) -> object:
        if any("virus" in source.name for source in sources):
            raise KeyboardInterrupt
        return compute(part, sources, **options)

    with monkeypatch.context() as context:
        context.setattr(module, "predict_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(classifier, images, tmp_path)
    first, *_, last = sorted((images / "NORMAL").iterdir())
    first.write_bytes(last.read_bytes())

    resumed = predict(classifier, images, tmp_path)

    expected = classifier.predict(images)
    np.testing.assert_allclose(resumed.probabilities, expected.probabilities, atol=1e-5)


def test_other_prediction_sets_are_not_taken_from_the_interrupted_call(
    classifier: Classifier, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    compute, calls = module.predict_chunk, []

    def interrupted(*arguments: object, **options: object) -> object:
        calls.append(0)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return compute(*arguments, **options)

    monkeypatch.setattr(module, "predict_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(classifier, images, tmp_path, coverage=0.5)
    widest = [ConformalScores(part.scores + 1, part.weights) for part in classifier.conformal]
    changed = replace(classifier, conformal=tuple(widest))

    assert predict(changed, images, tmp_path, coverage=0.5).sets.all()
    assert not classifier.predict(images, coverage=0.5).sets[:30].all()


@pytest.mark.usefixtures("images")
def test_heatmaps_inside_a_source_below_the_home_folder_are_refused(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(ValueError, match="outside the source folder"):
        predict_files(classifier, "~/images", out="~/table.csv", heatmaps="~/images/maps")


def test_the_contact_sheet_shows_every_image_with_its_class_and_escapes_names(
    classifier: Classifier, images: Path, tmp_path: Path
) -> None:
    first = min((images / "NORMAL").iterdir())
    first.rename(first.with_name("<b>&.png"))

    predictions = predict(classifier, images, tmp_path, html_out=tmp_path / "p.html")

    page = (tmp_path / "p.html").read_text("utf-8")
    assert page.count("<figure") == len(predictions)
    assert "NORMAL/&lt;b&gt;&amp;.png" in page
    assert "<b>" not in page
    assert "http" not in page
    assert f"{predictions.probabilities[0].max():.3f}" in page or predictions.sets is not None
