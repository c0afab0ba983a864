from itertools import pairwise

import numpy as np
import pytest

from cxrtransfer.plots import plot_class_balance, plot_image_statistics

SPLITS = {"train": np.repeat([0, 1], [3, 9]), "val": np.array([1])}
NAMES = ("NORMAL", "PNEUMONIA")


def test_class_balance_has_a_bar_per_class_and_split():
    ax = plot_class_balance(SPLITS, NAMES)

    normal, pneumonia = ax.containers
    assert normal.datavalues.tolist() == [3, 0]
    assert pneumonia.datavalues.tolist() == [9, 1]
    assert (normal.get_label(), pneumonia.get_label()) == NAMES


def test_class_balance_says_counts_and_shares_in_words():
    words = [text.get_text() for text in plot_class_balance(SPLITS, NAMES).texts]

    assert words == ["3\n25.0%", "0\n0.0%", "9\n75.0%", "1\n100.0%"]


def test_bars_of_one_split_do_not_overlap():
    bars = sorted(plot_class_balance(SPLITS, ("A", "B", "C")).patches, key=lambda bar: bar.get_x())

    assert all(a.get_x() + a.get_width() <= b.get_x() for a, b in pairwise(bars))


def test_class_balance_needs_a_split():
    with pytest.raises(ValueError, match="got no splits"):
        plot_class_balance({}, NAMES)


def test_each_class_of_the_histogram_sums_to_a_hundred_per_cent():
    rng = np.random.default_rng(0)
    values = {"NORMAL": rng.normal(120, 10, 50), "PNEUMONIA": rng.normal(110, 20, 500)}

    ax = plot_image_statistics(values)

    filled = [bars for bars in ax.containers if len(bars) > 1]
    heights = [sum(bar.get_height() for bar in bars) for bars in filled]
    assert heights == pytest.approx([100, 100])
    assert "500 images" in ax.get_legend().get_texts()[1].get_text()


def test_a_class_without_images_is_named():
    with pytest.raises(ValueError, match="images of class 'NORMAL'"):
        plot_image_statistics({"NORMAL": np.array([])})
