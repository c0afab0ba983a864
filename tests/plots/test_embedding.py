import numpy as np
import pytest
from matplotlib.offsetbox import AnnotationBbox

from cxrtransfer.plots import plot_embedding

COORDINATES = np.arange(8.0).reshape(4, 2)


def test_dots_are_right_and_triangles_wrong():
    ax = plot_embedding(COORDINATES, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("N", "P"))

    drawn = {group.get_label(): group for group in ax.collections}
    assert list(drawn) == ["N, correct (1)", "P, correct (2)", "N, incorrect (1)"]
    np.testing.assert_array_equal(drawn["P, correct (2)"].get_offsets(), COORDINATES[2:])
    np.testing.assert_array_equal(drawn["N, incorrect (1)"].get_offsets(), COORDINATES[[1]])
    corners = [len(group.get_paths()[0].vertices) for group in drawn.values()]
    assert corners[0] == corners[1] > corners[2] == 4  # a triangle closes on its first corner


def test_color_is_that_of_the_true_class():
    ax = plot_embedding(COORDINATES, np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), ("N", "P"))

    colors = [tuple(group.get_facecolor()[0][:3]) for group in ax.collections]
    assert colors[0] == colors[2] != colors[1] == colors[3]


def test_thumbnails_are_spread_over_the_plane_and_framed_by_class():
    places = np.array([[0.0, 0], [0.1, 0], [0.2, 0.1], [9, 9], [9, 0]])
    labels = np.array([0, 0, 0, 1, 0])
    images = [np.full((4, 6), 50 * index, np.uint8) for index in range(5)]

    ax = plot_embedding(places, labels, labels, ("N", "P"), images=images)

    boxes = [artist for artist in ax.artists if isinstance(artist, AnnotationBbox)]
    shown = {int(box.offsetbox.get_data()[0, 0]) // 50: box for box in boxes}
    assert shown.keys() == {2, 3, 4}  # of the first three, the one nearest to its square's middle
    assert [tuple(shown[index].xy) for index in (2, 3)] == [(0.2, 0.1), (9, 9)]
    frames = {index: box.patch.get_edgecolor() for index, box in shown.items()}
    assert frames[2] == frames[4] != frames[3]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="one image per label, got 1"):
        plot_embedding(
            COORDINATES,
            np.zeros(4, int),
            np.zeros(4, int),
            ("N", "P"),
            images=[np.zeros((2, 2), np.uint8)],
        )
    with pytest.raises(ValueError, match=r"shapes \(3, 2\) and \(3,\), got \(4, 2\)"):
        plot_embedding(COORDINATES, np.zeros(3, int), np.zeros(3, int), ("N", "P"))
