"""What follows a training: features, embedding and explanations of the test images."""

import logging
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import nn

from cxrtransfer.data import StratifiedResplit
from cxrtransfer.embedding import embed_tsne
from cxrtransfer.errors import EmptyHeatmapWarning
from cxrtransfer.evaluation import Predictions, TrainingReference
from cxrtransfer.types import InputSpec

from .explanations import (
    draw_images,
    explain_examples,
    explain_images,
    localize,
    randomization_test,
    stress_predictions,
)
from .layers import embed_layers
from .profiles import profile_files
from .run_folder import RunFolder

__all__ = ["analyze"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")


def analyze(
    folder: RunFolder,
    model: nn.Module,
    val: StratifiedResplit,
    test: StratifiedResplit,
    predictions: Predictions,
    *,
    spec: InputSpec,
    features: Callable[[], npt.NDArray[np.float32]],
    reference: Callable[[], TrainingReference],
    seed: int,
    begin: Callable[[str], None] = lambda _stage: None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Embed and explain the test images, and write each result; one that fails leaves the others.

    Args:
        folder: Folder of the run.
        model: The trained network.
        val: The validation images.
        test: The test images.
        predictions: Predictions on them.
        spec: Input of the network.
        features: Extracts their features, float32 ``(N, F)``.
        reference: Describes the training images.
        seed: Seed of t-SNE.
        begin: Called with the name of each stage that begins.

    Returns:
        The settings of t-SNE with the divergence reached, empty without an embedding; and why
        each missing result is missing, by its name.
    """
    missing: dict[str, str] = {}

    def attempt(name: str, compute: Callable[[], T]) -> T | None:
        try:
            with warnings.catch_warnings():
                # The report counts empty heatmaps.
                warnings.simplefilter("ignore", EmptyHeatmapWarning)
                return compute()
        except Exception as error:  # noqa: BLE001  (a finished training outlives any failure)
            missing[name] = f"{type(error).__name__}: {error}"
            _logger.warning("%s: no %s: %s", folder.path, name, missing[name])
            return None

    settings: dict[str, Any] = {}
    begin("embedding")
    rows = attempt("features", features)
    embedding = None
    if rows is None:
        missing["embedding"] = "the features are missing"
    else:
        folder.write_features(rows)
        perplexity = min(30.0, (len(rows) - 1) / 3)
        embedding = attempt(
            "embedding", lambda: embed_tsne(rows, perplexity=perplexity, seed=seed)
        )
    if embedding is not None:
        folder.write_embedding(embedding.coordinates)
        settings = {"kl_divergence": embedding.kl_divergence, **embedding.parameters}

    layers = attempt("layers", lambda: embed_layers(model, test, seed=seed))
    if layers is not None:
        folder.write_layers(layers)

    begin("heatmaps")
    examples = attempt("examples", lambda: explain_examples(model, test, predictions))
    if examples is not None:
        folder.write_examples(examples)
    explained = attempt("explanations", lambda: explain_images(model, test, predictions))
    if explained is not None:
        folder.write_explanations(explained[0])
    located = attempt("localization", lambda: localize(model, test, predictions))
    if located is not None:
        folder.write_localization(located)
    begin("randomization test of the heatmaps")
    check = attempt("randomization", lambda: randomization_test(model, test, predictions))
    if check is not None:
        folder.write_randomization(check)
    begin("stress tests")
    stressed = attempt("stress", lambda: stress_predictions(model, val, test))
    if stressed is not None:
        folder.write_stress(stressed)
    profile = attempt("profile", lambda: profile_files(test.records, spec))
    if profile is not None:
        folder.write_profile(profile)

    described = attempt("reference", reference)
    if described is not None:
        folder.write_reference(described)

    if embedding is None:
        missing["embedding_page"] = "the embedding is missing"
    else:
        coordinates, heatmaps = embedding.coordinates, None if explained is None else explained[1]
        attempt(
            "embedding_page",
            lambda: _write_page(folder, test, predictions, coordinates, heatmaps),
        )
    return settings, missing


def _write_page(
    folder: RunFolder,
    test: StratifiedResplit,
    predictions: Predictions,
    coordinates: npt.NDArray[np.float64],
    heatmaps: npt.NDArray[np.float32] | None,
) -> None:
    from cxrtransfer.plots import write_embedding_page  # noqa: PLC0415  (imports matplotlib)

    indices = draw_images(len(test))
    shown = f"{len(indices):,}" + (f" of {len(test):,}" if len(indices) < len(test) else "")
    write_embedding_page(
        folder.embedding_page,
        coordinates[indices],
        predictions.labels[indices],
        predictions.predicted[indices],
        predictions.class_names,
        [test.image(index) for index in indices.tolist()],
        heatmaps=None if heatmaps is None else list(heatmaps),
        probabilities=predictions.probabilities[indices],
        ids=[predictions.ids[index] for index in indices],
        title=f"{folder.name}: t-SNE of {shown} test images",
    )
