import numpy as np
import pytest

from cxrtransfer.plots import plot_heatmap_grid, plot_samples


def gray(value, shape=(8, 8)):
    return np.full(shape, value, np.uint8)


def test_samples_hold_the_images_in_order():
    ax = plot_samples([gray(10), gray(20), gray(30)], [0, 1, 0], ("N", "P"), columns=2)

    assert [picture.get_array()[0, 0] for picture in ax.images] == [10, 20, 30]
    assert [text.get_text() for text in ax.texts] == ["N", "P", "N"]


def test_gray_is_shown_from_black_to_white_and_not_stretched():
    picture = plot_samples([gray(100)], [0], ("N",)).images[0]

    assert picture.get_clim() == (0, 255)


def test_tiles_lie_inside_the_axes_and_apart():
    ax = plot_samples([gray(1)] * 5, [0] * 5, ("N",), columns=2)
    boxes = [picture.get_extent() for picture in ax.images]

    assert len({(left, top) for left, _, _, top in boxes}) == 5
    assert all(0 <= left < right <= 2 for left, right, _, _ in boxes)
    assert all(0 <= top < bottom <= ax.get_ylim()[0] for _, _, bottom, top in boxes)


def test_an_oblong_image_keeps_its_shape():
    left, right, bottom, top = (
        plot_samples([gray(1, (50, 100))], [0], ("N",)).images[0].get_extent()
    )

    assert (bottom - top) / (right - left) == pytest.approx(0.5)


def test_labels_must_fit_the_images():
    with pytest.raises(ValueError, match="2 labels, 1 images"):
        plot_samples([gray(1)], [0, 1], ("N", "P"))
    with pytest.raises(ValueError, match="got no images"):
        plot_samples([], [], ("N", "P"))


def test_each_overlay_lies_in_its_cell_of_the_confusion_matrix():
    overlays = {"TN": [gray(1)], "FP": [gray(2)], "FN": [gray(3)], "TP": [gray(4)]}

    ax = plot_heatmap_grid(overlays, ("NORMAL", "PNEUMONIA"))

    middle_x, middle_y = np.mean(ax.get_xlim()), np.mean(ax.get_ylim())
    cells = {}
    for picture in ax.images:
        left, _, _, top = picture.get_extent()
        cells[int(picture.get_array()[0, 0])] = (bool(top > middle_y), bool(left > middle_x))
    assert cells == {1: (False, False), 2: (False, True), 3: (True, False), 4: (True, True)}
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["NORMAL", "PNEUMONIA"]


def test_overlays_of_one_cell_do_not_cover_each_other():
    ax = plot_heatmap_grid({"TP": [gray(1)] * 4})

    assert len({tuple(picture.get_extent()) for picture in ax.images}) == 4


def test_a_bar_says_what_the_colors_mean():
    ax = plot_heatmap_grid({"TP": [gray(1)]}, colormap="jet")

    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == "Relative evidence"
    assert bar.get_ylim() == (0, 1)


def test_a_cell_without_images_says_so():
    ax = plot_heatmap_grid({"TP": [gray(1)] * 3, "FN": []})

    assert [text.get_text() for text in ax.texts].count("None") == 3


def test_overlays_must_be_of_two_classes_and_some():
    with pytest.raises(ValueError, match="got no overlays"):
        plot_heatmap_grid({"TP": []})
    with pytest.raises(ValueError, match="two names"):
        plot_heatmap_grid({"TP": [gray(1)]}, ("A", "B", "C"))
