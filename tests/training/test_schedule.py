import pytest
import torch

from cxrtransfer.training.schedule import lr_factor


def reference(make_scheduler, steps: int) -> list[float]:
    """The rates one of torch's schedulers gives to an optimizer of rate 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_is_torchs() -> None:
    expected = reference(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=17), 17)
    ours = [lr_factor(step, num_steps=17, schedule="cosine") for step in range(17)]

    assert ours == pytest.approx(expected, abs=1e-12)


def test_one_cycle_is_torchs() -> None:
    expected = reference(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=50), 50
    )
    ours = [lr_factor(step, num_steps=50, schedule="one-cycle") for step in range(50)]

    assert ours == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4])
def test_one_cycle_of_a_few_steps_is_a_rate(num_steps: int) -> None:
    rates = [lr_factor(s, num_steps=num_steps, schedule="one-cycle") for s in range(num_steps)]

    assert all(0 < rate <= 1 for rate in rates)


def test_warm_up_rises_to_the_full_rate_and_goes_on_from_there() -> None:
    rates = [lr_factor(s, num_steps=10, schedule="cosine", warmup_steps=4) for s in range(10)]

    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_a_constant_rate_is_constant() -> None:
    assert {lr_factor(s, num_steps=5, schedule="constant") for s in range(5)} == {1.0}
