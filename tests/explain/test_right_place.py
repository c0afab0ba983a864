"""The maximum of a heatmap lies in the finding: trains small networks on drawn radiographs.

Where a network looks depends on its random start and, as roundings add up in training, on the
processor; so each has several starts, and this is no part of the quick tests.
"""

import runpy
from pathlib import Path

import pytest

from cxrtransfer.explain import pointing_game

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gradcam_place.py"


@pytest.mark.trains
@pytest.mark.parametrize(("name", "starts"), [("swin", 2), ("vit", 3), ("cnn-max", 3)])
def test_maximum_lies_in_the_lesion_of_four_in_five_true_positives(name, starts):
    place = runpy.run_path(str(BENCHMARK))
    train, val, test = (
        place["draw"](count, seed) for count, seed in ((1500, 0), (400, 1), (400, 5))
    )

    network, _ = place["best_of"](place["NETWORKS"][name], train, val, starts)
    heatmaps, masks = place["explain"](network, test, shifts=1 if name == "cnn-max" else 4)

    assert len(masks) > 150
    assert pointing_game(heatmaps, masks).float().mean() >= 0.8
