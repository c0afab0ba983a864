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

    with pytest.raises(ValueError, match=r"train_labels .* index into .* pass class_names"):
        unpack_medmnist(path, tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_a_missing_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_images=IMAGES)

    with pytest.raises(ValueError, match="must have train_images and train_labels"):
        unpack_medmnist(tmp_path / "x.npz", tmp_path / "images")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "images" / "mine").mkdir(parents=True)

    with pytest.raises(FileExistsError, match="must be empty"):
        unpack_medmnist(archive(tmp_path), tmp_path / "images")


@pytest.mark.parametrize("shape", [(4, 28, 28, 28), (4, 28)])
def test_other_than_gray_or_color_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = archive(tmp_path, val_images=np.zeros(shape, dtype=np.uint8))

    with pytest.raises(ValueError, match=r"val_images of .* must be uint8 \(N, H, W\)"):
        unpack_medmnist(path, tmp_path / "images")


def test_other_than_eight_bits_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, val_images=IMAGES[:4].astype(np.float32))

    with pytest.raises(ValueError, match=r"got float32 \(4, 28, 28\)"):
        unpack_medmnist(path, tmp_path / "images")


def test_whole_numbers_as_floats_are_labels(tmp_path: Path) -> None:
    path = archive(tmp_path, val_labels=np.array([0.0, 1.0, 0.0, 1.0]))

    assert unpack_medmnist(path, tmp_path / "images").where("val").labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_an_archive_cut_short_is_named(tmp_path: Path, part: float) -> None:
    path = archive(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])

    with pytest.raises(ValueError, match=r"mnist.npz must be an .npz archive"):
        unpack_medmnist(path, tmp_path / "images")
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_damaged_archive_is_named(tmp_path: Path, place: float) -> None:
    path = archive(tmp_path)
    data = bytearray(path.read_bytes())
    start = int(place * len(data))
    data[start : start + 40] = bytes(255 - value for value in data[start : start + 40])
    path.write_bytes(bytes(data))

    with pytest.raises(ValueError, match=r"mnist.npz"):
        unpack_medmnist(path, tmp_path / "images")
    assert not (tmp_path / "images").exists()
