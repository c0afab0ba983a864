"""GradCAM leaves the network and the generators as they were, whatever happens."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from cxrtransfer.explain import GradCAM


class Fails(nn.Module):
    """Draws from every generator, then raises."""

    def forward(self, _features: torch.Tensor) -> torch.Tensor:
        torch.rand(1), np.random.rand(), random.random()
        raise ArithmeticError("a layer broke")


def fingerprint(model: nn.Module) -> list[object]:
    """Everything of a network and of the generators that a call could change."""
    facts: list[object] = [torch.is_grad_enabled(), torch.is_inference_mode_enabled()]
    for name, module in model.named_modules():
        facts += [name, module.training]
        facts += [len(hooks) for key, hooks in vars(module).items() if key.endswith("_hooks")]
    for name, parameter in model.named_parameters():
        grad = None if parameter.grad is None else parameter.grad.tolist()
        facts += [name, parameter.requires_grad, grad, parameter._version, parameter.tolist()]
    facts += [(name, buffer.tolist()) for name, buffer in model.named_buffers()]
    state = np.random.get_state()
    facts += [torch.get_rng_state().tolist(), state[1].tolist(), state[2], random.getstate()]
    return facts


@pytest.fixture
def touched_net(tiny_net):
    """A half frozen network in mixed modes, with gradients and a hook of its owner's."""
    tiny_net.train()
    tiny_net.bn.eval()
    tiny_net.conv1.requires_grad_(requires_grad=False)
    tiny_net(torch.rand(2, 3, 24, 20)).sum().backward()
    tiny_net.conv2.register_forward_hook(lambda *_: torch.rand(1) and None)
    return tiny_net


def test_nothing_is_left_after_success(touched_net, images):
    before = fingerprint(touched_net)

    with GradCAM(touched_net, "bn") as cam:
        cam(images, 1)
        cam(images, 0)

    assert fingerprint(touched_net) == before


def test_nothing_is_left_after_an_error_inside_the_network(touched_net, images):
    touched_net.pool = Fails()
    before = fingerprint(touched_net)

    with pytest.raises(ArithmeticError), GradCAM(touched_net, "bn") as cam:
        cam(images)

    assert fingerprint(touched_net) == before


def test_nothing_is_left_after_an_error_inside_the_with(touched_net, images):
    before = fingerprint(touched_net)

    with pytest.raises(ZeroDivisionError), GradCAM(touched_net, "bn") as cam:
        cam(images)
        raise ZeroDivisionError

    assert fingerprint(touched_net) == before


def test_works_again_after_an_error(tiny_net, images):
    with GradCAM(tiny_net, "bn") as cam:
        expected = cam(images)
        with pytest.raises(IndexError):
            cam(images, 7)

        assert torch.equal(cam(images), expected)


def test_hook_does_nothing_between_calls(tiny_net, images):
    expected = torch.autograd.grad(tiny_net(images).sum(), list(tiny_net.parameters()))

    with GradCAM(tiny_net, "bn") as cam:
        cam(images)
        found = torch.autograd.grad(tiny_net(images).sum(), list(tiny_net.parameters()))
        with torch.no_grad():
            assert not tiny_net(images).requires_grad

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_no_tensor_is_kept_between_calls(tiny_net, images):
    with GradCAM(tiny_net, "bn") as cam:
        cam(images)

        assert [tap.output for tap in cam._taps] == [None]


def test_images_are_not_changed(tiny_net, images):
    before = images.clone()
    with GradCAM(tiny_net, "bn") as cam:
        cam(images)

    assert torch.equal(images, before)
    assert not images.requires_grad
