"""Figures of heatmaps and embeddings, by what they hold."""

import base64
import io
import json
import re

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from PIL import Image

from cxrtransfer.embedding import embed_tsne
from cxrtransfer.explain import PerturbationCurve, RandomizationCheck
from cxrtransfer.plots import (
    plot_border_fractions,
    plot_embedding_layers,
    plot_overlay,
    plot_perturbation_curves,
    plot_randomization,
    write_embedding_page,
)


def test_randomization_begins_at_full_likeness_and_shows_the_means():
    check = RandomizationCheck(
        layers=("fc", "conv"),
        num_randomized=(1, 4),
        rank_correlation=torch.tensor([[0.5, float("nan")], [0.1, 0.3]]).double(),
        similarity=torch.tensor([[0.6, 0.8], [0.2, 0.0]]),
    )
    ax = plot_randomization({"Grad-CAM": check})
    correlation, similarity = ax.lines[:2]

    assert correlation.get_xdata().tolist() == [0, 0.25, 1]
    assert correlation.get_ydata().tolist() == pytest.approx([1, 0.5, 0.2])
    assert similarity.get_ydata().tolist() == pytest.approx([1, 0.7, 0.1])
    with pytest.raises(ValueError, match="no checks"):
        plot_randomization({})


def test_randomization_leaves_a_gap_where_every_map_is_constant():
    check = RandomizationCheck(
        layers=("fc", "conv"),
        num_randomized=(1, 2),
        rank_correlation=torch.tensor([[float("nan")] * 2, [0.1, 0.3]]).double(),
        similarity=torch.ones(2, 2),
    )
    correlation = plot_randomization({"Grad-CAM": check}).lines[0].get_ydata()

    np.testing.assert_allclose(correlation, [1, np.nan, 0.2])


def test_perturbation_curves_show_mean_and_area():
    curve = PerturbationCurve(
        torch.tensor([0, 0.5, 1]), torch.tensor([[1.0, 0.5, 0.0], [0.8, 0.1, 0.0]])
    )
    ax = plot_perturbation_curves({"Grad-CAM": curve})

    assert ax.lines[0].get_ydata().tolist() == pytest.approx([0.9, 0.3, 0.0])
    assert ax.get_legend().get_texts()[0].get_text() == "Grad-CAM (area 0.375)"


def test_border_shares_show_each_image_and_the_means():
    shares = np.array([0.2, 0.4, 0.5, 0.7, np.nan])
    right = np.array([True, True, False, False, True])
    ax = plot_border_fractions(shares, right)
    first, second = (collection.get_offsets()[:, 1] for collection in ax.collections[::2])

    assert sorted(first.tolist()) == [0.2, 0.4]
    assert sorted(second.tolist()) == [0.5, 0.7]
    means = [lines.get_segments()[0][0][1] for lines in ax.collections[1::2]]
    assert means == pytest.approx([0.3, 0.6])
    with pytest.raises(ValueError, match="correct and incorrect"):
        plot_border_fractions(shares, np.ones(5, dtype=bool))
    with pytest.raises(ValueError, match="2 correct of 2"):
        plot_border_fractions(np.array([0.2, 0.4, np.nan]), np.array([True, True, False]))


def test_overlay_keeps_the_proportions_of_the_radiograph():
    image = np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(20, 30)
    heatmap = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
    ax = plot_overlay(image, heatmap)
    radiograph, heat = ax.images

    assert np.array_equal(radiograph.get_array(), image)
    assert np.array_equal(heat.get_array(), heatmap)
    assert radiograph.get_extent() == heat.get_extent() == [0, 30, 20, 0]
    assert ax.get_aspect() == 1
    assert len(ax.get_figure().axes) == 2  # the bar


def test_contours_lie_where_the_heat_is():
    heatmap = np.zeros((10, 10), dtype=np.float32)
    heatmap[2:4, 6:8] = 1
    ax = plot_overlay(np.zeros((20, 40), np.uint8), heatmap, style="contours")
    (lines,) = [c for c in ax.collections if hasattr(c, "levels")]
    vertices = np.concatenate([path.vertices for path in lines.get_paths()])

    assert len(ax.images) == 1
    assert lines.levels.tolist() == [0.25, 0.5, 0.75]
    assert (vertices[:, 0] > 20).all()
    assert (vertices[:, 1] < 10).all()


def test_overlay_refuses_what_is_no_heatmap():
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        plot_overlay(np.zeros((4, 4), np.uint8), np.full((4, 4), 1.5, np.float32))
    with pytest.raises(ValueError, match="must have shapes"):
        plot_overlay(np.zeros((4, 4), np.uint8), np.zeros(4, np.float32))


@pytest.fixture
def groups():
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 2
    return rng.normal(size=(30, 4)) + 9 * labels[:, None], labels


