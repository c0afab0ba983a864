import numpy as np
import pytest
import torch

from cxrtransfer.inference.batches import PixelLoader, pixel_source


class Source:
    """Seven images whose pixels are their number."""

    labels = np.arange(7) % 2

    def pixels(self, indices: list[int]) -> torch.Tensor:
        return torch.tensor(indices, dtype=torch.uint8).view(-1, 1, 1, 1)

    def to_input(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float() / 2


BATCHES = [[3, 0, 6], [1], [5, 2, 4]]


@pytest.mark.parametrize("kept", [False, True])
def test_batches_hold_what_was_asked_for_wherever_the_pixels_are(kept: bool) -> None:
    source = Source()
    loader = PixelLoader(source, BATCHES, torch.device("cpu"))
    if kept:  # as on a GPU that has room for all
        loader._on_device = source.pixels(list(range(7))), torch.from_numpy(source.labels)
    images, labels = zip(*loader, strict=True)

    assert [batch.flatten().tolist() for batch in images] == [[1.5, 0, 3], [0.5], [2.5, 1, 2]]
    assert [batch.tolist() for batch in labels] == [[1, 0, 0], [1], [1, 0, 0]]
    assert len(loader) == 3


def test_a_transform_of_ones_own_loader_processes_and_a_cpu_keep_to_single_images() -> None:
    source, gpu = Source(), torch.device("cuda")
    assert pixel_source(source, gpu) is source
    assert pixel_source(source, torch.device("cpu")) is None
    assert pixel_source(source, gpu, num_workers=2) is None
    source.transform = torch.nn.Identity()
    assert pixel_source(source, gpu) is None
    assert pixel_source([1, 2], gpu) is None
