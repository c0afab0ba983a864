from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.data import decode_image, unpack_medmnist

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8)
LABELS = (np.arange(12) % 2)[:, None]


def archive(folder: Path, **changes: np.ndarray) -> Path:
    arrays = {}
    for index, split in enumerate(("train", "val", "test")):
        part = slice(4 * index, 4 * index + 4)
        arrays |= {f"{split}_images": IMAGES[part], f"{split}_labels": LABELS[part]}
    np.savez(folder / "mnist.npz", **(arrays | changes))
    return folder / "mnist.npz"


def test_every_pixel_and_split_arrives(tmp_path: Path) -> None:
    records = unpack_medmnist(archive(tmp_path), tmp_path / "images")

    assert [len(records.where(split)) for split in ("train", "val", "test")] == [4, 4, 4]
    assert not records.patients_known
    row = next(row for row in records.where("val") if row.path.name == "000002.png")
    np.testing.assert_array_equal(decode_image(row.path, 28), IMAGES[6])
    assert row.label == LABELS[6, 0]


def test_more_classes_need_names(tmp_path: Path) -> None:
    path = archive(tmp_path, train_labels=np.array([0, 1, 2, 1]))

    with pytest.raises(ValueError, match=r"train .* an index into .* give class_names"):
        unpack_medmnist(path, tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_a_missing_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_images=IMAGES)

    with pytest.raises(ValueError, match="must hold train_images and train_labels"):
        unpack_medmnist(tmp_path / "x.npz", tmp_path / "images")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "images" / "mine").mkdir(parents=True)

    with pytest.raises(FileExistsError, match="not empty"):
        unpack_medmnist(archive(tmp_path), tmp_path / "images")
