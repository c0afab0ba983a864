from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from cxrtransfer.data import draw_radiograph, near_pairs


@pytest.fixture(scope="module")
def thumbnails() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([draw_radiograph(rng, 48, pneumonia=bool(i % 2))[0] for i in range(60)])


def crop(image: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    return image.crop((left, top, image.width - right, image.height - bottom))


def with_text(image: Image.Image) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).rectangle((6, 6, 60, 20), fill=255)
    return image


CHANGES: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda image: crop(image, 10, 10, 10, 10),  # 5% a side
    lambda image: crop(image, 0, 12, 12, 0),
    lambda image: image.rotate(3, Image.Resampling.BILINEAR),
    lambda image: image.rotate(-3, Image.Resampling.BILINEAR),
    lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 6, 0, 1, -6)),
    lambda image: ImageOps.expand(image, 8),
    lambda image: image.point(lambda gray: 255 * (gray / 255) ** 1.2),
    with_text,
)


@pytest.mark.parametrize("mirrored", [False, True])
def test_copies_are_found_whatever_was_done_to_them(mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(draw_radiograph(rng, 192, pneumonia=bool(i % 2))[0]) for i in range(24)
    ]
    copies = [change(image) for change, image in zip(CHANGES, images, strict=False)]
    if mirrored:
        copies = [ImageOps.mirror(copy) for copy in copies]
    thumbnails = np.stack(
        [np.asarray(i.resize((48, 48), Image.Resampling.BILINEAR)) for i in [*images, *copies]]
    )

    pairs, _ = near_pairs(thumbnails, max_distance=0.15, mirrored=mirrored)
    others, _ = near_pairs(thumbnails, max_distance=0.15, mirrored=not mirrored)

    expected = {(index, len(images) + index) for index in range(len(copies))}
    assert expected <= set(map(tuple, pairs.tolist()))
    assert not expected & set(map(tuple, others.tolist()))


def test_nearest_come_first(thumbnails: np.ndarray) -> None:
    _, distances = near_pairs(thumbnails, max_distance=0.5)

    assert (np.diff(distances) >= 0).all()


def test_brightness_and_contrast_hide_no_copy(thumbnails: np.ndarray) -> None:
    copy = (thumbnails[7] * 0.6 + 50).astype(np.uint8)

    pairs, _ = near_pairs(np.concatenate([thumbnails, copy[None]]), max_distance=0.15)

    assert [7, 60] in pairs.tolist()


@pytest.mark.parametrize("mirrored", [False, True])
def test_strangers_are_not_reported(thumbnails: np.ndarray, mirrored: bool) -> None:
    pairs, distances = near_pairs(thumbnails, max_distance=0.06, mirrored=mirrored)

    assert pairs.shape == (0, 2)
    assert distances.shape == (0,)


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_to_compare(number: int) -> None:
    pairs, _ = near_pairs(np.zeros((number, 48, 48), dtype=np.uint8), max_distance=0.1)

    assert pairs.shape == (0, 2)


def test_blank_images_are_alike() -> None:
    pairs, distances = near_pairs(np.zeros((3, 48, 48), dtype=np.uint8), max_distance=0.1)

    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert distances.tolist() == [0, 0, 0]


def test_other_shapes_and_distances_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, 48, 48\), got \(2, 8, 8\)"):
        near_pairs(np.zeros((2, 8, 8), dtype=np.uint8), max_distance=0.1)
    with pytest.raises(ValueError, match="max_distance must be positive, got 0"):
        near_pairs(np.zeros((2, 48, 48), dtype=np.uint8), max_distance=0)


@pytest.mark.parametrize("gray", [1, 128, 255])
def test_blank_and_striped_images_are_compared(thumbnails: np.ndarray, gray: int) -> None:
    blank = np.full((2, 48, 48), gray, dtype=np.uint8)
    striped = np.repeat(np.arange(48, dtype=np.uint8)[None, :, None] // 24 * gray, 48, axis=2)
    images = np.concatenate([thumbnails, blank, striped, striped.transpose(0, 2, 1)])

    pairs, distances = near_pairs(images, max_distance=0.1)

    assert [60, 61] in pairs.tolist()
    assert np.isfinite(distances).all()
