import numpy as np
import pytest
from openTSNE import TSNEEmbedding, affinity
from openTSNE.tsne import kl_divergence_bh

from cxrtransfer.embedding import repulsion as module
from cxrtransfer.embedding.repulsion import gradient, repulsion


def pair_by_pair(places):
    """The sums, as they are written."""
    apart = places[:, None] - places
    kernel = 1 / (1 + (apart**2).sum(axis=2))
    return (kernel[..., None] ** 2 * apart).sum(axis=1), kernel.sum() - len(places)


def clumps(span, num_points=400):
    """Points in clumps, as in an embedding, over a square of this side."""
    rng = np.random.default_rng(0)
    centers = rng.uniform(0, span, (12, 2))
    places = centers[rng.integers(12, size=num_points)]
    return places + rng.normal(size=(num_points, 2)) * min(span / 40, 1.5)


@pytest.mark.parametrize("span", [1e-3, 1, 10, 30, 100, 300])
def test_forces_are_those_of_all_pairs_but_for_a_hundredth(span):
    places = clumps(span)
    forces, pairs = repulsion(places)
    expected, expected_pairs = pair_by_pair(places)

    assert np.linalg.norm(forces - expected) < 0.015 * np.linalg.norm(expected)
    assert pairs == pytest.approx(expected_pairs, rel=2e-3)


def test_no_point_is_pushed_round_the_edge():
    """Two far points: on a grid without padding each would also push from behind."""
    places = np.array([[0.0, 0.0], [40.0, 20.0]])

    np.testing.assert_allclose(repulsion(places)[0], pair_by_pair(places)[0], rtol=0.02)


@pytest.fixture(scope="module")
def embedding():
    """Affinities of some features, and places spread as those of an embedding are."""
    features = np.random.default_rng(1).normal(size=(300, 5))
    return TSNEEmbedding(clumps(40, 300), affinity.PerplexityBasedNN(features, method="exact"))


def test_gradient_and_divergence_are_those_of_the_exact_method(embedding):
    affinities = embedding.affinities.P
    asked = {"dof": 1, "should_eval_error": True, "n_jobs": 1}
    divergence, result = gradient(embedding, affinities, **asked)
    exact_divergence, exact = kl_divergence_bh(
        embedding, affinities, bh_params={"theta": 0}, **asked
    )

    assert divergence == pytest.approx(exact_divergence, rel=5e-4)
    assert np.linalg.norm(result - exact) < 0.01 * np.linalg.norm(exact)


def test_points_too_far_apart_for_a_grid_are_not_laid_on_one(embedding, monkeypatch):
    monkeypatch.setattr(module, "MAX_NODES", 50)
    options = {"dof": 1, "bh_params": {"theta": 0.5}}
    _, result = gradient(embedding, embedding.affinities.P, **options)
    _, expected = kl_divergence_bh(embedding, embedding.affinities.P, **options)

    assert np.array_equal(result, expected)
