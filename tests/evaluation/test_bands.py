import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from cxrtransfer.evaluation import curve_band


@pytest.mark.parametrize("curve", ["roc", "precision-recall"])
def test_the_band_lies_around_the_curve(draw, curve):
    predictions = draw(400)

    band = curve_band(predictions, curve, resamples=300)

    if curve == "roc":
        false_rate, true_rate, _ = roc_curve(predictions.labels, predictions.scores)
        y = true_rate[np.searchsorted(false_rate, band.x + 1e-9, side="right") - 1]
    else:
        precision, recall, _ = precision_recall_curve(predictions.labels, predictions.scores)
        y = np.array([precision[recall >= x - 1e-9][-1] for x in band.x])
    inside = (band.low <= y + 1e-9) & (y <= band.high + 1e-9)
    assert inside.mean() > 0.97
    assert (band.high - band.low).mean() > 0.01
    assert ((band.low >= 0) & (band.high <= 1)).all()


def test_one_resample_is_scikit_learns_curve_of_the_drawn_images(draw, monkeypatch):
    """With every image drawn once, the band is the curve itself."""
    predictions = draw(rounded=True)
    monkeypatch.setattr(
        "cxrtransfer.evaluation.bootstrap.resampled_weights", lambda *_, **__: [np.ones((1, 200))]
    )

    roc = curve_band(predictions, points=41)
    pr = curve_band(predictions, "precision-recall", points=41)

    false_rate, true_rate, _ = roc_curve(
        predictions.labels, predictions.scores, drop_intermediate=False
    )
    expected = [true_rate[false_rate <= x + 1e-9].max() for x in roc.x]
    np.testing.assert_allclose(roc.low, expected)
    precision, recall, _ = precision_recall_curve(predictions.labels, predictions.scores)
    reached = [precision[recall >= max(x, recall[recall > 0].min()) - 1e-9][-1] for x in pr.x]
    np.testing.assert_allclose(pr.high, reached)


def test_copies_of_patients_do_not_narrow_the_band(draw):
    once = draw(100)
    copied = type(once)(
        tuple(map(str, range(400))),
        np.repeat(once.labels, 4),
        np.repeat(once.probabilities, 4, axis=0),
        once.class_names,
    )
    patients = [str(index // 4) for index in range(400)]

    plain, honest, naive = (
        curve_band(once, resamples=300),
        curve_band(copied, patients=patients, resamples=300),
        curve_band(copied, resamples=300),
    )

    def width(band):
        return (band.high - band.low).mean()

    assert width(honest) == pytest.approx(width(plain), rel=0.15)
    assert width(naive) < 0.65 * width(plain)


def test_one_class_only_has_no_curve(binary):
    with pytest.raises(ValueError, match="2 positive of 2"):
        curve_band(binary([1, 1], [0.1, 0.2]))
