import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cxrtransfer.data import StratifiedResplit, decode_image, leakage, read_folder
from cxrtransfer.errors import LeakageWarning, UnreadableImagesError
from cxrtransfer.inference import batch_loader
from cxrtransfer.types import InputSpec

SPEC = InputSpec(size=32)
SPLITS = ("train", "val", "test")


def test_three_splits_cover_the_tree(image_tree: Path) -> None:
    datasets = [StratifiedResplit(image_tree, split, input_spec=SPEC) for split in SPLITS]

    assert [len(dataset) for dataset in datasets] == [36, 4, 12]
    assert {name for dataset in datasets for name in dataset.ids} == set(
        read_folder(image_tree).ids
    )


def test_an_item_is_a_normalized_image_and_its_class(image_tree: Path) -> None:
    dataset = StratifiedResplit(image_tree, "test", input_spec=SPEC)

    image, label = dataset[7]

    assert image.dtype == torch.float32
    assert image.shape == (3, 32, 32)
    assert isinstance(label, int)
    assert label == dataset.labels[7] == dataset.records[7].label
    gray = torch.from_numpy(decode_image(dataset.records[7].path, 32)) / 255
    torch.testing.assert_close(image[0], (gray - SPEC.mean[0]) / SPEC.std[0])


def test_a_batch_equals_one_by_one(image_tree: Path) -> None:
    dataset = StratifiedResplit(image_tree, "test", input_spec=SPEC)

    images, labels = next(iter(DataLoader(dataset, batch_size=12)))

    torch.testing.assert_close(
        images, torch.stack([dataset[i][0] for i in range(12)]), rtol=0, atol=0
    )
    assert labels.tolist() == [dataset[i][1] for i in range(12)]


def test_a_transform_gets_gray_bytes(image_tree: Path) -> None:
    dataset = StratifiedResplit(
        image_tree, "val", input_spec=SPEC, transform=lambda image: 255 - image
    )

    images, _ = next(iter(DataLoader(dataset, batch_size=4)))

    assert images.dtype == torch.uint8
    np.testing.assert_array_equal(images[1, 0], 255 - dataset.image(1))


def test_records_serve_as_source(image_tree: Path) -> None:
    from_folder = StratifiedResplit(image_tree, "val", input_spec=SPEC, seed=3)
    from_records = StratifiedResplit(read_folder(image_tree), "val", input_spec=SPEC, seed=3)

    assert from_folder.records == from_records.records


def test_unreadable_images_are_named_before_training(image_tree: Path) -> None:
    (image_tree / "test" / "NORMAL" / "01.png").write_bytes(b"not an image")

    with pytest.raises(UnreadableImagesError, match=r"NORMAL.01\.png"):
        StratifiedResplit(image_tree, "test", input_spec=SPEC)


def test_an_unknown_split_is_refused(image_tree: Path) -> None:
    with pytest.raises(ValueError, match="split must be 'train', 'val' or 'test', got 'dev'"):
        StratifiedResplit(image_tree, "dev")


def test_repr_says_that_patients_are_unknown(image_tree: Path) -> None:
    assert "patients unknown" in repr(StratifiedResplit(image_tree, "val", input_spec=SPEC))


def test_workers_give_the_same_batches(image_tree: Path) -> None:
    dataset = StratifiedResplit(image_tree, "test", input_spec=SPEC)

    here, there = (
        torch.cat([images for images, _ in DataLoader(dataset, batch_size=5, num_workers=workers)])
        for workers in (0, 1)
    )

    assert torch.equal(here, there)


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"num_workers": 1}])
def test_whole_batches_hold_what_items_hold(image_tree: Path, options: dict[str, int]) -> None:
    dataset = StratifiedResplit(image_tree, "test", input_spec=SPEC)

    loader = batch_loader(dataset, 5, **options)
    batches = list(loader)

    assert len(loader) == len(batches) == 3
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = [next(i for i in range(12) if torch.equal(dataset[i][0], image)) for image in images]
    assert sorted(order) == list(range(12))
    assert (order == list(range(12))) is ("shuffle" not in options)
    assert labels.dtype == torch.int64
    assert labels.tolist() == dataset.labels[order].tolist()


def test_a_sampler_and_shuffle_are_refused(image_tree: Path) -> None:
    dataset = StratifiedResplit(image_tree, "test", input_spec=SPEC)

    with pytest.raises(ValueError, match="shuffle and sampler exclude each other"):
        batch_loader(dataset, 5, shuffle=True, sampler=[1, 2])


def test_a_transform_and_augment_are_refused(image_tree: Path) -> None:
    with pytest.raises(ValueError, match="augment applies to the default transform only"):
        StratifiedResplit(image_tree, "val", transform=lambda x: x, augment=lambda x: x)


def leakage_warnings(**options: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for split in SPLITS:
            StratifiedResplit(split=split, input_spec=SPEC, **options)
    assert all(warning.category is LeakageWarning for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    return [str(warning.message) for warning in caught]


def test_unknown_patients_are_named_once(image_tree: Path) -> None:
    (message,) = leakage_warnings(source=image_tree)

    assert re.search(r"patients are unknown.*patient_id.*audit", message)


@pytest.mark.parametrize("group_by", ["patient_id", None])
def test_known_patients_or_a_split_by_image_are_no_reason(
    image_tree: Path, group_by: str | None
) -> None:
    records = read_folder(image_tree)
    if group_by:
        records = replace(records, patients_known=True)

    assert leakage_warnings(source=records, group_by=group_by) == []


def test_copies_across_splits_are_named(image_tree: Path) -> None:
    copied = image_tree / "train" / "NORMAL" / "03.png"
    shutil.copy(copied, image_tree / "test" / "NORMAL" / "copy.png")

    (message,) = leakage_warnings(source=image_tree, group_by=None)

    assert re.search(r"1 files have identical copies in another split", message)
    assert str(copied) in message
    assert "copy.png" in message


def test_only_files_of_one_size_and_ending_are_read_in_full(
    image_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, folder = image_tree / "train" / "NORMAL" / "00.png", image_tree / "test" / "NORMAL"
    content = np.random.default_rng(0).bytes(10_000)
    first.write_bytes(content)
    (folder / "beginning.png").write_bytes(b"another" + content[7:])
    (folder / "ending.png").write_bytes(content[:-7] + b"another")
    (folder / "longer.png").write_bytes(b"longer" + content)
    read = []
    digest = leakage.file_digest
    monkeypatch.setattr(leakage, "file_digest", lambda path: read.append(path) or digest(path))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leakage.warn_of_leakage(read_folder(image_tree), by_patient=False)

    assert set(read) == {first, folder / "beginning.png"}


def test_one_split_cannot_leak(image_tree: Path) -> None:
    records = read_folder(image_tree).where("test")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StratifiedResplit(records, "test", val_fraction=0, input_spec=SPEC)
