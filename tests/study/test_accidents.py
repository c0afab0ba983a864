"""Damaged files, replaced images, killed processes and test sets too small for an analysis."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrtransfer.data import read_folder
from cxrtransfer.deploy import Classifier
from cxrtransfer.errors import RunFolderError, UnreadableImagesError
from cxrtransfer.files import file_digest
from cxrtransfer.study import (
    RunConfig,
    external_test,
    load_network,
    load_run,
    load_study,
    run_experiment,
    run_study,
)
from cxrtransfer.study.image_files import ImageFiles, read_image_files
from cxrtransfer.study.plan import Datasets, Plan, plan_run
from cxrtransfer.study.run import perform
from cxrtransfer.study.run_folder import RunFolder
from cxrtransfer.study.run_result import positive_class
from cxrtransfer.study.scheduling import StudyBar, run_all

pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")

Draw = Callable[..., Path]

RUN_FILES = (
    "config.json", "embedding.html", "embedding.npz", "explanations.npz", "features.npz",
    "heatmaps.npz", "history.csv", "history.json", "layers.npz", "model.safetensors",
    "predictions_test.csv", "predictions_val.csv", "profile.npz", "randomization.npz",
    "reference.npz", "split.csv", "stress.npz",
)  # fmt: skip


@pytest.fixture
def run(kermany_study: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kermany_study / "plain", tmp_path / "plain")


@pytest.fixture
def tree(kermany_tree: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kermany_tree, tmp_path / "tree")


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [flip_bit, truncate, remove])
@pytest.mark.parametrize("name", RUN_FILES)
def test_a_damaged_file_is_named_and_its_run_is_not_loaded(
    run: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(run / name)

    with pytest.raises(RunFolderError, match=f"damaged: {name} missing or changed"):
        load_run(run)


@pytest.mark.parametrize("damage", [flip_bit, truncate])
def test_a_damaged_manifest_is_refused(run: Path, damage: Callable[[Path], None]) -> None:
    damage(run / "manifest.json")

    with pytest.raises(RunFolderError, match=r"manifest\.json is damaged"):
        load_run(run)


def test_no_file_of_a_run_is_without_a_digest(run: Path) -> None:
    names = {path.name for path in run.iterdir() if path.is_file()}

    assert names - {"manifest.json", ".lock", "test-openings.csv"} == set(RUN_FILES)
    assert set(load_run(run).manifest.files) == set(RUN_FILES)


def _without_times(digests: Mapping[str, str]) -> dict[str, str]:
    """Leave out the history, which has the seconds of each epoch."""
    return {name: digest for name, digest in digests.items() if not name.startswith("history")}


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json", "predictions_test.csv"])
def test_a_damaged_run_is_repeated_by_the_same_call(
    run: Path, tree: Path, tiny: RunConfig, name: str
) -> None:
    expected = load_run(run)
    flip_bit(run / name)

    repeated = run_experiment(tiny, tree, run)

    np.testing.assert_array_equal(repeated.test.probabilities, expected.test.probabilities)
    assert _without_times(repeated.manifest.files) == _without_times(expected.manifest.files)


@pytest.mark.parametrize("name", ["study.json", "audit.json", "summary.npz"])
@pytest.mark.parametrize("damage", [flip_bit, truncate, remove])
def test_a_damaged_study_is_refused_and_repaired_by_the_same_call(
    kermany_study: Path,
    tree: Path,
    tiny: RunConfig,
    tmp_path: Path,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    study = shutil.copytree(kermany_study, tmp_path / "study")
    damage(study / name)
    with pytest.raises(RunFolderError, match=r"damaged|must hold"):
        load_study(study)

    run_study([tiny], tree, study, progress=False)

    assert load_study(study).chosen.name == "plain"


def test_a_damaged_external_test_is_refused(run: Path, tree: Path) -> None:
    external_test(run, tree / "test", site="site")
    flip_bit(run / "external" / "site" / "predictions.csv")

    with pytest.raises(RunFolderError, match=r"predictions\.csv missing or changed"):
        load_run(run).folder.external("site").read()


def test_replaced_pixels_are_noticed(run: Path, tree: Path, tiny: RunConfig) -> None:
    path = tree / "train" / "NORMAL" / "IM-1000-0000.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)

    with pytest.raises(RunFolderError, match="content of the images"):
        run_experiment(tiny, tree, run)


def test_a_training_image_copied_into_test_is_noticed(
    kermany_study: Path, tree: Path, tiny: RunConfig, tmp_path: Path
) -> None:
    study = shutil.copytree(kermany_study, tmp_path / "study")
    leaked = tree / "train" / "NORMAL" / "IM-1000-0000.png"
    shutil.copy(leaked, tree / "test" / "NORMAL" / "IM-2000-0000.png")

    with pytest.raises(RunFolderError, match="content of the images"):
        run_study([tiny], tree, study, progress=False)
    run_study([replace(tiny, name="new")], tree, study, progress=False)

    assert load_study(study).audit.result.leaks


def test_only_files_of_another_size_or_time_are_read_again(tree: Path) -> None:
    records = read_folder(tree)
    first, *others = records.ids
    known = read_image_files(records, ImageFiles({}))
    marked = ImageFiles({name: (*known.states[name][:2], "known") for name in others})

    again = read_image_files(records, marked)

    assert again.states[first] == known.states[first]
    assert {again.states[name][2] for name in others} == {"known"}
    os.utime(records[1].path)
    assert read_image_files(records, marked).states[others[0]][2] == known.states[others[0]][2]


SMALL_TESTS = {
    "one image": [("NORMAL", 1)],
    "two images": [("NORMAL", 1), ("PNEUMONIA", 1)],
    "four images": [("NORMAL", 2), ("PNEUMONIA", 2)],
    "one class": [("PNEUMONIA", 12)],
    "one patient": [("NORMAL", 2)],
}


@pytest.mark.parametrize("kind", SMALL_TESTS)
def test_a_training_is_complete_however_small_its_test_split(
    tree: Path, tiny: RunConfig, tmp_path: Path, kind: str
) -> None:
    records = read_folder(tree)
    wanted = dict(SMALL_TESTS[kind])
    left = {name: wanted.get(name, 0) for name in records.class_names}
    kept = []
    for index, row in enumerate(records):
        if row.split == "test":
            left[records.class_names[row.label]] -= 1
            if left[records.class_names[row.label]] < 0:
                continue
        kept.append(index)

    result = run_experiment(tiny, records.take(kept), tmp_path / "run")

    assert len(result.test) == sum(wanted.values())
    assert (result.features() is None) == ("features" in result.missing)
    for name in ("embedding", "examples", "explanations", "randomization", "profile"):
        assert (getattr(result, name)() is None) == (name in result.missing)
    assert ("embedding" in result.missing) == (len(result.test) < 5)


def test_black_test_images_leave_the_training(tree: Path, tiny: RunConfig, tmp_path: Path) -> None:
    for path in (tree / "test").rglob("*.png"):
        Image.new("L", (32, 32)).save(path)

    result = run_experiment(tiny, tree, tmp_path / "run")

    assert "embedding" in result.missing
    assert len(result.test) == 48
    assert Classifier.from_run(tmp_path / "run", card=False).predict(tree / "test").ids


def test_unfinished_files_of_a_killed_process_are_removed(
    kermany_study: Path, tree: Path, tiny: RunConfig, tmp_path: Path
) -> None:
    study = shutil.copytree(kermany_study, tmp_path / "study")
    (study / "plain" / "manifest.json").unlink()
    unfinished = [
        study / ".report.html.ab12_xyz",
        study / "plain" / ".model.safetensors.0a1b2c3d",
        study / "plain" / ".checkpoint.pt.0a1b2c3d",
    ]
    own = [study / ".notes.txt.mine", study / "plain" / ".settings"]
    for path in (*unfinished, *own):
        path.write_bytes(b"x")

    run_study([tiny], tree, study, progress=False)

    assert not any(path.exists() for path in unfinished)
    assert all(path.exists() for path in own)


def test_the_unfinished_file_of_killed_predictions_is_removed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make = [], tempfile.mkstemp

    def noted(*arguments: object, **options: object) -> tuple[int, str]:
        descriptor, name = make(*arguments, **options)
        made.append(Path(name))
        return descriptor, name

    monkeypatch.setattr(tempfile, "mkstemp", noted)
    folder = RunFolder(tmp_path / "other")
    folder.write_predictions("val", load_run(run).val)
    for path in made:  # as a process that was killed leaves them
        path.touch()
    folder.remove_temporary()

    assert [path.name for path in folder.path.iterdir()] == ["predictions_val.csv"]


def test_two_runs_write_the_same_bytes(
    run: Path, tree: Path, tiny: RunConfig, tmp_path: Path
) -> None:
    run_experiment(tiny, tree, tmp_path / "again" / "plain")

    for name in RUN_FILES:
        if not name.startswith("history"):  # which has times
            assert file_digest(run / name) == file_digest(tmp_path / "again" / "plain" / name)


def test_a_resumed_run_has_its_history(tree: Path, tiny: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_experiment(tiny, tree, run, keep_checkpoint=True)
    expected = (run / "history.json").read_bytes()
    for name in ("history.csv", "history.json", "manifest.json"):
        (run / name).unlink()  # as if killed after the last checkpoint

    run_experiment(tiny, tree, run)

    assert (run / "history.json").read_bytes() == expected


def test_an_image_damaged_after_the_check_can_be_restored_and_the_run_resumed(
    tree: Path, tiny: RunConfig, tmp_path: Path
) -> None:
    records, folder = read_folder(tree), RunFolder(tmp_path / "run")
    plan = plan_run(tiny, records, folder, read_image_files(records, ImageFiles({})))
    plan.claim()
    path = records[0].path
    content = path.read_bytes()
    path.write_bytes(content[:40])

    def perform_here(plan: Plan) -> object:
        return perform(plan, Datasets(None), device="cpu", callbacks=())

    bar = StudyBar([plan], shown=False)
    with pytest.raises(UnreadableImagesError, match=r"restore them and call again.*\n.*truncated"):
        run_all([plan], bar, here=perform_here, there=perform_here, n_jobs=1)
    path.write_bytes(content)

    assert run_all([plan], bar, here=perform_here, there=perform_here, n_jobs=1) == {}
    assert load_run(folder.path).missing == {}


@pytest.mark.slow
def test_a_repaired_image_is_used_in_a_new_folder_and_not_mixed_into_an_old_one(
    tree: Path, tiny: RunConfig, tmp_path: Path
) -> None:
    path = next((tree / "test" / "NORMAL").iterdir())
    content = path.read_bytes()
    path.write_bytes(content[:40])
    with pytest.warns(UserWarning, match="1 unreadable"):
        run_study([tiny], tree, tmp_path / "old", progress=False, on_error="skip")
    path.write_bytes(content)

    with pytest.raises(RunFolderError, match=r"data digest.*choose another folder"):
        run_study([tiny], tree, tmp_path / "old", progress=False, on_error="skip")
    (run,) = run_study([tiny], tree, tmp_path / "new", progress=False, on_error="skip")

    assert f"test/NORMAL/{path.name}" in run.test.ids


def test_weights_of_a_run_that_are_not_finite_are_refused(run: Path) -> None:
    folder = RunFolder(run)
    network = load_network(load_run(run))
    next(network.parameters()).data[0] = torch.nan
    folder.write_weights(network)

    with pytest.raises(RunFolderError, match=r"finite weights, got infinite or NaN values in 1 "):
        folder.read_weights(network)


@pytest.mark.parametrize(
    ("names", "is_doubtful"),
    [
        (("NORMAL", "PNEUMONIA"), False),
        (("normal", "pneumonia"), False),
        (("NORMAL", "COVID"), True),
        (("COVID", "gesund"), True),
        (("PNEUMONIA", "normal"), True),
        (("COVID", "Normal", "Viral Pneumonia"), True),
    ],
)
def test_a_positive_class_that_nobody_named_is_doubtful(
    names: tuple[str, ...], is_doubtful: bool, tiny: RunConfig
) -> None:
    assert positive_class(tiny, names).is_doubtful is is_doubtful
    assert not positive_class(replace(tiny, positive=names[1]), names).is_doubtful
