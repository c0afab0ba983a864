import pytest
import torch
from torch import nn

from cxrtransfer.explain import deletion_curve, insertion_curve, occlusion
from cxrtransfer.explain.perturbation import blurred, class_probabilities


class Corner(nn.Module):
    """The log odds of class 1 are the sum of the upper left 4 x 4 pixels."""

    def __init__(self, *, one_logit: bool = False) -> None:
        super().__init__()
        self.one_logit = one_logit
        self.batches: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(images))
        logit = images[:, 0, :4, :4].sum(dim=(1, 2))
        return logit if self.one_logit else torch.stack([torch.zeros_like(logit), logit], dim=1)


@pytest.fixture
def ones():
    return torch.ones(3, 1, 8, 8)


@pytest.fixture
def corner_heat():
    heat = torch.zeros(3, 8, 8)
    heat[:, :4, :4] = 1.0
    return heat


def test_deletion_follows_the_closed_form(ones, corner_heat):
    curve = deletion_curve(
        Corner(), ones, corner_heat, 1, baseline=torch.zeros_like(ones), steps=8
    )

    left = torch.tensor([16.0, 8, 0, 0, 0, 0, 0, 0, 0])  # of the corner, after each 8 pixels
    torch.testing.assert_close(curve.fractions, torch.arange(9) / 8)
    torch.testing.assert_close(curve.probabilities, left.sigmoid().expand(3, 9))
    torch.testing.assert_close(curve.auc, torch.trapezoid(left.sigmoid(), dx=1 / 8).expand(3))


def test_insertion_follows_the_closed_form(ones, corner_heat):
    curve = insertion_curve(
        Corner(), ones, corner_heat, 1, baseline=torch.zeros_like(ones), steps=8
    )

    put_back = torch.tensor([0.0, 8, 16, 16, 16, 16, 16, 16, 16])
    torch.testing.assert_close(curve.probabilities, put_back.sigmoid().expand(3, 9))


def test_right_heat_deletes_faster_and_inserts_faster_than_wrong_heat(ones, corner_heat):
    zeros = torch.zeros_like(ones)
    right = [curve(Corner(), ones, corner_heat, 1, baseline=zeros).auc for curve in CURVES]
    wrong = [curve(Corner(), ones, 1 - corner_heat, 1, baseline=zeros).auc for curve in CURVES]

    assert (right[0] < wrong[0]).all()
    assert (right[1] > wrong[1]).all()


CURVES = (deletion_curve, insertion_curve)


@pytest.mark.parametrize("curve", CURVES)
def test_default_class_is_the_one_predicted_for_the_image(ones, corner_heat, curve):
    found = curve(Corner(), ones, corner_heat, baseline=-torch.ones_like(ones))
    named = curve(Corner(), ones, corner_heat, 1, baseline=-torch.ones_like(ones))

    assert torch.equal(found.probabilities, named.probabilities)


@pytest.mark.parametrize("curve", CURVES)
def test_order_of_the_heat_is_all_that_counts(ones, curve):
    heat = torch.rand(3, 8, 8, generator=torch.manual_seed(0))

    assert torch.equal(
        curve(Corner(), ones, heat).probabilities,
        curve(Corner(), ones, (7 * heat).exp()).probabilities,
    )


def test_occlusion_falls_only_where_the_network_looks(ones):
    falls = occlusion(Corner(), 0.1 * ones, 1, window=2, stride=2)

    one_square = torch.tensor(1.6).sigmoid() - torch.tensor(1.2).sigmoid()
    expected = torch.zeros(8, 8)
    expected[:4, :4] = one_square
    torch.testing.assert_close(falls, expected.expand(3, 8, 8))


def test_occlusion_averages_over_the_squares_that_cover_a_pixel(ones):
    falls = occlusion(Corner(), 0.1 * ones, 1, window=4, stride=2)
    log_odds = torch.tensor([[0.0, 0.8], [0.8, 1.2]])  # with the square at 0 or 2, down and across
    fall = torch.tensor(1.6).sigmoid() - log_odds.sigmoid()

    torch.testing.assert_close(falls[0, 0, 0], fall[0, 0])
    torch.testing.assert_close(falls[0, 2, 0], fall[:, 0].mean())
    torch.testing.assert_close(falls[0, 2, 2], fall.mean())
    assert falls[0, 7, 7].abs() < 1e-6


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (3, 3), (5, 5), (8, 8)])
def test_every_pixel_is_covered_whatever_the_window(ones, window, stride):
    assert occlusion(Corner(), ones, 1, window=window, stride=stride).isfinite().all()


def test_occlusion_runs_in_full_batches_also_for_one_image(ones):
    model = Corner()
    occlusion(model, ones[:1], 1, window=2, stride=2, batch_size=8)

    assert model.batches == [1, 8, 8]


def test_batch_equals_one_by_one():
    images = torch.rand(3, 1, 8, 8, generator=torch.manual_seed(0)) - 0.5
    together = occlusion(Corner(), images, [0, 1, 1], batch_size=5)
    alone = [occlusion(Corner(), images[i : i + 1], c) for i, c in enumerate((0, 1, 1))]

    torch.testing.assert_close(together, torch.cat(alone))


def test_one_logit_is_that_of_class_one(ones):
    torch.testing.assert_close(
        class_probabilities(Corner(one_logit=True), 0.1 * ones),
        class_probabilities(Corner(), 0.1 * ones),
    )


def test_network_is_left_in_its_mode(ones):
    model = nn.Sequential(Corner(), nn.Dropout(0.5)).train()
    model[1].eval()

    first = class_probabilities(model, 0.1 * ones)

    assert torch.equal(first, class_probabilities(model, 0.1 * ones))
    assert [module.training for module in model.modules()] == [True, True, False]


def test_blur_keeps_the_mean_and_takes_the_detail():
    images = torch.rand(2, 3, 40, 30, generator=torch.manual_seed(0))
    blurry = blurred(images)

    torch.testing.assert_close(blurry.mean(dim=(2, 3)), images.mean(dim=(2, 3)), atol=0.02, rtol=0)
    assert blurry.std(dim=(2, 3)).max() < 0.2 * images.std(dim=(2, 3)).min()


def test_refuses(ones, corner_heat):
    with pytest.raises(ValueError, match="heatmaps must have shape"):
        deletion_curve(Corner(), ones, corner_heat[:, :4], 1)
    with pytest.raises(ValueError, match="the same shape"):
        deletion_curve(Corner(), ones, corner_heat, 1, baseline=ones[:1])
    with pytest.raises(ValueError, match="steps and batch_size"):
        deletion_curve(Corner(), ones, corner_heat, 1, steps=0)
    with pytest.raises(ValueError, match=r"stride in \[1, window\]"):
        occlusion(Corner(), ones, 1, window=2, stride=3)
    with pytest.raises(ValueError, match="window must lie"):
        occlusion(Corner(), ones, 1, window=9)
    with pytest.raises(ValueError, match="images must have shape"):
        occlusion(Corner(), ones[0], 1)
