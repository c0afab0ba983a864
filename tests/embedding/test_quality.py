import numpy as np
import pytest
from sklearn import manifold

from cxrtransfer.embedding import neighbor_agreement, trustworthiness


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 8))
    return features, features[:, :2] + rng.normal(size=(300, 2))


@pytest.mark.parametrize("num_neighbors", [1, 5, 40])
def test_trustworthiness_equals_scikit_learn(points, num_neighbors):
    expected = manifold.trustworthiness(*points, n_neighbors=num_neighbors)

    found = trustworthiness(*points, num_neighbors=num_neighbors)

    assert found == pytest.approx(expected, abs=1e-12)


def test_blocks_do_not_change_the_result(points, monkeypatch):
    expected = trustworthiness(*points)
    monkeypatch.setattr("cxrtransfer.embedding.quality.MAX_DISTANCES", 1000)

    assert trustworthiness(*points) == pytest.approx(expected, abs=1e-12)


def test_sample_of_the_points_estimates_the_whole(points):
    whole = trustworthiness(*points)
    samples = [trustworthiness(*points, max_points=60, seed=seed) for seed in range(20)]

    assert np.mean(samples) == pytest.approx(whole, abs=0.01)
    assert len(set(samples)) == 20


def test_neighbor_agreement_equals_the_count_by_hand(points):
    labels = np.arange(300) % 3
    distances = np.linalg.norm(points[1][:, None] - points[1][None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argsort(axis=1)[:, :7]
    expected = np.mean([[labels[j] == labels[i] for j in nearest[i]] for i in range(300)])

    assert neighbor_agreement(points[1], labels, num_neighbors=7) == pytest.approx(expected)


def test_names_of_the_labels_do_not_matter(points):
    labels = np.arange(300) % 2

    assert neighbor_agreement(points[1], labels) == neighbor_agreement(
        points[1], np.array(["a", "b"])[labels]
    )


def test_refuses(points):
    with pytest.raises(ValueError, match="same number of rows"):
        trustworthiness(points[0], points[1][:9])
    with pytest.raises(ValueError, match="num_neighbors"):
        trustworthiness(*points, num_neighbors=150)
    with pytest.raises(ValueError, match="same length"):
        neighbor_agreement(points[1], [0, 1])
    with pytest.raises(ValueError, match="num_neighbors"):
        neighbor_agreement(points[1], np.zeros(300), num_neighbors=300)
