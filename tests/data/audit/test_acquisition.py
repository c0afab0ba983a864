import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtransfer.data import (
    BORDER_STATISTICS,
    AuditResult,
    Records,
    acquisition_statistics,
    audit,
    draw_radiographs,
)
from cxrtransfer.data.audit.acquisition_summary import _auroc
from cxrtransfer.evaluation.intervals import auroc_interval

SIZE = 64


def noisy(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(120, 8, (224, 224)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return draw_radiographs(tmp_path_factory.mktemp("drawn") / "study", num_images=400, size=SIZE)


@pytest.fixture(scope="module")
def planted(drawn: Records, tmp_path_factory: pytest.TempPathFactory) -> Records:
    """The same images; a bright marker in the upper right corner of nearly all pneumonias."""
    folder, rng, rows = tmp_path_factory.mktemp("planted"), np.random.default_rng(0), []
    for number, row in enumerate(drawn):
        pixels = np.array(Image.open(row.path).convert("L"))
        if row.label == (rng.random() < 0.9):
            pixels[4:7, -12:-4] = 255
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        rows.append(replace(row, path=path))
    return Records(tuple(rows), drawn.class_names, patients_known=drawn.patients_known)


@pytest.fixture(scope="module")
def planted_result(planted: Records) -> AuditResult:
    return audit(planted)


def test_drawn_images_without_a_shortcut_are_not_accused(drawn: Records) -> None:
    result = audit(drawn)

    assert result.acquisition is not None
    assert not result.acquisition.is_shortcut
    assert "without looking at the lungs" not in str(result)
    assert not any(shift.auroc.is_strong for shift in result.acquisition.shifts)


def test_a_planted_marker_is_found_and_named(planted_result: AuditResult) -> None:
    result = planted_result

    assert result.acquisition is not None
    assert result.acquisition.is_shortcut
    corners = [name for name in result.acquisition.strongest if "marker" in name]
    assert corners[0] == "upper right marker"
    assert "the class can be predicted without looking at the lungs: AUROC 0." in str(result)


def test_the_result_survives_json(planted_result: AuditResult) -> None:
    result = planted_result

    assert AuditResult.from_dict(json.loads(json.dumps(result.as_dict()))) == result


def test_extremes_are_images_of_the_class_and_disjoint(
    planted: Records, planted_result: AuditResult
) -> None:
    acquisition = planted_result.acquisition

    assert acquisition is not None
    label_of = dict(zip(planted.ids, planted.labels.tolist(), strict=True))
    for label, name in enumerate(planted.class_names):
        least, most = acquisition.extremes[name]
        assert len(least) == len(most) == 6
        assert not set(least) & set(most)
        assert {label_of[id_] for id_ in (*least, *most)} == {label}


def test_few_images_are_described_but_not_modeled(tmp_path: Path) -> None:
    result = audit(draw_radiographs(tmp_path / "few", num_images=40, size=32))

    assert result.acquisition is not None
    assert result.acquisition.all.value is None
    assert not result.acquisition.is_shortcut
    assert "too few images" in str(result)


def test_border_statistics_do_not_see_the_center() -> None:
    image, changed = noisy(), noisy()
    changed[60:160, 60:160] = noisy(1)[60:160, 60:160] // 2 + 100

    first, second = acquisition_statistics(image), acquisition_statistics(changed)

    local = [name for name in BORDER_STATISTICS if name not in ("upper border", "lower border")]
    assert {name: first[name] for name in local if name != "side borders"} == pytest.approx(
        {name: second[name] for name in local if name != "side borders"}
    )
    assert first["contrast"] != pytest.approx(second["contrast"], rel=0.1)


def test_axes_are_not_confused() -> None:
    image = np.zeros((224, 224), dtype=np.uint8)
    image[::2] = 100  # horizontal stripes change downward
    statistics, turned = acquisition_statistics(image), acquisition_statistics(image.T)

    assert statistics["gradient down"] == pytest.approx(100)
    assert statistics["gradient across"] == 0
    assert turned["gradient across"] == statistics["gradient down"]
    assert turned["exposed height"] == statistics["exposed width"]


def test_the_noise_of_white_noise_is_its_standard_deviation() -> None:
    statistics = acquisition_statistics(noisy())

    assert statistics["noise"] == pytest.approx(8, rel=0.03)
    assert statistics["border noise"] == pytest.approx(8, rel=0.06)


@pytest.mark.parametrize(
    ("rows", "columns", "name"),
    [
        (slice(4, 12), slice(4, 12), "upper left marker"),
        (slice(4, 12), slice(-12, -4), "upper right marker"),
        (slice(-12, -4), slice(4, 12), "lower left marker"),
        (slice(-12, -4), slice(-12, -4), "lower right marker"),
    ],
)
def test_a_marker_is_seen_in_its_own_corner(rows: slice, columns: slice, name: str) -> None:
    image = noisy()
    image[rows, columns] = 255
    before, after = acquisition_statistics(noisy()), acquisition_statistics(image)

    changed = [corner for corner in after if "marker" in corner and after[corner] > 100]
    assert changed == [name]
    assert before[name] < 50


def test_black_collimator_blades_narrow_the_exposed_field() -> None:
    image = noisy()
    image[:, :56] = 0

    assert acquisition_statistics(image)["exposed width"] == pytest.approx(0.75)
    assert acquisition_statistics(image)["exposed height"] == 1


def test_the_statistics_are_those_of_their_definitions() -> None:
    """Compare with plain NumPy on an image that is wider than high."""
    pixels = np.random.default_rng(0).integers(0, 256, (80, 120)).astype(np.uint8)
    pixels[:30] //= 3
    values, inner = pixels.astype(float), np.zeros(pixels.shape, dtype=bool)
    inner[12:-12, 18:-18] = True  # 15% of each side
    across, down = np.diff(values, axis=1), np.diff(values, axis=0)
    second = np.diff(np.diff(values, n=2, axis=0), n=2, axis=1)
    corner = np.sort(values[-16:, :24], axis=None)  # 20%, lower left
    statistics = acquisition_statistics(pixels, aspect_ratio=1.5)

    expected = {
        "aspect ratio": 1.5,
        "mean": values.mean(),
        "5% quantile": np.quantile(values, 0.05),
        "median": np.median(values),
        "95% quantile": np.quantile(values, 0.95),
        "contrast": values.std(),
        "gradient across": np.abs(across).mean(),
        "gradient down": np.abs(down).mean(),
        "sharpness across": np.abs(np.diff(across, axis=1)).mean() / np.abs(across).mean(),
        "sharpness down": np.abs(np.diff(down, axis=0)).mean() / np.abs(down).mean(),
        "noise": np.abs(second).mean() * np.sqrt(np.pi / 2) / 6,
        "black": (values < 16).mean(),
        "white": (values >= 250).mean(),
        "border mean": values[~inner].mean(),
        "border contrast": values[~inner].std(),
        "border black": (values[~inner] < 16).mean(),
        "border white": (values[~inner] >= 250).mean(),
        "lower left marker": corner[-3:].mean() - corner[192],
    }
    assert {name: statistics[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_quantiles_are_interpolated() -> None:
    image = np.zeros((16, 16), dtype=np.uint8)
    image[8:] = 200

    assert acquisition_statistics(image)["median"] == 100  # between the 128th and 129th pixel


def test_the_statistics_of_an_image_do_not_depend_on_the_one_before() -> None:
    images = [noisy(), np.full((224, 224), 255, dtype=np.uint8), noisy(1)[:200]]

    alone = [acquisition_statistics(image) for image in images]

    assert [acquisition_statistics(image) for image in reversed(images)] == alone[::-1]


def test_other_pixels_are_refused() -> None:
    for wrong in (np.zeros((3, 32, 32), np.uint8), np.zeros((32, 32)), np.zeros((8, 8), np.uint8)):
        with pytest.raises(ValueError, match="pixels must be uint8"):
            acquisition_statistics(wrong)


def test_the_interval_is_that_of_delong_clustered_by_patient() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(150), 2)
    positive = rng.random(300) < 0.5
    scores = rng.normal(positive * 1.0 + np.repeat(rng.normal(size=150), 2), 1).round(1)

    result = _auroc([scores], [positive], codes.astype(str))
    reference = auroc_interval(positive, scores, codes)

    assert result.value == pytest.approx(reference.value)
    # The reference transforms to the logit scale and uses t, so only the widths agree.
    assert result.high - result.low == pytest.approx(reference.high - reference.low, rel=0.05)


def test_means_contrasts_and_quantiles_are_those_of_numpy() -> None:
    pixels = noisy() // 2
    pixels[:30, 60:] += 90
    pixels[100:, :20] = 3
    pixels[90:99, 90:99] = 255
    values = pixels.astype(np.float64)

    def border(of: np.ndarray) -> np.ndarray:
        top, left = (round(0.15 * length) for length in of.shape)
        outer = np.ones(of.shape, dtype=bool)
        outer[top : len(of) - top, left : of.shape[1] - left] = False
        return of[outer]

    across, down = np.abs(np.diff(values, axis=1)), np.abs(np.diff(values, axis=0))
    expected = {
        "mean": values.mean(),
        "contrast": values.std(),
        "5% quantile": np.quantile(pixels, 0.05),
        "95% quantile": np.quantile(pixels, 0.95),
        "black": (pixels < 16).mean(),
        "white": (pixels >= 250).mean(),
        "gradient across": across.mean(),
        "gradient down": down.mean(),
        "sharpness down": np.abs(np.diff(values, 2, axis=0)).mean() / down.mean(),
        "border mean": border(values).mean(),
        "border contrast": border(values).std(),
        "border gradient across": border(across).mean(),
        "border gradient down": border(down).mean(),
        "border black": border(pixels < 16).mean(),
        "border white": border(pixels >= 250).mean(),
    }

    statistics = acquisition_statistics(pixels)

    assert {name: statistics[name] for name in expected} == pytest.approx(expected, rel=1e-5)
