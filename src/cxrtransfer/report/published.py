"""Published results on the 624 original test images, for comparison with measured ones."""

from collections.abc import Mapping
from dataclasses import dataclass

from cxrtransfer.config import TrainConfig
from cxrtransfer.study import RunConfig, RunResult, StudyResults

__all__ = [
    "CITED_STUDIES",
    "PUBLISHED",
    "CitedStudy",
    "PublishedResult",
    "is_weighted",
    "paper_runs",
    "protocol_of",
    "published_for",
]


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """One published result.

    Attributes:
        source: Where it was published.
        model: Name of the network.
        weighted: Whether class weights [100, 1] were used.
        early_stopping: Whether training was stopped early by the validation loss.
        accuracy: Accuracy on the original test split.
        f1_macro: Macro F1 (the paper's F1); None if not published.
        auroc: Area under the ROC curve; None if not published.
    """

    source: str
    model: str
    weighted: bool
    early_stopping: bool = False
    accuracy: float
    f1_macro: float | None = None
    auroc: float | None = None

    def metrics(self) -> dict[str, float]:
        """Return the published metrics by name."""
        values = {"accuracy": self.accuracy, "f1_macro": self.f1_macro, "auroc": self.auroc}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class CitedStudy:
    """A study on which the paper builds, with its published metrics.

    Attributes:
        source: Authors and year.
        doi: Digital object identifier.
        method: What was trained.
        data: Images and how they were split.
        metrics: Published metrics, by name.
    """

    source: str
    doi: str
    method: str
    data: str
    metrics: Mapping[str, float]


CITED_STUDIES = {
    "kundu2021": CitedStudy(
        source="Kundu et al. 2021",
        doi="10.1371/journal.pone.0256630",
        method="weighted ensemble of GoogLeNet, ResNet-18 and DenseNet-121",
        data="all 5,856 Kermany images, five folds by image",
        metrics={"accuracy": 0.9881},
    ),
    "kundu2021-rsna": CitedStudy(
        source="Kundu et al. 2021",
        doi="10.1371/journal.pone.0256630",
        method="weighted ensemble of GoogLeNet, ResNet-18 and DenseNet-121",
        data="RSNA pneumonia challenge, five folds by image",
        metrics={"accuracy": 0.8685},
    ),
    "manickam2021": CitedStudy(
        source="Manickam et al. 2021",
        doi="10.1016/j.measurement.2021.109953",
        method="fine-tuned ResNet-50",
        data="Kermany images",
        metrics={"accuracy": 0.9306},
    ),
    "kermany2018": CitedStudy(
        source="Kermany et al. 2018",
        doi="10.1016/j.cell.2018.02.010",
        method="classifier on fixed features of Inception-v3",
        data="original test split of 624 images",
        metrics={"accuracy": 0.928, "recall": 0.932, "specificity": 0.901, "auroc": 0.968},
    ),
}

NUM_TEST_IMAGES = 624  # of the original test split, which all published results are on

PUBLISHED = (
    *(
        PublishedResult(
            source="the paper, Figure 7",
            model=model,
            weighted=weighted,
            accuracy=accuracy,
            auroc=auroc,
            f1_macro=f1_macro,
        )
        for model, weighted, accuracy, auroc, f1_macro in (
            ("googlenet", False, 0.889, 0.968, 0.875),
            ("googlenet", True, 0.803, 0.954, 0.802),
            ("resnet50", False, 0.864, 0.964, 0.841),
            ("resnet50", True, 0.921, 0.974, 0.914),
            ("densenet121", False, 0.846, 0.944, 0.818),
            ("densenet121", True, 0.843, 0.938, 0.812),
        )
    ),
    PublishedResult(
        source="the paper, early stopping",
        model="resnet50",
        weighted=True,
        early_stopping=True,
        accuracy=0.931,
        f1_macro=0.925,
    ),
)


def published_for(
    config: RunConfig, num_test_images: int = NUM_TEST_IMAGES
) -> PublishedResult | None:
    """Return the published result that a run repeats, or None.

    Args:
        config: Configuration of the run.
        num_test_images: Number of its test images. Only results on the 624 original test images
            are comparable.
    """
    training = config.training
    weighted, early = training.class_weights is not None, training.early_stopping is not None
    if num_test_images != NUM_TEST_IMAGES or training.class_weights not in (None, (100.0, 1.0)):
        return None
    settings = (config.model, weighted, early)
    results = {(each.model, each.weighted, each.early_stopping): each for each in PUBLISHED}
    return results.get(settings)


def paper_runs(study: StudyResults) -> tuple[RunResult, ...]:
    """Return the runs with the paper's weights, weight decay and learning-rate schedule.

    Network, learning rate, epochs and protocol may differ. Empty unless some runs are weighted
    and some are not: any other study has nothing in common with the paper's figures.
    """
    settings = {
        _paper_settings(TrainConfig.paper(weighted=weighted)) for weighted in (False, True)
    }
    runs = tuple(run for run in study.runs if _paper_settings(run.config.training) in settings)
    return runs if len({is_weighted(run) for run in runs}) == 2 else ()


def is_weighted(run: RunResult) -> bool:
    """Return whether a run has class weights."""
    return run.config.training.class_weights is not None


def protocol_of(config: RunConfig) -> str:
    """Name the protocol of a run: ``"paper"``, ``"recommended"``, or ``"other"``.

    See :func:`cxrtransfer.study.paper_grid`.
    """
    training, names = config.training, ("paper", "recommended")
    choices: tuple[object, ...] = (
        config.group_by,
        training.loss_normalization,
        training.select,
        training.monitor,
        config.augment,
    )
    last = "best" if training.early_stopping else "last"
    known: tuple[tuple[object, ...], ...] = (
        (None, "batch", last, "val_loss", "none"),
        ("patient_id", "split", "best", "val_loss", "none"),
    )
    return dict(zip(known, names, strict=True)).get(choices, "other")


def _paper_settings(training: TrainConfig) -> tuple[object, ...]:
    return training.class_weights, training.weight_decay, training.schedule, training.optimizer
