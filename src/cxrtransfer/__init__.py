"""Transfer-learning classification of chest X-rays.

The names below are those most scripts need; the subpackages have the rest. They are imported on
first use, so that ``import cxrtransfer`` is fast and imports neither torch nor matplotlib.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from .data import StratifiedResplit
    from .deploy import Classifier
    from .embedding import embed_tsne
    from .explain import GradCAM
    from .models import build_finetune_model
    from .training import WeightedTrainer

__all__ = [
    "Classifier",
    "GradCAM",
    "StratifiedResplit",
    "WeightedTrainer",
    "__version__",
    "build_finetune_model",
    "embed_tsne",
]

_HOMES = {
    "Classifier": "deploy",
    "GradCAM": "explain",
    "StratifiedResplit": "data",
    "WeightedTrainer": "training",
    "build_finetune_model": "models",
    "embed_tsne": "embedding",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name == "__version__":  # not on import: the package may be on the path, not installed
        from importlib.metadata import version  # noqa: PLC0415  (slow to import)

        return version("cxrtransfer")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
