import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from cxrtransfer.explain import EigenCAM, GradCAM, RandomizationCheck, check_randomization
from cxrtransfer.explain.randomization import (
    layers_with_parameters,
    rank_correlation,
    shuffle_parameters,
    structural_similarity,
)


def test_rank_correlation_equals_scipy_also_with_ties():
    generator = torch.manual_seed(0)
    maps, others = torch.randint(0, 6, (2, 5, 7, 7), generator=generator).float()
    expected = [
        spearmanr(one.flatten(), other.flatten()).statistic
        for one, other in zip(maps, others, strict=True)
    ]

    torch.testing.assert_close(rank_correlation(maps, others), torch.tensor(expected).double())


def test_rank_correlation_of_a_constant_map_is_not_a_number():
    assert rank_correlation(torch.ones(1, 3, 3), torch.rand(1, 3, 3)).isnan().all()


def test_similarity_equals_the_formula_window_by_window():
    maps, others = torch.rand(2, 1, 9, 8, generator=torch.manual_seed(0)).double()
    values = []
    for top in range(3):
        for left in range(2):
            x = maps[0, top : top + 7, left : left + 7].flatten()
            y = others[0, top : top + 7, left : left + 7].flatten()
            (vx, cov), (_, vy) = torch.cov(torch.stack([x, y])).tolist()
            mx, my = x.mean().item(), y.mean().item()
            c1, c2 = 0.02**2, 0.06**2
            values.append(
                (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
            )

    found = structural_similarity(maps, others)

    assert found.item() == pytest.approx(sum(values) / 6)
    assert structural_similarity(maps, maps).item() == pytest.approx(1)


def test_shuffling_keeps_the_values_and_leaves_submodules_alone():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(20, 20))
    block.scale = nn.Parameter(torch.arange(50.0))
    weight = block[0].weight.clone()

    shuffle_parameters(block, torch.Generator().manual_seed(0))

    assert torch.equal(block[0].weight, weight)
    assert not torch.equal(block.scale, torch.arange(50.0))
    assert torch.equal(block.scale.sort().values, torch.arange(50.0))


def test_layers_begin_at_the_head(tiny_net):
    assert [name for name, _ in layers_with_parameters(tiny_net)] == ["fc", "conv2", "bn", "conv1"]
    with pytest.raises(ValueError, match="must have parameters"):
        layers_with_parameters(nn.ReLU())


def test_network_that_forgets_draws_other_maps_and_is_itself_untouched(tiny_net, images):
    before = {name: value.clone() for name, value in tiny_net.state_dict().items()}
    generator = torch.get_rng_state()

    check = check_randomization(tiny_net, images, 1, target_layer="conv2", steps=4)

    assert check.layers == ("fc", "conv2", "bn", "conv1")
    assert check.num_randomized == (1, 2, 3, 4)
    assert check.rank_correlation.shape == check.similarity.shape == (4, 4)
    assert check.rank_correlation[-1].mean() < 0.6
    assert check.similarity[-1].mean() < 0.6
    assert all(torch.equal(value, before[name]) for name, value in tiny_net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert repr(check).startswith(
        "RandomizationCheck(4 images, 4 steps, final mean rank correlation "
    )


def test_map_that_does_not_depend_on_the_layers_randomized_stays(tiny_net, images):
    """Eigen-CAM at the first layer sees nothing of the head: the check must say so."""
    check = check_randomization(tiny_net, images, method=EigenCAM, target_layer="conv1", steps=4)

    torch.testing.assert_close(check.rank_correlation[:3], torch.ones(3, 4).double())
    torch.testing.assert_close(check.similarity[:3], torch.ones(3, 4))
    assert check.similarity[3].mean() < 0.9


def test_steps_are_spread_from_the_head_to_the_first_layer(tiny_net, images):
    two = check_randomization(tiny_net, images, 1, target_layer="conv2", steps=2)
    four = check_randomization(tiny_net, images, 1, target_layer="conv2", steps=4)

    assert two.layers == ("fc", "conv1")
    torch.testing.assert_close(two.similarity, four.similarity[[0, 3]])


def test_seed_makes_the_result(tiny_net, images):
    first, again, other = (
        check_randomization(tiny_net, images, 1, target_layer="bn", seed=seed)
        for seed in (0, 0, 1)
    )

    assert torch.equal(first.similarity, again.similarity)
    assert not torch.equal(first.similarity, other.similarity)


def test_refuses_no_steps(tiny_net, images):
    with pytest.raises(ValueError, match="steps must be positive"):
        check_randomization(tiny_net, images, steps=0)


def _check(correlation, num_maps=40, contrast=0.3, num_cells=49, noise=0.05):
    values = correlation + noise * torch.randn(num_maps, generator=torch.manual_seed(0))
    return RandomizationCheck(
        layers=("fc", "conv"),
        num_randomized=(1, 2),
        rank_correlation=torch.stack([torch.ones(num_maps), values]),
        similarity=torch.zeros(2, num_maps),
        contrast=torch.full((num_maps,), contrast),
        num_cells=num_cells,
    )


@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (_check(0.1), "depends"),
        (_check(-0.1), "depends"),
        (_check(0.8), "independent"),
        (_check(-0.68), "independent"),
        (_check(-0.68, contrast=0.03), "uniform maps"),
        (_check(0.1, contrast=0.03), "uniform maps"),
        (_check(0.1, num_cells=4), "coarse maps"),
        (_check(0.1, num_maps=9), "few maps"),
        (_check(float("nan")), "few maps"),
        (_check(0.5, num_maps=12, noise=0.3), "wide interval"),
    ],
)
def test_verdict_is_about_the_absolute_correlation_of_maps_that_can_show_it(check, verdict):
    assert check.verdict == verdict


def test_interval_is_that_of_the_mean_absolute_correlation():
    check = _check(-0.68)
    values = check.rank_correlation[-1].abs()
    low, high = check.interval
    error = float(values.std() / len(values) ** 0.5)

    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_contrast_and_size_are_those_of_the_trained_networks_maps(tiny_net, images):
    with GradCAM(tiny_net, "conv2", relu=False, upsample=False) as cam:
        maps = cam(images, 1)

    check = check_randomization(tiny_net, images, 1, target_layer="conv2", steps=2)

    torch.testing.assert_close(check.contrast, maps.flatten(1).std(dim=1))
    assert check.num_cells == maps[0].numel()
    assert check.verdict == "few maps"  # four images
