from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cxrtransfer.data import Records, StratifiedResplit, draw_radiographs
from cxrtransfer.explain import STRESSES, StressResult, predict_stressed, stress_test
from cxrtransfer.inference import predict
from cxrtransfer.types import InputSpec

SIZE = 64
SPEC = InputSpec(size=SIZE, channels=1, mean=(0.0,), std=(1.0,))


class Eye(nn.Module):
    """Classifies by the mean brightness of one part of the image."""

    def __init__(self, rows: slice, columns: slice, level: float) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.level = nn.Parameter(torch.tensor(level))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = images[:, :, self.rows, self.columns].mean(dim=(1, 2, 3)) - self.level
        return torch.stack([-20 * seen, 20 * seen], dim=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return draw_radiographs(tmp_path_factory.mktemp("drawn") / "all", num_images=600, size=SIZE)


@pytest.fixture(scope="module")
def marked(drawn: Records, tmp_path_factory: pytest.TempPathFactory) -> StratifiedResplit:
    """Test images: a marker in the lower right corner and a spot in the center for pneumonia."""
    folder, rng, rows = tmp_path_factory.mktemp("marked"), np.random.default_rng(0), []
    for number, row in enumerate(drawn):
        pixels = np.array(Image.open(row.path).convert("L")) // 4
        if row.label == (rng.random() < 0.9):
            pixels[-9:-3, -9:-3] = 255
        if row.label == (rng.random() < 0.9):
            pixels[28:36, 28:36] = 255
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        rows.append(replace(row, path=path))
    records = Records(tuple(rows), drawn.class_names, patients_known=True)
    return StratifiedResplit(records, "test", input_spec=SPEC)


def suspected(model: nn.Module, data: StratifiedResplit) -> set[str]:
    return {result.name for result in stress_test(model, data) if result.suggests_shortcut}


def test_a_network_that_reads_the_marker_is_caught(marked: StratifiedResplit) -> None:
    model = Eye(slice(-9, -3), slice(-9, -3), 0.5)

    found = suspected(model, marked)

    assert {"only the border", "center blackened", "corners erased"} <= found


def test_a_network_that_reads_the_center_is_not_accused(marked: StratifiedResplit) -> None:
    assert not suspected(Eye(slice(28, 36), slice(28, 36), 0.5), marked)


def test_a_network_that_reads_the_pasted_marker_changes_its_mind(
    marked: StratifiedResplit,
) -> None:
    results = {
        result.name: result for result in stress_test(Eye(slice(2, 12), slice(2, 12), 0.2), marked)
    }

    assert results["R marker pasted"].mean_change > 0.1
    assert results["corners erased"].mean_change < 0.1


@pytest.mark.parametrize("change", STRESSES.values(), ids=STRESSES)
def test_a_change_keeps_shape_and_dtype_and_leaves_its_input(
    change: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    images = torch.randint(0, 256, (3, 1, 40, 48), dtype=torch.uint8)
    before = images.clone()

    changed = change(images)

    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert torch.equal(images, before)
    assert not torch.equal(changed, images)
    assert torch.equal(change(images[1:2]), changed[1:2])  # each image by itself


def test_what_hides_the_lungs_hides_them() -> None:
    images = torch.randint(0, 256, (2, 1, 60, 60), dtype=torch.uint8)
    other = images.clone()
    other[:, :, 16:44, 16:44] = 7

    for name in ("only the border", "center blackened"):
        assert torch.equal(STRESSES[name](images), STRESSES[name](other))


def test_erased_corners_hold_no_marker() -> None:
    images = torch.full((1, 1, 50, 50), 80, dtype=torch.uint8)
    images[:, :, 3:6, 40:46] = 255

    assert torch.equal(STRESSES["corners erased"](images), torch.full_like(images, 80))


def test_predictions_are_of_the_chosen_images_in_their_order(marked: StratifiedResplit) -> None:
    model = Eye(slice(28, 36), slice(28, 36), 0.5)
    indices = np.array([5, 2, 9])

    stressed = predict_stressed(model, marked, indices)

    plain = predict(model, marked)
    assert set(stressed) == set(STRESSES)
    assert stressed["corners erased"].ids == tuple(marked.ids[index] for index in indices)
    assert stressed["corners erased"].scores == pytest.approx(plain.scores[indices])


def test_the_comparison_is_of_the_original_minus_the_changed(marked: StratifiedResplit) -> None:
    results = stress_test(Eye(slice(28, 36), slice(28, 36), 0.5), marked)

    hidden: StressResult = results[0]
    assert hidden.hides_lungs
    assert hidden.comparison.second == hidden.auroc.value
    assert hidden.comparison.difference == pytest.approx(
        hidden.comparison.first - hidden.auroc.value
    )
    assert hidden.comparison.difference > 0.2
