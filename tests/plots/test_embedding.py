import numpy as np
import pytest

from cxrtransfer.plots import plot_embedding

COORDINATES = np.arange(8.0).reshape(4, 2)


def test_dots_are_right_and_triangles_wrong():
    ax = plot_embedding(COORDINATES, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("N", "P"))

    drawn = {group.get_label(): group for group in ax.collections}
    assert list(drawn) == ["N, right (1)", "P, right (2)", "N, wrong (1)"]
    np.testing.assert_array_equal(drawn["P, right (2)"].get_offsets(), COORDINATES[2:])
    np.testing.assert_array_equal(drawn["N, wrong (1)"].get_offsets(), COORDINATES[[1]])
    corners = [len(group.get_paths()[0].vertices) for group in drawn.values()]
    assert corners[0] == corners[1] > corners[2] == 4  # a triangle closes on its first corner


def test_colour_is_that_of_the_true_class():
    ax = plot_embedding(COORDINATES, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), ("N", "P"))

    colours = [tuple(group.get_facecolor()[0][:3]) for group in ax.collections]
    assert colours[0] == colours[2] != colours[1] == colours[3]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"each of 3 labels, got \(4, 2\)"):
        plot_embedding(COORDINATES, np.zeros(3, int), np.zeros(3, int), ("N", "P"))
