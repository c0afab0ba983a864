import numpy as np
import pytest

from cxrtransfer.deploy import ImagePredictions
from cxrtransfer.evaluation import (
    ConformalScores,
    OperatingPoint,
    Predictions,
    TrainingReference,
    calibrate_classes,
    prediction_sets,
    thumbnails,
)


def patients_and_scores(rng: np.random.Generator, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw patients with 1 to 20 images, whose scores are strongly correlated and depend on it."""
    sizes = rng.choice([1, 2, 20], num)
    codes = np.repeat(np.arange(num), sizes)
    scores = (rng.normal(size=num) + 0.1 * sizes)[codes] + 0.3 * rng.normal(size=len(codes))
    return codes, scores


@pytest.mark.parametrize("level", [0.1, 0.3])
def test_new_patients_are_flagged_at_most_as_often_as_stated(level: float) -> None:
    rng = np.random.default_rng(0)
    rates, by_image = [], []
    for _ in range(600):
        codes, scores = patients_and_scores(rng, 30)
        calibration = ConformalScores.fit(scores, codes.astype(str).tolist())
        alone = ConformalScores.fit(scores, [str(i) for i in range(len(scores))])
        new_codes, new = patients_and_scores(rng, 40)
        first = np.unique(new_codes, return_index=True)[1]  # one image per new patient
        rates.append((calibration.p_values(new[first]) <= level).mean())
        by_image.append((alone.p_values(new[first]) <= level).mean())

    error = 3 * np.std(rates) / np.sqrt(len(rates))
    assert level - 0.05 < np.mean(rates) <= level + error
    assert abs(np.mean(by_image) - level) > error  # ignoring patients misses the level


def test_with_one_image_per_patient_it_is_the_usual_conformal_p_value() -> None:
    scores = np.array([0.3, 0.1, 0.2, 0.2])
    calibration = ConformalScores.fit(scores, list("abcd"))
    new = np.array([0.0, 0.2, 0.25, 0.3, 0.4])

    expected = [(1 + (scores >= value).sum()) / 5 for value in new]
    np.testing.assert_allclose(calibration.p_values(new), expected)


def test_prediction_sets_cover_each_class_at_another_prevalence() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(300):
        val, new = (draw(rng, 60, prevalence) for prevalence in (0.7, 0.1))
        parts = calibrate_classes(val, [f"p{i // 3}" for i in range(len(val))])
        p_values = [part.p_values(1 - new.probabilities[:, k]) for k, part in enumerate(parts)]
        sets = np.stack(p_values, axis=1) > 0.2
        hit = sets[np.arange(len(new)), new.labels]
        covered.append([hit[new.labels == label].mean() for label in (0, 1)])

    means, errors = np.mean(covered, axis=0), np.std(covered, axis=0) / np.sqrt(300)
    assert (means > 0.8 - 3 * errors).all()
    assert (means < 0.92).all()


def draw(rng: np.random.Generator, patients: int, prevalence: float) -> Predictions:
    labels = np.repeat(rng.permutation(np.arange(patients) < max(3, prevalence * patients)), 3)
    signal = labels * 1.5 + np.repeat(rng.normal(size=patients), 3)
    scores = 1 / (1 + np.exp(0.7 - signal - 0.2 * rng.normal(size=len(labels))))
    ids = tuple(map(str, range(len(labels))))
    return Predictions(ids, labels.astype(int), np.stack([1 - scores, scores], 1), ("a", "b"))


@pytest.mark.parametrize(("patients", "coverage"), [(9, 0.9), (19, 0.9), (19, 0.95), (99, 0.99)])
def test_a_p_value_equal_to_the_level_excludes_a_class(patients: int, coverage: float) -> None:
    """Of n patients the smallest p-value is 1 / (n + 1); 1 - 0.9 is not 0.1 in floating point."""
    names = [f"p{index}" for index in range(patients)]
    part = ConformalScores.fit(np.linspace(0, 0.5, patients), names)
    above = round((patients + 1) * (1 - coverage)) - 1  # scores at least as high at that level
    scores = part.scores[patients - above - 1] + np.array([1e-6, -1e-6])

    sets = prediction_sets([part], 1 - scores[:, None], coverage)

    np.testing.assert_allclose(part.p_values(scores)[0], 1 - coverage)
    assert sets[:, 0].tolist() == [False, True]


def test_weights_of_several_images_do_not_keep_a_patient_from_being_flagged() -> None:
    repeated = np.repeat([f"p{index}" for index in range(99)], 10)
    part = ConformalScores.fit(np.repeat(np.arange(99.0), 10), repeated.tolist())
    predictions = ImagePredictions(
        ids=tuple(map(str, range(99))),
        probabilities=np.full((99, 2), 0.5),
        class_names=("a", "b"),
        positive_index=1,
        threshold=OperatingPoint(0.5, "default"),
        p_values=part.p_values(np.arange(99.0)),
        false_alarm_rate=0.05,
        skipped={},
    )

    # The image of rank r among 99 has the p-value (r + 1) / 100, at most 0.05 for r below 5.
    assert predictions.flagged.tolist() == [False] * 95 + [True] * 4


def test_without_images_of_a_class_there_are_no_sets() -> None:
    one = Predictions(("a",), np.array([0]), np.array([[0.9, 0.1]]), ("a", "b"))
    assert calibrate_classes(one, ["p"]) == ()


@pytest.mark.parametrize("scores", [[], [np.nan], [[1.0]]])
def test_scores_that_are_no_numbers_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="scores must be finite"):
        ConformalScores.fit(scores, ["p"] * len(scores))


def chests(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw images with a dark upper left and a bright lower half, and noise."""
    rows, columns = np.mgrid[:64, :48] / 64
    shape = 60 + 120 * (rows > 0.6) + 40 * columns
    noise = rng.normal(0, 8, (count, 64, 48)) + rng.normal(0, 10, (count, 1, 1))
    return np.clip(shape + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def reference() -> TrainingReference:
    rng = np.random.default_rng(0)
    train, val = chests(rng, 300), chests(rng, 200)
    return TrainingReference.fit(
        rng.normal(size=(300, 40)), thumbnails(train), rng.normal(size=(200, 40)),
        thumbnails(val), [str(i // 2) for i in range(200)],
    )  # fmt: skip


def test_images_like_those_of_validation_are_rarely_flagged(reference: TrainingReference) -> None:
    rng = np.random.default_rng(5)
    scores = reference.scores(rng.normal(size=(2000, 40)), thumbnails(chests(rng, 2000)))

    rate = (reference.p_values(scores) <= 0.05).mean()
    assert 0.01 < rate < 0.09


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (lambda images: 255 - images, "may be inverted"),
        (lambda images: images[:, ::-1, ::-1], "may be rotated by 180 degrees"),
        (lambda images: np.rot90(images, 1, (1, 2)), "may be rotated by 270 degrees"),
        (lambda images: np.rot90(images, 3, (1, 2)), "may be rotated by 90 degrees"),
    ],
)
def test_turned_and_inverted_images_are_flagged(
    reference: TrainingReference, change, remark: str
) -> None:
    rng = np.random.default_rng(6)
    thumbs = thumbnails(change(chests(rng, 50)))
    scores = reference.scores(rng.normal(size=(50, 40)), thumbs)

    assert (reference.p_values(scores) <= 0.05).all()
    largest = scores.argmax(axis=1)
    remarks = reference.remarks(scores, thumbs)
    assert {remarks[i] for i in np.flatnonzero(largest == 2)} <= {remark}
    gains = scores[:, 2]
    assert (gains > 3).all()


def test_other_pictures_and_other_features_are_flagged(reference: TrainingReference) -> None:
    rng = np.random.default_rng(7)
    usual, noise = rng.normal(size=(50, 40)), rng.integers(0, 256, (50, 64, 48), dtype=np.uint8)
    pictures = reference.scores(usual, thumbnails(noise))
    features = reference.scores(usual + 3, thumbnails(chests(rng, 50)))

    assert (reference.p_values(pictures) <= 0.05).all()
    assert (reference.p_values(features) <= 0.05).all()
    assert set(reference.remarks(features, thumbnails(chests(rng, 50)))) == {
        "the network's features are unlike those of the training images"
    }


def test_arrays_hold_all_of_a_reference(reference: TrainingReference) -> None:
    rng = np.random.default_rng(8)
    rows, thumbs = rng.normal(size=(5, 40)), thumbnails(chests(rng, 5))

    restored = TrainingReference.from_arrays(reference.to_arrays())

    scores = reference.scores(rows, thumbs)
    np.testing.assert_array_equal(restored.scores(rows, thumbs), scores)
    np.testing.assert_array_equal(restored.p_values(scores), reference.p_values(scores))


def test_the_distance_is_mahalanobis_and_a_small_or_uniform_image_has_a_thumbnail(
    reference: TrainingReference,
) -> None:
    part = reference.features
    covariance = part.components.T @ np.diag(part.variances - part.noise) @ part.components
    covariance += part.noise * np.eye(40)
    row = np.random.default_rng(9).normal(size=40)
    off = row - part.mean

    expected = np.sqrt(off @ np.linalg.solve(covariance, off))
    assert part.distances(row[None])[0] == pytest.approx(expected)
    assert not thumbnails(np.full((1, 5, 3), 9, np.uint8)).any()
