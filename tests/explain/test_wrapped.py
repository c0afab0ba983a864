"""Networks that were compiled or wrapped for several devices are explained like bare ones."""

import pytest
import torch
from torch import nn

from cxrtransfer.explain import GradCAM


@pytest.mark.parametrize("target", ["bn", None])
def test_compiled_network_gives_the_same_map_under_the_same_name(tiny_net, images, target):
    tiny_net.eval()
    with GradCAM(tiny_net, target) as cam:
        expected = cam(images, 1)
    compiled = torch.compile(tiny_net, backend="eager")
    with torch.no_grad():
        logits = compiled(images)  # compiled now, without hooks

    with GradCAM(compiled, target) as cam:
        assert torch.equal(cam(images, 1), expected)
    with torch.no_grad():
        assert torch.equal(compiled(images), logits)


def test_network_compiled_in_place_or_in_part_gives_the_same_map(tiny_net, images):
    tiny_net.eval()
    with GradCAM(tiny_net, "bn") as cam:
        expected = cam(images, 1)
    tiny_net.bn.compile(backend="eager")
    tiny_net.compile(backend="eager")
    with torch.no_grad():
        tiny_net(images)

    with GradCAM(tiny_net, "bn") as cam:
        assert torch.equal(cam(images, 1), expected)


def test_data_parallel_network_gives_the_same_map(tiny_net, images):
    with GradCAM(tiny_net, "bn") as bare, GradCAM(nn.DataParallel(tiny_net), "bn") as wrapped:
        assert torch.equal(wrapped(images, 1), bare(images, 1))
