"""Shortcuts: how well file properties alone predict the class."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrtransfer.data.images.decode import ImageInfo
from cxrtransfer.data.records import Records
from cxrtransfer.data.splits import k_folds

__all__ = ["shortcut_aurocs"]


def shortcut_aurocs(records: Records, infos: Sequence[ImageInfo]) -> dict[str, float]:
    """Return the AUROC of the class by width, height, aspect ratio, mode and file format.

    Args:
        records: The images.
        infos: Size, mode and format of each image.

    Returns:
        Out-of-fold AUROC of a small decision tree by each property and by all of them, averaged
        over more than two classes; NaN if a class has too few patients for five folds.
    """
    modes, formats = (sorted({getattr(info, of) for info in infos}) for of in ("mode", "format"))
    columns = {
        "width": [info.width for info in infos],
        "height": [info.height for info in infos],
        "aspect": [info.width / info.height for info in infos],
        "mode": [modes.index(info.mode) for info in infos],
        "format": [formats.index(info.format) for info in infos],
    }
    table = np.array(list(columns.values()), dtype=np.float64).T  # (N, 5)
    tables = {name: table[:, [column]] for column, name in enumerate(columns)}
    tables["all"] = table
    try:
        folds = k_folds(records.labels, records.patient_ids, num_folds=5, seed=0)
    except ValueError:
        return dict.fromkeys(tables, float("nan"))
    return {name: _auroc(part, records.labels, folds) for name, part in tables.items()}


def _auroc(
    table: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], folds: npt.NDArray[np.int64]
) -> float:
    # Slow to import, and only needed here.
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415

    probabilities = np.zeros((len(labels), len(np.unique(labels))))
    for fold in np.unique(folds):
        tree = DecisionTreeClassifier(
            max_depth=4, min_samples_leaf=5, class_weight="balanced", random_state=0
        ).fit(table[folds != fold], labels[folds != fold])
        probabilities[folds == fold] = tree.predict_proba(table[folds == fold])
    probabilities = probabilities.round(6)  # trees of a single leaf differ in the last digits
    scores = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    return float(roc_auc_score(labels, scores, multi_class="ovr"))
