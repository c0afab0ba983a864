import numpy as np
import pytest

from cxrtransfer.data import draw_radiograph, near_pairs


@pytest.fixture(scope="module")
def thumbnails() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([draw_radiograph(rng, 32, pneumonia=bool(i % 2))[0] for i in range(60)])


def by_comparing_all(thumbnails: np.ndarray, max_distance: float) -> dict[tuple[int, int], float]:
    flat = thumbnails.reshape(len(thumbnails), -1).astype(float)
    flat = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    found = {}
    for i in range(len(flat)):
        for j in range(i + 1, len(flat)):
            distance = np.sqrt(np.mean((flat[i] - flat[j]) ** 2))
            if distance <= max_distance:
                found[i, j] = distance
    return found


def test_it_finds_what_comparing_all_pairs_finds(thumbnails: np.ndarray) -> None:
    expected = by_comparing_all(thumbnails, 0.4)

    pairs, distances = near_pairs(thumbnails, max_distance=0.4)

    got = dict(zip(map(tuple, pairs.tolist()), distances, strict=True))
    assert len(expected) >= 10
    assert got.keys() == expected.keys()
    assert all(got[pair] == pytest.approx(expected[pair], abs=1e-5) for pair in got)


def test_nearest_come_first(thumbnails: np.ndarray) -> None:
    _, distances = near_pairs(thumbnails, max_distance=0.5)

    assert (np.diff(distances) >= 0).all()


def test_brightness_and_contrast_hide_no_copy(thumbnails: np.ndarray) -> None:
    copy = (thumbnails[7] * 0.6 + 50).astype(np.uint8)

    pairs, _ = near_pairs(np.concatenate([thumbnails, copy[None]]), max_distance=0.15)

    assert [7, 60] in pairs.tolist()


def test_strangers_are_not_reported(thumbnails: np.ndarray) -> None:
    pairs, distances = near_pairs(thumbnails, max_distance=0.1)

    assert pairs.shape == (0, 2)
    assert distances.shape == (0,)


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_to_compare(number: int) -> None:
    pairs, _ = near_pairs(np.zeros((number, 32, 32), dtype=np.uint8), max_distance=0.1)

    assert pairs.shape == (0, 2)


def test_blank_images_are_alike() -> None:
    pairs, distances = near_pairs(np.zeros((3, 32, 32), dtype=np.uint8), max_distance=0.1)

    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert distances.tolist() == [0, 0, 0]


def test_other_shapes_and_distances_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, 32, 32\), got \(2, 8, 8\)"):
        near_pairs(np.zeros((2, 8, 8), dtype=np.uint8), max_distance=0.1)
    with pytest.raises(ValueError, match="max_distance must be positive, got 0"):
        near_pairs(np.zeros((2, 32, 32), dtype=np.uint8), max_distance=0)
