import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cxrtransfer.data import acquisition_groups, balanced_weights, read_folder
from cxrtransfer.errors import RunFolderError, UnknownModelError, UnreadableImagesError
from cxrtransfer.models import get_head, input_spec
from cxrtransfer.study import (
    RunConfig,
    SplitSummary,
    load_run,
    load_study,
    reference,
    run_experiment,
    run_study,
)
from cxrtransfer.study.image_files import ImageFiles, read_image_files
from cxrtransfer.study.plan import Datasets, Plan, build_network, plan_run
from cxrtransfer.study.run_folder import RunFolder
from cxrtransfer.study.summary import summarize
from cxrtransfer.training import TrainConfig
from cxrtransfer.types import InputSpec

CONFIG = RunConfig(
    name="plain",
    model="squeezenet1_1",
    pretrained=False,
    image_size=32,
    training=TrainConfig(epochs=2, lr=1e-3, batch_size=8),
)


@pytest.fixture(scope="module")
def tree(draw_tree: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tree(tmp_path_factory.mktemp("images"), train=16, test=6, brighter=True)


@pytest.fixture(scope="module")
def study(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    weighted = replace(CONFIG, name="weighted").with_training(
        class_weights=(100, 1), weight_decay=0.01
    )
    run_study([CONFIG, weighted], tree, out, title="A <title>", note="A note", progress=False)
    return out


def test_a_run_folder_holds_everything(study: Path) -> None:
    assert {path.name for path in (study / "plain").iterdir()} >= {
        "config.json",
        "split.csv",
        "history.csv",
        "model.safetensors",
        "predictions_val.csv",
        "predictions_test.csv",
        "embedding.npz",
        "embedding.html",
        "explanations.npz",
        "heatmaps.npz",
        "manifest.json",
    }


def test_metrics_only_stops_after_the_predictions(study: Path, tree: Path, tmp_path: Path) -> None:
    (run,) = run_study([CONFIG], tree, tmp_path, progress=False, metrics_only=True)

    whole = load_run(study / "plain")
    np.testing.assert_array_equal(run.test.probabilities, whole.test.probabilities)
    assert run.embedding() is None
    assert run.explanations() is None
    assert not run.missing
    assert load_study(tmp_path).runs[0].name == "plain"


def test_the_last_epoch_is_the_tested_one_if_selected(study: Path) -> None:
    whole = load_run(study / "plain").manifest
    history = replace(whole.history, best_epoch=1, select="last")
    run = replace(load_run(study / "plain"), manifest=replace(whole, history=history))

    assert run.tested_epoch == len(history.rows) == 2


def test_the_checkpoint_of_a_complete_run_is_kept_on_request_only(
    study: Path, tree: Path, tmp_path: Path
) -> None:
    run_study([CONFIG], tree, tmp_path, progress=False, keep_checkpoint=True)

    assert (tmp_path / "plain" / "checkpoint.pt").exists()
    assert not (study / "plain" / "checkpoint.pt").exists()
    assert load_run(study / "plain").manifest.files.keys() == (
        load_run(tmp_path / "plain").manifest.files.keys()
    )


def test_the_kept_model_is_the_one_that_was_tested(study: Path, tree: Path) -> None:
    from cxrtransfer import StratifiedResplit, build_finetune_model
    from cxrtransfer.inference import predict
    from cxrtransfer.types import InputSpec

    model = build_finetune_model("squeezenet1_1", pretrained=False)
    model.load_state_dict(load_file(study / "plain" / "model.safetensors"))
    test = StratifiedResplit(tree, "test", input_spec=InputSpec(size=32))

    kept = load_run(study / "plain").test
    np.testing.assert_allclose(predict(model, test).probabilities, kept.probabilities, atol=1e-5)


def test_a_finished_run_is_loaded_and_not_repeated(
    study: Path, tree: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(study / "plain", tmp_path / "plain")

    result = run_experiment(CONFIG, tree, folder, callbacks=[_Fail()])

    assert result.rows == load_run(study / "plain").rows


def test_a_broken_run_goes_on_and_ends_as_if_unbroken(
    study: Path, tree: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_experiment(CONFIG, tree, tmp_path / "run", callbacks=[_Fail(after=1)])
    heard = _Fail(after=9)

    result = run_experiment(CONFIG, tree, tmp_path / "run", callbacks=[heard])

    assert heard.epochs == [2]
    whole = load_run(study / "plain")
    np.testing.assert_array_equal(result.test.probabilities, whole.test.probabilities)
    assert result.tested_epoch == whole.tested_epoch


def test_a_folder_of_another_run_is_refused_by_setting(study: Path, tree: Path) -> None:
    with pytest.raises(RunFolderError, match=r"lr: 0.001 -> 0.5.*choose another folder"):
        run_experiment(CONFIG.with_training(lr=0.5), tree, study / "plain")


def test_a_folder_of_a_run_on_other_images_is_refused(
    study: Path, tree: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(tree, tmp_path / "other")
    (other / "train" / "NORMAL" / "00.png").unlink()

    with pytest.raises(RunFolderError, match="data digest"):
        run_experiment(CONFIG, other, study / "plain")


def test_runs_must_have_names_that_differ(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="different names"):
        run_study([CONFIG, CONFIG], tree, tmp_path, progress=False)


def test_an_unreadable_image_is_named_before_training(tree: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tree, tmp_path / "broken")
    (broken / "train" / "NORMAL" / "03.png").write_bytes(b"no image")

    with pytest.raises(UnreadableImagesError, match=r"03\.png"):
        run_study([CONFIG], broken, tmp_path / "out", progress=False)
    assert not list((tmp_path / "out").glob("**/*.*"))  # so that a study of fixed images can start


def test_a_misspelt_network_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="resnet81"):
        run_study([replace(CONFIG, model="resnet81")], tmp_path / "nowhere", tmp_path)


def test_a_folder_that_held_a_study_of_other_images_tells_of_the_new_ones(
    study: Path, tree: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(study, tmp_path / "out")
    other = shutil.copytree(tree, tmp_path / "other")
    for name in ("00.png", "01.png"):
        (other / "train" / "PNEUMONIA" / name).unlink()
    run_study([replace(CONFIG, name="new").with_training(epochs=1)], other, out, progress=False)

    stored = load_study(out)
    assert stored.audit.result.num_images == 42
    assert len(stored.summary.labels["train"]) < 32 - 2


def test_a_leaking_split_is_logged_and_stored(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leaking = shutil.copytree(tree, tmp_path / "leaking")
    copy = leaking / "test" / "NORMAL" / "00.png"
    copy.write_bytes((leaking / "train" / "NORMAL" / "00.png").read_bytes())
    run_study([CONFIG.with_training(epochs=1)], leaking, tmp_path / "out", progress=False)

    assert "are in more than one split" in caplog.text
    assert load_study(tmp_path / "out").audit.result.leaks


def test_a_skipped_image_is_warned_of_and_stored(tree: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tree, tmp_path / "broken")
    (broken / "test" / "NORMAL" / "03.png").write_bytes(b"no image")
    out = tmp_path / "out"

    for _ in range(2):  # a resumed study knows what it skips
        with pytest.warns(
            UserWarning, match=r"1 unreadable image\(s\) are skipped: test/NORMAL/03.png"
        ):
            (result,) = run_study([CONFIG], broken, out, progress=False, on_error="skip")

    assert len(result.test.ids) == 11
    assert list(load_study(out).audit.skipped) == ["test/NORMAL/03.png"]


def test_only_train_is_augmented_and_upsampled(tree: Path, tmp_path: Path) -> None:
    unequal = shutil.copytree(tree, tmp_path / "unequal")
    for index in range(6):
        (unequal / "train" / "NORMAL" / f"{index:02d}.png").unlink()
    config = replace(CONFIG, augment="light", upsample=True)
    plan = _plan(config, unequal, tmp_path)
    splits = Datasets(None).prepare(plan, InputSpec(size=32))

    images = {split: np.bincount(data.labels).tolist() for split, data in splits.items()}
    larger = 16 - images["val"][1]
    assert images["train"] == [larger, larger]
    assert sum(images["val"]) < larger
    assert images["test"] == [6, 6]
    assert not torch.equal(splits["train"][0][0], splits["train"][0][0])
    for split in ("val", "test"):
        assert torch.equal(splits[split][0][0], splits[split][0][0])


def test_the_summary_counts_each_image_once_although_it_is_upsampled(
    tree: Path, tmp_path: Path
) -> None:
    unequal = shutil.copytree(tree, tmp_path / "unequal")
    for index in range(2, 16):
        (unequal / "train" / "NORMAL" / f"{index:02d}.png").unlink()
    config = replace(CONFIG, upsample=True, val_fraction=0.0)
    for name in ("NORMAL", "PNEUMONIA"):
        shutil.copytree(tree / "test" / name, unequal / "val" / name)
    summary = summarize(
        Datasets(None).prepare(_plan(config, unequal, tmp_path), InputSpec(size=32))
    )

    assert np.bincount(summary.labels["train"]).tolist() == [2, 16]
    assert len(summary.intensity) == len(summary.intensity_labels) == 18 + 12 + 12
    assert summary.sample_labels.tolist() == [0, 0, 1, 1, 1, 1]
    first, second = (np.asarray(Image.open(unequal / f"train/NORMAL/0{i}.png")) for i in (0, 1))
    drawn = {image.tobytes() for image in summary.samples[:2]}
    assert drawn == {first.tobytes(), second.tobytes()}


def test_the_training_images_are_described_on_the_device_of_the_network(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = Datasets(None).prepare(_plan(CONFIG, tree, tmp_path), InputSpec(size=32))
    model, extract, devices = build_network(CONFIG, 2), reference.extract_features, []

    def noted(*arguments: object, device: torch.device, **options: object) -> np.ndarray:
        devices.append(device)
        return extract(*arguments, device=device, **options)

    monkeypatch.setattr(reference, "extract_features", noted)
    reference.fit_reference(model, splits["train"], splits["val"], input_spec(model))

    assert devices == [torch.device("cpu")] * 2


def test_only_train_is_balanced_by_acquisition(tree: Path, tmp_path: Path) -> None:
    config = replace(CONFIG.with_training(class_weights=None), balance="acquisition")
    splits = Datasets(None).prepare(_plan(config, tree, tmp_path), InputSpec(size=32))

    train = splits["train"]
    images = [train.image(index) for index in range(len(train))]
    expected = balanced_weights(acquisition_groups(images, train.labels))
    np.testing.assert_array_equal(train.sampling_weights, expected)
    assert splits["val"].sampling_weights is splits["test"].sampling_weights is None
    assert train.groups is None


def test_only_train_has_groups_for_group_dro(tree: Path, tmp_path: Path) -> None:
    datasets = Datasets(None)
    plain = CONFIG.with_training(class_weights=None)
    datasets.prepare(_plan(plain, tree, tmp_path / "plain"), InputSpec(size=32))
    config = plain.with_training(group_dro=0.01)
    splits = datasets.prepare(_plan(config, tree, tmp_path / "robust"), InputSpec(size=32))

    train = splits["train"]
    images = [train.image(index) for index in range(len(train))]
    np.testing.assert_array_equal(train.groups, acquisition_groups(images, train.labels))
    assert splits["val"].groups is splits["test"].groups is train.sampling_weights is None
    result = run_experiment(config, tree, tmp_path / "run", metrics_only=True)
    assert load_run(result.folder.path).config.training.group_dro == 0.01


def _plan(config: RunConfig, tree: Path, tmp_path: Path) -> Plan:
    records = read_folder(tree)
    images = read_image_files(records, ImageFiles({}))
    return plan_run(config, records, RunFolder(tmp_path / "run"), images)


def test_the_global_generators_are_left_alone(tree: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)

    run_experiment(CONFIG, tree, tmp_path / "run")

    assert torch.equal(torch.rand(1), expected)


def test_a_study_stores_its_split_and_its_audit(study: Path) -> None:
    stored = load_study(study)

    assert (stored.title, stored.note) == ("A <title>", "A note")
    assert stored.split == SplitSummary(
        val_fraction=0.1, group_by="patient_id", patients_known=False
    )
    assert stored.audit.result.num_images == 44
    assert [run.name for run in stored.runs] == ["plain", "weighted"]


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="must hold a finished study"):
        load_study(tmp_path)


class _Fail:
    """Interrupts training at the end of an epoch; hears which epochs were run."""

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self.epochs: list[int] = []

    def on_epoch_end(self, row: Mapping[str, float]) -> None:
        self.epochs.append(int(row["epoch"]))
        if row["epoch"] >= self.after:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_the_last_layer_is_refit_after_training(tree: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, augment="light", model="timm:resnet10t").with_training(epochs=1)
    plain = run_experiment(config, tree, tmp_path / "plain", metrics_only=True)
    refit = run_experiment(
        replace(config, retrain_last_layer=True), tree, tmp_path / "refit", metrics_only=True
    )

    assert (
        plain.manifest.history.rows[-1]["val_loss"] == refit.manifest.history.rows[-1]["val_loss"]
    )
    before, after = (load_file(run.folder.path / "model.safetensors") for run in (plain, refit))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fc.weight", "fc.bias"}
    with pytest.raises(ValueError, match="fully connected last layer, got squeezenet1_1"):
        run_experiment(
            replace(CONFIG, model="squeezenet1_1", retrain_last_layer=True), tree, tmp_path / "c"
        )


@pytest.mark.parametrize("model", ["squeezenet1_1", "timm:resnet10t"])
def test_a_head_of_zeros_is_the_only_difference_and_has_no_opinion(model: str) -> None:
    config = replace(CONFIG, model=model)
    random, zero = (build_network(replace(config, zero_head=flag), 2) for flag in (False, True))

    name, head = get_head(zero)
    assert all((parameter == 0).all() for parameter in head.parameters())
    for key, value in zero.state_dict().items():
        if not key.startswith(f"{name}."):
            torch.testing.assert_close(value, random.state_dict()[key], rtol=0, atol=0)
    with torch.no_grad():
        assert (zero.eval()(torch.rand(2, 3, 32, 32)) == 0).all()
