"""Several runs as one classifier, from Python and from the command line."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrtransfer.cli import main
from cxrtransfer.deploy import Classifier, load_classifier
from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.evaluation import average, count_test_openings, fit_platt
from cxrtransfer.files import read_json
from cxrtransfer.inference import small_views
from cxrtransfer.report.sections.external import external_section
from cxrtransfer.study import load_ensemble, load_run, load_study

pytestmark = pytest.mark.filterwarnings("ignore:.*heatmaps are empty:UserWarning")


@pytest.fixture
def runs(kermany_study: Path) -> list[Path]:
    return [kermany_study / "plain", kermany_study / "weighted"]


def test_it_predicts_the_mean_and_decides_by_the_mean_of_validation(
    runs: list[Path], kermany_tree: Path
) -> None:
    raw = Classifier.from_runs(runs, threshold=0.5, calibration="none")
    found = raw.predict(kermany_tree / "test")
    expected = average([load_run(run).test for run in runs])
    place = {name.removeprefix("test/"): row for row, name in enumerate(expected.ids)}
    rows = [place[name] for name in found.ids]
    np.testing.assert_allclose(found.probabilities, expected.probabilities[rows], atol=0.01)

    whole = Classifier.from_runs(runs)
    assert whole.calibration == fit_platt(average([load_run(run).val for run in runs]))
    assert whole.conformal
    assert "plain + weighted" in whole.card


def test_its_heatmap_is_the_mean_of_theirs(runs: list[Path], kermany_tree: Path) -> None:
    files = sorted((kermany_tree / "test").rglob("*.png"))[:3]
    rule: dict[str, Any] = {"threshold": 1.0, "calibration": "none"}  # all predict class 0
    joint = Classifier.from_runs(runs, **rule)
    expected = np.mean([Classifier.from_run(run, **rule).explain(files) for run in runs], axis=0)
    assert expected.max() > 0
    np.testing.assert_allclose(joint.explain(files), expected, atol=1e-5)


def test_it_has_no_features_of_its_own(runs: list[Path], kermany_tree: Path) -> None:
    files = sorted((kermany_tree / "test").rglob("*.png"))[:3]
    with pytest.raises(ValueError, match="got an ensemble"):
        Classifier.from_runs(runs).embed(files)
    with pytest.raises(ValueError, match="got an ensemble"):
        Classifier.from_runs(runs[:1], views=small_views(), source=kermany_tree).embed(files)


def test_views_are_used_on_validation_too(runs: list[Path], kermany_tree: Path) -> None:
    plain = load_ensemble(runs).predict("val")
    viewed = load_ensemble(runs, small_views(), kermany_tree).predict("val")
    assert viewed.ids == plain.ids
    assert viewed.positive_index == plain.positive_index
    assert 1e-5 < np.abs(viewed.probabilities - plain.probabilities).max() < 0.2


def test_views_need_the_validation_images(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"views need source.*--source"):
        load_ensemble(runs, small_views())
    with pytest.raises(UnreadableImagesError, match="12 image"):
        load_ensemble(runs, small_views(), tmp_path).predict("val")


def test_runs_of_other_splits_and_saved_classifiers_are_refused(
    runs: list[Path], saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="need folders of runs"):
        load_classifier(runs[0], others=[saved])
    with pytest.raises(ValueError, match="need folders of runs"):
        load_classifier(saved, views=small_views())
    first, second = (load_run(run) for run in runs)
    object.__setattr__(second, "val", second.val.take(range(3)))
    with pytest.raises(ValueError, match="same split: val of plain, weighted"):
        load_ensemble([first, second])
    with pytest.raises(ValueError, match="can be used but not saved"):
        Classifier.from_runs(runs).save_pretrained(tmp_path / "saved")


def test_the_command_line_joins_runs(
    kermany_study: Path, kermany_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = shutil.copytree(kermany_study, tmp_path / "study")
    run, other, images = str(study / "plain"), str(study / "weighted"), kermany_tree / "test"
    source = ["--source", str(kermany_tree)]
    words = ["--with", other, "--views", "mirrored", *source]
    table = tmp_path / "p.csv"
    assert main(["predict", run, str(images), "--out", str(table), *words]) == 0
    assert table.read_text("utf-8").count("\n") == 49
    one = str(min(images.rglob("*.png")))
    assert main(["explain", run, one, "--out", str(tmp_path / "maps"), "--with", other]) == 0
    assert sum(1 for _ in (tmp_path / "maps").rglob("*.png")) == 1
    assert main(["predict", run, one, "--with", str(study), "--out", str(tmp_path / "q.csv")]) == 1

    away = shutil.copytree(images, tmp_path / "away")
    openings = study / "plain" / "test-openings.csv"
    test = load_run(run).test
    before = count_test_openings(openings, test.ids)
    capsys.readouterr()
    assert main(["external-test", run, str(away), "--with", other]) == 0
    assert count_test_openings(openings, test.ids) == before
    words = ["--with", other, "--views", "small", *source]
    assert main(["external-test", run, str(away), *words]) == 0
    assert count_test_openings(openings, test.ids) == before + 1
    assert main(["external-test", run, str(away)]) == 0

    printed = capsys.readouterr().out
    for name in ("plain + weighted on away", "plain + weighted, 7 views on away", "plain on away"):
        assert name in printed
    found = load_study(study)
    assert len(found.external_tests) == 3  # one does not replace another
    internal = {test.run: test.internal["auroc"].value for test in found.external_tests}
    joint = average([run.test for run in found.runs])
    assert internal["plain + weighted"] == pytest.approx(found.evaluate(joint)["auroc"].value)
    stored = read_json(study / "plain" / "external" / "away (plain + weighted)" / "external.json")
    assert stored["run"] == "plain + weighted"
    assert any("plain + weighted on away" in point for point in external_section(found).points)
