from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.data import StratifiedResplit, lesion_masks, read_folder
from cxrtransfer.explain import GradCAM
from cxrtransfer.models import input_spec
from cxrtransfer.study import RunResult, load_network, run_synthetic_study, synthetic
from cxrtransfer.study.synthetic import synthetic_grid

pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")


def count_hits(run: RunResult, folder: Path) -> tuple[int, int]:
    """Count the true positives with the peak in the lesion, one by one, and all."""
    model = load_network(run)
    test = StratifiedResplit(
        read_folder(folder), "test", val_fraction=0.0, input_spec=input_spec(model)
    )
    masks = lesion_masks(test.records)
    hits = number = 0
    for index in range(len(test)):
        if run.test.labels[index] == 1 == run.test.predicted[index]:
            with GradCAM(model) as cam:
                heatmap = cam(test[index][0][None], 1)[0].numpy()
            hits += heatmap.max() > 0 and masks[index].flat[heatmap.argmax()]
            number += 1
    return int(hits), number


@pytest.mark.slow
def test_a_synthetic_study_transfers_and_logs_where_the_heatmaps_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name, value in (("IMAGE_SIZE", 48), ("NUM_IMAGES", 150), ("NUM_PATCHES", 60)):
        monkeypatch.setattr(synthetic, name, value)

    runs = run_synthetic_study(tmp_path / "study", ["squeezenet1_1"], progress=False)

    assert [run.config.pretrained for run in runs] == [True, False]
    for run in runs:
        hits, number = count_hits(run, tmp_path / "study" / "drawn")
        assert (
            f"{run.name}: peak of the heatmap in the drawn lesion for {hits} of {number} "
            "true positives"
        ) in caplog.messages
        scores = run.localization()
        assert scores is not None
        assert len(scores.indices) == (run.test.labels == 1).sum()
        areas = scores.area / lesion_masks(
            read_folder(tmp_path / "study" / "drawn").where("test")
        )[scores.indices].mean(axis=(1, 2))
        assert 1 <= areas.min() <= areas.max() < 3  # the box is around the lesion


def test_the_first_network_is_trained_with_and_without_transfer() -> None:
    first, second, without = synthetic_grid(["googlenet", "resnet50"])

    assert [first.pretrained, second.pretrained, without.pretrained] == [True, True, False]
    assert (first.model, without.model) == ("googlenet", "googlenet")
    assert first.training == without.training
    assert (first.zero_head, second.zero_head) == (False, True)
    assert np.unique([config.name for config in (first, second, without)]).size == 3


def test_images_and_weights_of_a_study_below_the_home_folder_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = []

    def note(path: Path, **_: object) -> None:
        paths.append(path)

    monkeypatch.setattr(synthetic, "draw_radiographs", note)
    monkeypatch.setattr(synthetic, "_with_boxes", lambda records: records)
    monkeypatch.setattr(synthetic, "_pretrain", lambda _name, path: paths.append(path))
    monkeypatch.setattr(synthetic, "run_study", lambda *_, **__: ())

    run_synthetic_study("~/study", ["squeezenet1_1"], progress=False)

    study = tmp_path / "study"
    assert paths == [study / "drawn", study / "weights" / "squeezenet1_1.safetensors"]
