import dataclasses
import json
import warnings

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from cxrtransfer.embedding import embed_tsne
from cxrtransfer.embedding.preparation import fit_preparation


@pytest.fixture(scope="module")
def blobs():
    """Three groups of 40 points in 60 dimensions, and which group each is in."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    return rng.normal(size=(3, 60))[labels] * 2 + rng.normal(size=(120, 60)), labels


def neighbor_accuracy(coordinates, labels):
    """How often a point's five nearest others are mostly of its own group."""
    others = KNeighborsClassifier(6).fit(coordinates, labels).kneighbors(return_distance=False)
    return np.mean([np.bincount(labels[row[:5]]).argmax() for row in others] == labels)


def test_groups_stay_groups(blobs):
    features, labels = blobs
    embedding = embed_tsne(features)

    assert embedding.coordinates.shape == (120, 2)
    assert embedding.coordinates.dtype == np.float64
    assert neighbor_accuracy(embedding.coordinates, labels) > 0.95
    assert neighbor_accuracy(np.random.default_rng(0).normal(size=(120, 2)), labels) < 0.7


def test_seed_makes_the_result(blobs):
    first, again, other = (embed_tsne(blobs[0], seed=seed) for seed in (0, 0, 1))

    assert np.array_equal(first.coordinates, again.coordinates)
    assert first.kl_divergence == again.kl_divergence > 0
    assert not np.array_equal(first.coordinates, other.coordinates)


@pytest.mark.slow
def test_any_number_of_threads_gives_the_same():
    """With enough points for the grid and, in openTSNE's own choice, approximate neighbors."""
    features = np.random.default_rng(0).normal(size=(1100, 8))
    one, two = (embed_tsne(features, n_jobs=jobs) for jobs in (1, 2))

    assert one.parameters["gradient"] == "grid"
    assert np.array_equal(one.coordinates, two.coordinates)


def test_global_generator_is_left_alone(blobs):
    before = np.random.get_state()[1].copy()
    embed_tsne(blobs[0])

    assert np.array_equal(np.random.get_state()[1], before)


def test_unit_of_a_feature_does_not_matter_when_standardized(blobs):
    scaled = blobs[0] * np.geomspace(1e-3, 1e3, 60) + 7
    prepared = [
        fit_preparation(matrix, standardize=True, pca=None, seed=0)[1]
        for matrix in (scaled, blobs[0])
    ]

    np.testing.assert_allclose(*prepared, atol=1e-9)
    assert not np.allclose(
        embed_tsne(scaled, standardize=False).coordinates,
        embed_tsne(blobs[0], standardize=False).coordinates,
    )


def test_constant_features_change_nothing(blobs):
    with_constant = np.column_stack([blobs[0][:, :40], np.full(120, 0.1)])
    assert with_constant[:, -1].std() > 0  # rounding: the mean of 120 times 0.1 is not 0.1

    assert np.array_equal(
        embed_tsne(with_constant).coordinates, embed_tsne(blobs[0][:, :40]).coordinates
    )


@pytest.mark.parametrize(
    ("shape", "pca", "used"),
    [((120, 60), 50, 50), ((120, 50), 50, None), ((40, 60), 50, None), ((120, 60), None, None)],
)
def test_pca_only_where_it_reduces(blobs, shape, pca, used):
    embedding = embed_tsne(blobs[0][: shape[0], : shape[1]], perplexity=10, pca=pca)

    assert embedding.parameters["pca"] == used


def test_too_large_a_perplexity_warns_and_names_the_one_used(blobs):
    with pytest.warns(UserWarning, match="30 is too large for 31 rows; using 10"):
        embedding = embed_tsne(blobs[0][:31])

    assert embedding.perplexity == embedding.parameters["perplexity"] == 10
    assert np.array_equal(
        embedding.coordinates, embed_tsne(blobs[0][:31], perplexity=10).coordinates
    )


def test_largest_allowed_perplexity_does_not_warn(blobs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert embed_tsne(blobs[0][:91], perplexity=30).perplexity == 30


def test_new_points_land_among_their_own_group_and_move_no_other(blobs):
    features, labels = blobs
    embedding = embed_tsne(features[:90], perplexity=20)
    before = embedding.coordinates.copy()
    placed = embedding.transform(features[90:])

    nearest = ((placed[:, None] - before[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert placed.shape == (30, 2)
    assert np.mean(labels[:90][nearest] == labels[90:]) > 0.9
    assert np.array_equal(embedding.coordinates, before)
    assert np.array_equal(placed, embedding.transform(features[90:]))


def test_transform_refuses_other_features(blobs):
    embedding = embed_tsne(blobs[0])
    with pytest.raises(ValueError, match="60 columns"):
        embedding.transform(blobs[0][:, :59])


def test_quality_is_high_for_the_embedding_and_chance_for_noise(blobs):
    features, labels = blobs
    embedding = embed_tsne(features)
    noise = dataclasses.replace(
        embedding, coordinates=np.random.default_rng(0).normal(size=(120, 2))
    )

    assert embedding.trustworthiness() > 0.8
    assert noise.trustworthiness() < 0.6
    assert embedding.neighbor_agreement(labels) > 0.9
    assert noise.neighbor_agreement(labels) < 0.5


def test_parameters_can_be_written_as_json(blobs):
    assert json.loads(json.dumps(embed_tsne(blobs[0]).parameters))["seed"] == 0


def test_repr_shows_no_numbers_of_the_points(blobs):
    assert repr(embed_tsne(blobs[0])).startswith("Embedding(120 points, KL divergence ")


@pytest.mark.parametrize(
    ("features", "perplexity", "reason"),
    [
        (np.zeros((4, 3)), 30, "N >= 5"),
        (np.zeros(9), 30, r"\(N, F\)"),
        (np.zeros((9, 0)), 30, r"\(N, F\)"),
        (np.ones((9, 3)), 2, "rows of features must differ"),
        (np.array([[0.0], [1], [2], [np.nan], [3], [np.inf]]), 1, r"2 row\(s\) .* e\.g\. row 3"),
        (np.eye(9), 0.5, "at least 1"),
        (np.eye(9), float("nan"), "at least 1"),
    ],
)
def test_refuses(features, perplexity, reason):
    with pytest.raises(ValueError, match=reason):
        embed_tsne(features, perplexity=perplexity)


@pytest.mark.parametrize(
    ("arguments", "reason"), [({"n_components": 3}, "1 or 2"), ({"pca": 1}, "at least 2")]
)
def test_refuses_arguments(blobs, arguments, reason):
    with pytest.raises(ValueError, match=reason):
        embed_tsne(blobs[0], **arguments)
