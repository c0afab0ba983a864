from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score
from torch import nn

from cxrtransfer.data import (
    Records,
    StratifiedResplit,
    decode_images,
    draw_radiograph,
    draw_radiographs,
    lesion_masks,
    resplit,
)
from cxrtransfer.types import InputSpec


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return draw_radiographs(tmp_path_factory.mktemp("drawn") / "study", num_images=400, size=64)


def test_the_study_is_like_the_real_one(drawn: Records) -> None:
    assert len(drawn) == 400
    assert drawn.class_names == ("NORMAL", "PNEUMONIA")
    assert drawn.patients_known
    assert len(set(drawn.patient_ids)) < 250
    assert len(drawn.where("val")) == 8
    assert drawn.where("train").labels.mean() > drawn.where("test").labels.mean()
    patients = [set(drawn.where(split).patient_ids) for split in ("train", "val", "test")]
    assert len(set.union(*patients)) == sum(map(len, patients))


def test_mean_brightness_does_not_tell_the_class(drawn: Records) -> None:
    images, _ = decode_images([row.path for row in drawn], 64)

    assert 0.35 < roc_auc_score(drawn.labels, images.mean(axis=(1, 2))) < 0.65


def test_a_small_network_learns_it(drawn: Records) -> None:
    spec = InputSpec(size=64, channels=1, mean=(0.45,), std=(0.27,))
    train, test = (
        torch.stack([image for image, _ in dataset])
        for dataset in (
            StratifiedResplit(drawn, split, input_spec=spec) for split in ("train", "test")
        )
    )
    labels = {
        split: torch.tensor(resplit(drawn).where(split).labels) for split in ("train", "test")
    }
    torch.manual_seed(0)
    net = nn.Sequential(
        *(
            layer
            for inputs, outputs in ((1, 16), (16, 32), (32, 64))
            for layer in (
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            )
        ),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)

    for _ in range(14):
        for batch in torch.randperm(len(train)).split(32):
            loss = nn.functional.cross_entropy(net(train[batch]), labels["train"][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    net.eval()
    with torch.no_grad():
        scores = net(test).softmax(1)[:, 1]
    assert roc_auc_score(labels["test"], scores) > 0.85


def test_masks_show_where_the_lesions_are(drawn: Records) -> None:
    masks = lesion_masks(drawn)

    assert masks.shape == (400, 64, 64)
    np.testing.assert_array_equal(masks.any(axis=(1, 2)), drawn.labels == 1)
    assert 0.01 < masks[drawn.labels == 1].mean() < 0.2


def test_lesions_are_brighter_than_the_lung_without_them() -> None:
    for seed in range(20):
        sick, lesion = draw_radiograph(np.random.default_rng(seed), 64, pneumonia=True)
        center = sick[lesion].mean() / sick.mean()
        flipped = sick[lesion[:, ::-1]].mean() / sick.mean()
        if not (lesion & lesion[:, ::-1]).any():
            assert center > 0.5 * flipped


def test_a_lobar_opacity_is_one_large_area(tmp_path: Path) -> None:
    hazy, lobar = (
        lesion_masks(
            draw_radiographs(tmp_path / kind, num_images=60, size=64, opacities=kind).where(
                "train"
            )
        )
        for kind in ("hazy", "lobar")
    )
    masks = lobar[lobar.any(axis=(1, 2))]

    largest = [np.bincount(label(mask)[0][mask]).max() for mask in masks]
    assert np.mean(largest / masks.sum(axis=(1, 2))) > 0.95
    assert masks.mean() > 1.2 * hazy[hazy.any(axis=(1, 2))].mean()


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    first, second = (
        draw_radiographs(tmp_path / name, num_images=20, size=32, seed=5) for name in ("a", "b")
    )

    assert first.digest() == second.digest()
    for one, other in zip(first, second, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()


def test_a_drawn_study_is_not_drawn_again(tmp_path: Path) -> None:
    first = draw_radiographs(tmp_path / "a", num_images=20, size=32)
    before = first[0].path.stat().st_mtime_ns

    assert draw_radiographs(tmp_path / "a", num_images=20, size=32) == first
    assert first[0].path.stat().st_mtime_ns == before


def test_nothing_else_is_overwritten(tmp_path: Path, image_tree: Path) -> None:
    draw_radiographs(tmp_path / "a", num_images=20, size=32)

    with pytest.raises(FileExistsError, match="must be empty"):
        draw_radiographs(tmp_path / "a", num_images=24, size=32)
    with pytest.raises(FileExistsError, match="must be empty"):
        draw_radiographs(image_tree)


def test_too_few_or_too_small(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_images must be at least 20, got 3"):
        draw_radiographs(tmp_path / "a", num_images=3)
    with pytest.raises(ValueError, match="opacities must be 'hazy' or 'lobar', got 'round'"):
        draw_radiographs(tmp_path / "a", opacities="round")
    with pytest.raises(ValueError, match="size must be at least 16"):
        draw_radiographs(tmp_path / "a", num_images=20, size=8)
    assert not list(tmp_path.iterdir())


def test_other_images_have_no_masks(image_tree: Path) -> None:
    from cxrtransfer.data import read_folder

    with pytest.raises(FileNotFoundError, match="masks require images of draw_radiographs"):
        lesion_masks(read_folder(image_tree))
