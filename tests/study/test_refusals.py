"""A refused call leaves every file as it was."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cxrtransfer.data import read_folder
from cxrtransfer.deploy import Classifier, predict_files
from cxrtransfer.errors import RunFolderError, UnreadableImagesError, WeightsNotFoundError
from cxrtransfer.files import file_digest
from cxrtransfer.study import (
    RunConfig,
    cross_validate,
    external_test,
    run_experiment,
    run_study,
)

pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")

Draw = Callable[..., Path]


@pytest.fixture
def study(kermany_study: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kermany_study, tmp_path / "study")


@pytest.fixture
def tree(kermany_tree: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kermany_tree, tmp_path / "tree")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_unchanged(
    folder: Path, error: type[Exception], match: str, call: Callable[[], object]
) -> None:
    before = digests(folder)
    with pytest.raises(error, match=match):
        call()
    assert digests(folder) == before


def test_other_settings(study: Path, tree: Path, tiny: RunConfig) -> None:
    other = tiny.with_training(lr=0.5)

    assert_unchanged(
        study, RunFolderError, r"lr: 0.001 -> 0.5", lambda: run_study([other], tree, study)
    )
    assert_unchanged(
        study, RunFolderError, "lr", lambda: run_experiment(other, tree, study / "plain")
    )


def test_one_run_of_two_has_other_settings(study: Path, tree: Path, tiny: RunConfig) -> None:
    configs = [replace(tiny, name="new"), tiny.with_training(lr=0.5)]

    assert_unchanged(study, RunFolderError, "lr", lambda: run_study(configs, tree, study))


def test_other_images(study: Path, tree: Path, tiny: RunConfig) -> None:
    next((tree / "train" / "NORMAL").iterdir()).unlink()

    assert_unchanged(study, RunFolderError, "data digest", lambda: run_study([tiny], tree, study))


def test_an_unreadable_image(study: Path, tree: Path, tiny: RunConfig) -> None:
    (tree / "train" / "NORMAL" / "IM-9000-0000.png").write_bytes(b"no image")
    config = replace(tiny, name="new")

    assert_unchanged(
        study, UnreadableImagesError, "IM-9000", lambda: run_study([config], tree, study)
    )
    assert_unchanged(
        study, UnreadableImagesError, "IM-9000", lambda: cross_validate(config, tree, study)
    )


def test_wrong_class_weights_are_refused_before_any_image_is_read(
    study: Path, tree: Path, tiny: RunConfig
) -> None:
    config = replace(tiny, name="new").with_training(class_weights=(1.0, 2.0, 3.0))
    for path in tree.rglob("*.png"):
        path.write_bytes(b"no image")

    for call in (run_study, cross_validate, run_experiment):
        source = [config] if call is run_study else config
        assert_unchanged(
            study, ValueError, "one number per class", lambda c=call, s=source: c(s, tree, study)
        )


def test_missing_weights_are_refused_before_any_image_is_read(
    study: Path, tree: Path, tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("CXRTRANSFER_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "weights"))
    config = replace(tiny, name="new", model="resnet18", pretrained=True)
    for path in tree.rglob("*.png"):
        path.write_bytes(b"no image")

    assert_unchanged(
        study, WeightsNotFoundError, "resnet18", lambda: run_study([config], tree, study)
    )


def test_an_unknown_positive_class(study: Path, tree: Path, tiny: RunConfig) -> None:
    config = replace(tiny, name="new", positive="TB")

    assert_unchanged(
        study, ValueError, "positive must be one of", lambda: run_study([config], tree, study)
    )


def test_too_many_folds(study: Path, tree: Path, tiny: RunConfig) -> None:
    assert_unchanged(
        study, ValueError, "at least 40", lambda: cross_validate(tiny, tree, study, num_folds=40)
    )


def test_folds_of_other_settings(tree: Path, tiny: RunConfig, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    cross_validate(tiny, tree, out, num_folds=2)

    assert_unchanged(
        out,
        RunFolderError,
        "lr",
        lambda: cross_validate(tiny.with_training(lr=0.5), tree, out, num_folds=2),
    )


def test_an_external_test(study: Path, tree: Path, tmp_path: Path) -> None:
    run = study / "plain"
    other = tmp_path / "other"
    for name in ("COVID", "NORMAL"):
        (other / name).mkdir(parents=True)
        Image.new("L", (32, 32)).save(other / name / "a.png")
    external_test(run, tree / "test", site="site")
    (tree / "test" / "NORMAL" / "IM-9000-0000.png").write_bytes(b"no image")

    for error, match, source, site in (
        (ValueError, "classes of the run", other, "site"),
        (ValueError, "site must be", tree / "test", "a/b"),
        (UnreadableImagesError, "IM-9000", tree / "test", "site"),
        (FileNotFoundError, "nowhere", tmp_path / "nowhere", "site"),
    ):
        assert_unchanged(
            study, error, match, lambda s=source, n=site: external_test(run, s, site=n)
        )


def test_predictions(study: Path, tree: Path, tmp_path: Path) -> None:
    (tree / "test" / "NORMAL" / "IM-9000-0000.png").write_bytes(b"no image")
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "old.png").write_bytes(b"old")

    assert_unchanged(
        tmp_path,
        UnreadableImagesError,
        "IM-9000",
        lambda: predict_files(
            Classifier.from_run(study / "plain", card=False),
            tree / "test",
            out=maps / "p.csv",
            heatmaps=maps,
        ),
    )


def test_a_study_instead_of_a_run_lists_its_runs(study: Path, tree: Path) -> None:
    assert_unchanged(
        study, RunFolderError, "holds a study.*plain.*weighted", lambda: external_test(study, tree)
    )


def test_records_from_memory_are_checked_too(study: Path, tree: Path, tiny: RunConfig) -> None:
    records = read_folder(tree)
    records = records.take(range(1, len(records)))

    assert_unchanged(
        study, RunFolderError, "data digest", lambda: run_study([tiny], records, study)
    )


def test_a_split_without_images(study: Path, tree: Path, tiny: RunConfig) -> None:
    config = replace(tiny, name="new", val_fraction=0.0)

    assert_unchanged(
        study,
        ValueError,
        "each split must have at least one image, got none in val",
        lambda: run_study([config], tree, study),
    )
