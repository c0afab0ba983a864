"""The trainer."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxrtransfer.config import TrainConfig, TrainSettings
from cxrtransfer.evaluation import Predictions
from cxrtransfer.files import canonical_json, expand, text_digest
from cxrtransfer.inference import (
    EpochBatches,
    ImageData,
    class_names_of,
    extract_features,
    ids_of,
    labels_of,
    predict,
    predict_logits,
    train_loader,
)
from cxrtransfer.runtime import (
    current_world,
    deferred_interrupt,
    freed_memory_kept,
    join_world,
    lock_folder,
    preserve_rng,
    resolve_device,
    resolve_precision,
    threads_for,
    to_device,
)
from cxrtransfer.types import StrPath

from .callbacks import Callback
from .checks import (
    check_batch_norm,
    check_data,
    check_labels,
    check_outputs,
    check_weights,
)
from .history import History
from .loop import FitLoop
from .losses import resolve_class_weights
from .reuse import FeatureSplits, HeadOnFeatures, frozen_features
from .state import FitState

__all__ = ["WeightedTrainer"]


class WeightedTrainer:
    r"""Fine-tune a classifier with a weighted cross-entropy.

    With class weights :math:`w` and the training labels :math:`y_1 \dots y_N`, the loss that is
    minimized, and reported as ``train_loss``, is

    .. math:: \frac{\sum_i w_{y_i} \, \ell_i}{\sum_i w_{y_i}}

    over the whole split. A step on a batch of :math:`n` images divides its weighted sum by
    :math:`n \bar w`, where :math:`\bar w` is the mean weight of a training image, so that every
    image keeps its weight whatever the rest of its batch; ``torch.nn.CrossEntropyLoss(weight=w)``
    divides by the weights of the batch instead. Without class weights the two are identical.

    When :meth:`fit` returns, the model holds the weights of the best epoch. It is moved to the
    device and stays there.

    Under ``torchrun`` the processes share every batch, so that the steps are those of one
    process; only the first process writes files. Batch normalization sees each process's part
    separately.

    Args:
        model: A network with ``(N, K)`` logits; trained in place. Frozen parts
            (``requires_grad=False`` for all parameters of a module) do not change, including the
            running statistics of batch normalization.
        device: ``"auto"`` is a GPU if there is one.
        run_dir: Folder for ``history.csv``, ``history.json`` and a checkpoint, which is written
            after every epoch, every few minutes and on Ctrl-C. :meth:`fit` with the same folder,
            settings and data resumes from it. ``None`` writes nothing.
        checkpoint_every_s: Seconds between checkpoints within an epoch.
        num_workers: Loader processes for plain datasets; 0 suits images held in memory.
        progress: Whether to show a progress bar.
        callbacks: Called after every epoch; a :class:`cxrtransfer.training.FitCallback` also
            before the first epoch and at the end.
        **settings: Fields of :class:`cxrtransfer.training.TrainConfig`, which lists them with
            their defaults. ``batch_size`` has no effect on a ``DataLoader`` for training.

    Attributes:
        config: The settings, as a :class:`cxrtransfer.training.TrainConfig`.

    Raises:
        ValueError: If a setting is outside its range.
        TypeError: If a name is not a setting.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> _ = torch.manual_seed(0)
        >>> data = TensorDataset(torch.randn(8, 3, 8, 8), torch.tensor([0, 1] * 4))
        >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        >>> trainer = WeightedTrainer(network, lr=0.01, epochs=2, progress=False, device="cpu")
        >>> history = trainer.fit(data, data)
        >>> len(history.rows), history.rows[1]["val_loss"] < history.rows[0]["val_loss"]
        (2, True)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        device: str | torch.device = "auto",
        run_dir: StrPath | None = None,
        checkpoint_every_s: float = 300.0,
        num_workers: int = 0,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
        **settings: Unpack[TrainSettings],
    ) -> None:
        self.model = model
        self.config = TrainConfig(**settings)
        self.device = resolve_device(device)
        self.precision = resolve_precision(self.config.precision, self.device)
        self.run_dir = expand(run_dir) if run_dir is not None else None
        self.checkpoint_every_s = checkpoint_every_s
        self.num_workers = num_workers
        self.world = current_world()
        self.progress = progress and self.world.is_main
        self.callbacks = tuple(callbacks)

    def fit(self, train: ImageData, val: ImageData) -> History:
        """Train on one split and select the best epoch on the other.

        The first Ctrl-C or SIGTERM finishes the current step and writes a checkpoint.

        Args:
            train: Dataset of ``(image, label)``, which is shuffled, or a loader.
            val: Dataset or in-order loader that selects the best epoch. Never pass test images.

        Returns:
            The history; the model holds the weights of ``history.best_epoch``.

        Raises:
            TypeError: If the data are not countable pairs of image and label, or the network's
                weights or outputs have the wrong type.
            ValueError: If labels, class weights or outputs do not match the classes, the groups
                that ``group_dro`` needs are missing, or batch normalization would see a batch of
                one image.
            RunFolderError: If ``run_dir`` holds a run with other settings or data, is in use by
                another process, or cannot be written to.
            NonFiniteLossError: If the loss is infinite or NaN; names epoch, batch and images.
            MemoryError: If a batch does not fit into memory; suggests settings.
        """
        for split, data in (("train", train), ("val", val)):
            check_data(data, split)
        check_weights(self.model)
        labels, val_labels = labels_of(train), labels_of(val)
        class_names = class_names_of(train) or tuple(
            str(k) for k in range(1 + labels.max(initial=0))
        )
        check_labels(labels, class_names, "train")
        check_labels(val_labels, class_names, "val")
        class_weight = resolve_class_weights(self.config.class_weights, labels, class_names)
        groups = _groups(train, len(labels)) if self.config.group_dro else None
        identity = self._identity(train, val, labels, val_labels, class_weight)
        with ExitStack() as stack:
            if self.run_dir and self.world.is_main:
                stack.enter_context(lock_folder(self.run_dir))
            stack.enter_context(_explain_out_of_memory(self.config))
            stack.enter_context(preserve_rng())
            stack.enter_context(freed_memory_kept())
            self.world, self.device = join_world(self.device)
            to_device(self.model, self.device)
            self.world.broadcast(self.model.state_dict().values())
            num_values = check_outputs(self.model, val, len(class_names), self.precision)
            features = self._frozen_features(train, val)
            if features:
                num_values = features.train.tensors[0][0].numel()
            if self.device.type == "cpu":
                stack.enter_context(threads_for(self.config.batch_size * num_values))
            loader, batches = train_loader(
                features.train if features else train,
                self.config.batch_size,
                world=self.world,
                num_workers=0 if features else self.num_workers,
                device=self.device,
                weights=getattr(train, "sampling_weights", None),
            )
            network = HeadOnFeatures(self.model) if features else self.model
            if batches and not features and _min_part(batches) == 1:
                check_batch_norm(self.model, train, self.config.batch_size)
            state = FitState(
                self.model,
                torch.compile(network) if self.config.compile else network,
                self.config,
                class_weight=class_weight,
                mean_weight=float(class_weight[labels].mean()),
                num_groups=0 if groups is None else 1 + int(groups.max()),
                steps_per_epoch=-(len(loader) // -self.config.accumulate),
                device=self.device,
                precision=self.precision,
                world=self.world,
            )
            loop = FitLoop(
                state=state,
                loader=loader,
                batches=batches,
                train=train,
                groups=groups,
                val=val,
                val_labels=val_labels,
                features=features,
                identity=identity,
                run_dir=self.run_dir,
                checkpoint_every_s=self.checkpoint_every_s,
                num_workers=self.num_workers,
                callbacks=self.callbacks,
                progress=self.progress,
                interrupt=stack.enter_context(deferred_interrupt()),
            )
            return loop()

    def predict(self, data: ImageData) -> Predictions:
        """Predict class probabilities, see :func:`cxrtransfer.inference.predict`."""
        return predict(self.model, data, progress=self.progress, **self._inference())

    def features(self, data: ImageData) -> npt.NDArray[np.float32]:
        """Extract the head's input for every image: float32 ``(N, F)``, in the dataset's order."""
        return extract_features(self.model, data, progress=self.progress, **self._inference())

    def _inference(self) -> dict[str, Any]:
        return {
            "batch_size": 2 * self.config.batch_size,
            "device": self.device,
            "precision": self.precision,
            "num_workers": self.num_workers,
        }

    def _frozen_features(self, train: ImageData, val: ImageData) -> FeatureSplits | None:
        config = self.config
        is_mixed = config.mixup or config.cutmix  # other images in every epoch
        if config.reuse_features == "never" or config.unfreeze_every is not None or is_mixed:
            return None
        return frozen_features(
            self.model,
            train,
            val,
            extract=self.features,
            logits=lambda data: predict_logits(self.model, data, **self._inference()).logits,
        )

    def _identity(
        self,
        train: ImageData,
        val: ImageData,
        labels: npt.NDArray[np.int64],
        val_labels: npt.NDArray[np.int64],
        class_weight: Tensor,
    ) -> dict[str, str]:
        """Return what must not change between two calls that share a run folder."""
        settings = asdict(self.config)
        if self.config.schedule == "constant":
            # A finished run may be trained for more epochs; other settings may not change.
            del settings["epochs"]
        settings["class_weights"] = class_weight.tolist()
        shapes = {name: list(value.shape) for name, value in self.model.state_dict().items()}
        return {
            **{name: str(value) for name, value in settings.items()},
            "training images": _data_digest(ids_of(train, len(labels)), labels),
            "validation images": _data_digest(ids_of(val, len(val_labels)), val_labels),
            "network": text_digest(canonical_json(shapes))[:12],
        }


def _min_part(batches: EpochBatches) -> int:
    """Return the size of the smallest part of a batch that a process gets."""
    last = batches.num_images % batches.batch_size or batches.batch_size
    return max(1, min(last, batches.batch_size) // batches.world.size)


def _groups(train: ImageData, num_images: int) -> Tensor:
    """Return the group of each training image, numbered from 0 without gaps, int64 ``(N,)``."""
    groups = getattr(train, "groups", None)
    if groups is None or np.shape(groups) != (num_images,):
        got = "none" if groups is None else f"shape {np.shape(groups)}"
        raise ValueError(
            "group_dro needs a dataset whose attribute groups is the group of each training "
            f"image, int64 ({num_images},), such as acquisition_groups() returns, got {got}"
        )
    return torch.from_numpy(np.unique(groups, return_inverse=True)[1].astype(np.int64))


def _data_digest(ids: Sequence[str], labels: npt.NDArray[np.int64]) -> str:
    return text_digest("\n".join(f"{i}\t{y}" for i, y in zip(ids, labels, strict=True)))[:12]


@contextmanager
def _explain_out_of_memory(config: TrainConfig) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # On a CPU torch raises a plain RuntimeError.
        if not isinstance(error, torch.OutOfMemoryError) and "t allocate memory" not in str(error):
            raise
        smaller = (
            f"batch_size={config.batch_size // 2}, accumulate={2 * config.accumulate} (equivalent "
            "steps), "
            if config.batch_size > 1
            else ""
        )
        raise MemoryError(
            f"a batch of {config.batch_size} does not fit into memory; try {smaller}smaller "
            f"images, or mode='features' ({error})"
        ) from error