def test_layers_are_drawn_in_order_with_their_agreement(groups):
    features, labels = groups
    noise = np.random.default_rng(1).normal(size=(30, 4))
    embeddings = {
        name: embed_tsne(matrix, perplexity=5) for name, matrix in (("a", noise), ("b", features))
    }
    axes = plot_embedding_layers(embeddings, labels, ("NORMAL", "PNEUMONIA"))

    titles = [ax.get_title(loc="left") for ax in axes]
    shares = [int(re.fullmatch(r"[ab]: (\d+)%", title)[1]) for title in titles]
    assert [title[0] for title in titles] == ["a", "b"]
    assert shares[0] < 75 < shares[1]
    drawn = axes[1].collections[1].get_offsets()
    np.testing.assert_allclose(drawn, embeddings["b"].coordinates[labels == 1])
    with pytest.raises(ValueError, match="one label per point"):
        plot_embedding_layers(embeddings, labels[:5], ("NORMAL", "PNEUMONIA"))


def test_page_holds_everything_and_asks_for_nothing(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 24), dtype=np.uint8)
    path = write_embedding_page(
        tmp_path / "page.html",
        np.array([[0.0, 0], [2, 1], [4, -3]]),
        np.array([0, 1, 1]),
        np.array([0, 1, 0]),
        ("<NORMAL>", "PNEUMONIA"),
        images,
        heatmaps=np.array([np.eye(4), np.zeros((4, 4)), np.ones((4, 4))]),
        ids=("a\udcfc", "b</script>", "<!--<script>"),
        title="A & B\udcfc",
    )
    text = path.read_text(encoding="utf-8")
    points = json.loads(re.search(r"const points = (.*);\n", text)[1])

    assert [point["label"] for point in points] == ["<NORMAL>", "PNEUMONIA", "PNEUMONIA"]
    assert [point["predicted"] for point in points] == ["<NORMAL>", "PNEUMONIA", "<NORMAL>"]
    assert [point["id"] for point in points[1:]] == ["b</script>", "<!--<script>"]
    assert all(point[key].startswith("data:") for point in points for key in ("image", "heatmap"))
    heats = [_pixels(point["heatmap"]) for point in points]
    assert np.array_equal(heats[0][0, 0], heats[2][3, 3])  # the hottest
    assert np.array_equal(heats[0][0, 1], heats[1][3, 3])  # none
    assert heats[0].shape == (4, 4, 3)
    assert text.count("<circle") == 2
    assert text.count('class="incorrect"') == 1
    assert text.count("</script>") == text.count("<script") == 1
    assert "<!--" not in text
    assert "A &amp; B" in text
    assert "&lt;NORMAL&gt;" in text
    assert not re.search(r"https?://|\bsrc=|@import|fetch\(", text)


def _pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_page_keeps_proportions_and_up(tmp_path):
    path = write_embedding_page(
        tmp_path / "page.html",
        np.array([[0.0, 0], [10, 0], [5, 2]]),
        np.zeros(3, int),
        np.zeros(3, int),
        ("a", "b"),
        [np.zeros((8, 8), np.uint8)] * 3,
    )
    places = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', path.read_text(encoding="utf-8"))
    (x0, y0), (x1, y1), (_, y2) = [(float(x), float(y)) for x, y in places]

    assert (x0, x1) == (12, 628)
    assert y0 == y1 > y2
    assert (y0 - y2) / (x1 - x0) == pytest.approx(0.2, abs=0.01)


def test_nothing_global_is_touched():
    before = dict(mpl.rcParams)
    plot_overlay(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32))

    assert dict(mpl.rcParams) == before
    assert to_rgba("C0")  # matplotlib still knows its own cycle


def test_page_refuses_lists_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="for each of 2 labels"):
        write_embedding_page(
            tmp_path / "page.html",
            np.zeros((2, 2)),
            np.zeros(2, int),
            np.zeros(2, int),
            ("a", "b"),
            [np.zeros((8, 8), np.uint8)],
        )


def test_page_shows_the_probability_of_the_predicted_class(tmp_path):
    path = write_embedding_page(
        tmp_path / "page.html",
        np.zeros((2, 2)),
        np.array([0, 0]),
        np.array([0, 1]),
        ("a", "b"),
        [np.zeros((8, 8), np.uint8)] * 2,
        probabilities=np.array([[0.75, 0.25], [0.125, 0.875]]),
    )
    text = path.read_text(encoding="utf-8")
    points = json.loads(re.search(r"const points = (.*);\n", text)[1])

    assert [point["probability"] for point in points] == ["0.750", "0.875"]
    assert "Errors only (1 of 2)" in text
    with pytest.raises(ValueError, match=r"probabilities must have shape \(2, 2\)"):
        write_embedding_page(
            path,
            np.zeros((2, 2)),
            np.zeros(2, int),
            np.zeros(2, int),
            ("a", "b"),
            [np.zeros((8, 8), np.uint8)] * 2,
            probabilities=np.zeros((2, 3)),
        )
