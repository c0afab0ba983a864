"""Time and quality of t-SNE embeddings, compared with scikit-learn.

    python benchmarks/tsne.py [--features FILE.npy] [--rows 5856] [--growth 20000 50000 100000]

Without a file the features are synthetic: non-negative and correlated like a network's pooled
features, from eight groups. Both libraries get the same float32 features, two threads and a
perplexity of 30; scikit-learn also gets the features after this library's preparation. All are
timed in turn. Trustworthiness (15 neighbors of 2,000 points) refers to the scaled features in all
dimensions. ``--rows 0`` skips the comparison.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from cxrtransfer.embedding import embed_tsne, trustworthiness
from cxrtransfer.embedding.preparation import fit_preparation

Matrix = npt.NDArray[np.float32]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--features")
    parser.add_argument("--rows", type=int, default=5_856)
    parser.add_argument("--columns", type=int, default=2_048)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--growth", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    if arguments.features:
        compare(np.load(arguments.features), arguments.repeats)
    elif arguments.rows:
        compare(draw_features(arguments.rows, arguments.columns), arguments.repeats)
    for rows in arguments.growth:
        grown = draw_features(rows, 256)
        seconds, coordinates = timed(lambda grown=grown: embed_tsne(grown, n_jobs=2).coordinates)
        trust = trustworthiness(grown, coordinates, max_points=1_000)
        print(
            f"cxrtransfer, {rows} x 256: {seconds:.0f} s, trustworthiness {trust:.4f}", flush=True
        )


def compare(features: Matrix, repeats: int) -> None:
    """Time all methods on the same features and print their ratios to scikit-learn."""
    scaled = StandardScaler().fit_transform(features)
    wide = features.astype(float)
    methods: dict[str, Callable[[], npt.NDArray[np.floating]]] = {
        "cxrtransfer": lambda: embed_tsne(features, n_jobs=2).coordinates,
        "cxrtransfer, no PCA": lambda: embed_tsne(features, n_jobs=2, pca=None).coordinates,
        "scikit-learn": lambda: TSNE(n_jobs=2, random_state=0).fit_transform(scaled),
        "scikit-learn, PCA": lambda: TSNE(n_jobs=2, random_state=0).fit_transform(
            fit_preparation(wide, standardize=True, pca=50, seed=0)[1]
        ),
    }
    embed_tsne(features[:100], perplexity=10)  # libraries load on first use
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    trust = {}
    for _ in range(repeats):
        for name, method in methods.items():
            elapsed, coordinates = timed(method)
            seconds[name].append(elapsed)
            trust[name] = trustworthiness(scaled, coordinates, max_points=2_000)
    print(f"{features.shape[0]} x {features.shape[1]}, best of {repeats}")
    print(f"{'':<22}{'seconds':>9}{'x sklearn':>11}{'trustworthiness':>17}")
    for name, times in seconds.items():
        ratio = min(times) / min(seconds["scikit-learn"])
        print(f"{name:<22}{min(times):>9.1f}{ratio:>11.2f}{trust[name]:>17.4f}", flush=True)


def timed(
    method: Callable[[], npt.NDArray[np.floating]],
) -> tuple[float, npt.NDArray[np.floating]]:
    """Return the seconds a call took, and its result."""
    start = time.perf_counter()
    result = method()
    return time.perf_counter() - start, result


def draw_features(rows: int, columns: int) -> Matrix:
    """Draw features of eight groups that vary in 30 directions, and clip them as a ReLU does."""
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 1.5, (8, 30))
    latent = centers[rng.integers(8, size=rows)] + rng.normal(size=(rows, 30))
    mixed = latent @ rng.normal(size=(30, columns)) / 30**0.5
    return np.maximum(mixed + 0.3 * rng.normal(size=(rows, columns)), 0).astype(np.float32)


if __name__ == "__main__":
    main()
