"""What is checked and prepared before a run: its settings, split, folder, network and images."""

import logging
import warnings
from dataclasses import dataclass
from typing import Any

from torch import nn

from cxrtransfer.config import RunConfig
from cxrtransfer.data import (
    Augment,
    Records,
    StratifiedResplit,
    acquisition_groups,
    balanced_weights,
    resplit,
)
from cxrtransfer.errors import (
    IncompatibleWeightsError,
    LeakageWarning,
    RunFolderError,
    WeightsNotFoundError,
)
from cxrtransfer.models import build_finetune_model, get_head, input_spec, refine_maps
from cxrtransfer.runtime import preserve_rng, seed_everything
from cxrtransfer.training import resolve_class_weights
from cxrtransfer.types import InputSpec, Split, StrPath

from .image_files import ImageFiles
from .run_folder import RunFolder
from .run_result import positive_class

__all__ = [
    "SPLITS",
    "Datasets",
    "Plan",
    "build_network",
    "check_config",
    "plan_run",
    "split_records",
]

_logger = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Plan:
    """A planned run: its images are split, and its folder is free for it.

    Attributes:
        config: Configuration of the run.
        records: The images, split.
        digest: Digest of the split images.
        folder: Folder of the run.
    """

    config: RunConfig
    records: Records
    digest: str
    content_digest: str
    folder: RunFolder

    def claim(self) -> None:
        """Write the configuration and the digests of the images into a new folder."""
        if self.folder.read_claim() is None:
            self.folder.write_claim(_claim(self.config, self.digest, self.content_digest))


def check_config(config: RunConfig, records: Records, folder: RunFolder) -> None:
    """Check what a configuration says of the classes, the augmentation and pretrained weights.

    Raises:
        ValueError: If the positive class or a strength of the augmentation is unknown, or the
            class weights do not fit the classes.
        WeightsNotFoundError: If the pretrained weights cannot be found.
        IncompatibleWeightsError: If they do not fit the network.
    """
    positive_class(config, records.class_names)
    _augment(config)
    resolve_class_weights(config.training.class_weights, records.labels, records.class_names)
    if config.pretrained and not folder.is_complete:
        try:
            build_network(config, len(records.class_names))
        except (WeightsNotFoundError, IncompatibleWeightsError):
            raise
        except Exception:
            _logger.debug("%s cannot be built", config.model, exc_info=True)


def split_records(records: Records, config: RunConfig) -> Records:
    """Split images as a configuration says."""
    return resplit(
        records,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        group_by=config.group_by,
        seed=config.split_seed,
    )


def plan_run(config: RunConfig, source: Records, folder: RunFolder, images: ImageFiles) -> Plan:
    """Split the images for a run, and check that its folder is free for it; write nothing.

    Args:
        config: Configuration of the run.
        source: The images.
        folder: Folder of the run.
        images: State of the image files.

    Raises:
        ValueError: If the images cannot be split as configured, or a split is empty.
        RunFolderError: If the folder holds a run with other settings or images.
    """
    records = split_records(source, config)
    empty = [split for split in SPLITS if not len(records.where(split))]
    if empty:
        raise ValueError(
            f"each split must have at least one image, got none in {' and '.join(empty)}; name "
            "the splits of the images, or hold images out (val_fraction, test_fraction)"
        )
    digest = records.digest()
    content_digest = images.digest(records.ids)
    stored, wanted = folder.read_claim(), _claim(config, digest, content_digest)
    if stored is not None:
        _check_claim(_flat(stored), _flat(wanted), folder)
    return Plan(config, records, digest, content_digest, folder)


def _claim(config: RunConfig, digest: str, content_digest: str) -> dict[str, Any]:
    return {**config.to_dict(), "data digest": digest, "content of the images": content_digest}


def _check_claim(stored: dict[str, Any], wanted: dict[str, Any], folder: RunFolder) -> None:
    changes = [
        f"{key}: {stored.get(key)!r} -> {wanted.get(key)!r}"
        for key in sorted({*wanted, *stored})
        if stored.get(key) != wanted.get(key)
    ]
    if changes:
        raise RunFolderError(
            f"{folder.path} holds another run ({'; '.join(changes)}); "
            "choose another folder, or delete this one to start over"
        )


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Put training settings beside the others, so that each is compared by itself."""
    return {**settings, **settings.get("training", {}), "training": None}


class Datasets:
    """The datasets of the last run, reused by the next run if it needs the same ones.

    Args:
        cache: Folder for decoded images; None decodes into memory.
    """

    def __init__(self, cache: StrPath | None) -> None:
        self.cache = cache
        self._settings: dict[str, Any] = {}
        self._splits: dict[Split, StratifiedResplit] = {}

    def prepare(self, plan: Plan, spec: InputSpec) -> dict[Split, StratifiedResplit]:
        """Return the three splits of a run, decoded only if they differ from the last ones."""
        config = plan.config
        train_only: dict[str, Any] = {
            "augment": _augment(config),
            "upsample": config.upsample,
        }
        shared: dict[str, Any] = {
            "val_fraction": 0.0,  # the records are split already
            "group_by": config.group_by,
            "seed": config.split_seed,
            "input_spec": spec,
            "cache": self.cache,
        }
        is_balanced, is_robust = config.balance == "acquisition", config.training.group_dro > 0
        levers = {"balance": is_balanced, "group_dro": is_robust}
        settings = {**shared, **train_only, **levers, "digest": plan.digest}
        if settings != self._settings:
            self._splits.clear()  # both the old and the new ones may not fit into memory
            for split in SPLITS:
                extra = train_only if split == "train" else {}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", LeakageWarning)  # the audit reports it
                    dataset = StratifiedResplit(plan.records, split, **shared, **extra)
                self._splits[split] = dataset
            if is_balanced or is_robust:
                # The groups are each class and, within it, each cluster of similar acquisition.
                train = self._splits["train"]
                groups = acquisition_groups(map(train.image, range(len(train))), train.labels)
                train.sampling_weights = balanced_weights(groups) if is_balanced else None
                train.groups = groups if is_robust else None
            self._settings = settings
        return self._splits


def _augment(config: RunConfig) -> Augment | None:
    if config.augment == "none":
        return None
    return Augment.preset(config.augment, **config.augment_strengths)


def build_network(config: RunConfig, num_classes: int) -> nn.Module:
    """Build the network of a run; its seed fixes the new weights."""
    with preserve_rng():
        seed_everything(config.training.seed)
        model = build_finetune_model(
            config.model,
            num_classes=num_classes,
            pretrained=config.pretrained,
            mode=config.mode,
            image_size=config.image_size,
        )
    if config.zero_head:
        for parameter in get_head(model)[1].parameters():
            nn.init.zeros_(parameter)
    if config.fine_maps:
        refine_maps(model, input_spec(model).size)
    return model
