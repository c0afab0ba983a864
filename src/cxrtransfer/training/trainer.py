"""Fine-tune a network with class weights, keep its best epoch, survive interruption."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxrtransfer.evaluation import Predictions
from cxrtransfer.files import canonical_json, text_digest
from cxrtransfer.inference import (
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
    Precision,
    current_world,
    deferred_interrupt,
    freed_memory_kept,
    join_world,
    lock_folder,
    preserve_rng,
    resolve_device,
    resolve_precision,
    to_device,
)
from cxrtransfer.types import StrPath

from .callbacks import Callback
from .config import Monitor, TrainConfig
from .fit import Run
from .history import History
from .loop import Loop
from .losses import ClassWeights, resolve_class_weights
from .reuse import FeatureSplits, HeadOnFeatures, frozen_features
from .schedule import Schedule

__all__ = ["WeightedTrainer"]


class WeightedTrainer:
    r"""Fine-tune a classifier with a weighted cross-entropy.

    With class weights :math:`w` and the training labels :math:`y_1 \dots y_N`, the quantity that
    is minimized, and reported as ``train_loss``, is

    .. math:: \frac{\sum_i w_{y_i} \, \ell_i}{\sum_i w_{y_i}}

    over the whole split. A step on a batch of :math:`n` images divides its weighted sum by
    :math:`n \bar w`, with :math:`\bar w` the mean weight of a training image, so that every image
    keeps its weight whatever else is in its batch; ``torch.nn.CrossEntropyLoss(weight=w)`` divides
    by the weights of the batch instead. Without class weights the two agree.

    The weights of the best epoch are in the model when :meth:`fit` returns. The model is moved to
    the device and stays there.

    Started by ``torchrun``, the processes share every batch, so the steps are those of one
    process; only the first one writes. Batch normalization sees each process's part by itself.

    Args:
        model: A network that gives ``(N, K)`` logits; trained in place. Frozen parts
            (``requires_grad=False`` on all parameters of a module) stay exactly as they are,
            running statistics of batch normalization included.
        class_weights: ``None``, ``"balanced"``, numbers in label order, or a mapping by class
            name.
        lr: Learning rate; the default is the paper's. This and all settings down to ``compile``
            are explained in :class:`cxrtransfer.training.TrainConfig`; :ref:`settings` sets the
            defaults beside those of the command ``cxrtransfer train``.
        weight_decay: Weight decay.
        batch_size: Images per batch; ignored where a ``DataLoader`` is passed.
        epochs: Most passes over the training split.
        early_stopping: Epochs without a better ``monitor`` after which training ends.
        seed: Seed of shuffling and dropout; global generators are left as they were found.
        precision: ``"auto"`` is bfloat16 or float16 where the hardware is faster with it.
        optimizer: ``"adamw"``, ``"adam"`` or ``"sgd"``.
        momentum: Of SGD.
        schedule: ``"constant"``, ``"cosine"`` or ``"one-cycle"``.
        warmup_epochs: Length of a linear rise of the rate.
        accumulate: Batches per optimizer step.
        max_grad_norm: Longest gradient.
        label_smoothing: Share of each label that is spread over the classes.
        ema_decay: Decay of a moving average of the weights.
        layer_decay: Factor on the rate from one stage of the network to the one before it.
        unfreeze_every: Epochs after which one more stage learns.
        monitor: What chooses the best epoch.
        min_change: How much better it must be to count.
        reuse_features: Whether frozen features may be computed once.
        compile: Whether to compile the network.
        device: ``"auto"`` is a GPU where there is one.
        run_dir: Folder for the checkpoint, written after every epoch, every few minutes and on
            Ctrl-C, and for ``history.csv`` and ``history.json``. :meth:`fit` with the same folder,
            settings and data goes on where it stopped. ``None`` keeps nothing.
        checkpoint_every_s: Seconds between checkpoints within an epoch.
        num_workers: Loader processes for plain datasets; 0 suits images held in memory.
        progress: Whether to show a bar.
        callbacks: Told of every finished epoch.

    Raises:
        ValueError: If a setting is outside its range.

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
        class_weights: ClassWeights = None,
        lr: float = 1e-5,
        weight_decay: float = 0.0,
        batch_size: int = 16,
        epochs: int = 10,
        early_stopping: int | None = None,
        seed: int = 0,
        precision: Precision = "auto",
        optimizer: Literal["adamw", "adam", "sgd"] = "adamw",
        momentum: float = 0.9,
        schedule: Schedule = "constant",
        warmup_epochs: float = 0.0,
        accumulate: int = 1,
        max_grad_norm: float | None = None,
        label_smoothing: float = 0.0,
        ema_decay: float | None = None,
        layer_decay: float | None = None,
        unfreeze_every: int | None = None,
        monitor: Monitor = "val_loss",
        min_change: float = 0.0,
        reuse_features: Literal["auto", "never"] = "auto",
        compile: bool = False,  # noqa: A002  (torch's own word)
        device: str | torch.device = "auto",
        run_dir: StrPath | None = None,
        checkpoint_every_s: float = 300.0,
        num_workers: int = 0,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.model = model
        self.config = TrainConfig(
            class_weights=class_weights,
            lr=lr,
            weight_decay=weight_decay,
            batch_size=batch_size,
            epochs=epochs,
            early_stopping=early_stopping,
            seed=seed,
            precision=precision,
            optimizer=optimizer,
            momentum=momentum,
            schedule=schedule,
            warmup_epochs=warmup_epochs,
            accumulate=accumulate,
            max_grad_norm=max_grad_norm,
            label_smoothing=label_smoothing,
            ema_decay=ema_decay,
            layer_decay=layer_decay,
            unfreeze_every=unfreeze_every,
            monitor=monitor,
            min_change=min_change,
            reuse_features=reuse_features,
            compile=compile,
        )
        self.device = resolve_device(device)
        self.precision: Literal["fp32", "bf16", "fp16"] = resolve_precision(precision, self.device)
        self.run_dir = Path(run_dir) if run_dir is not None else None
        self.checkpoint_every_s = checkpoint_every_s
        self.num_workers = num_workers
        self.world = current_world()
        self.progress = progress and self.world.is_main
        self.callbacks = tuple(callbacks)

    def fit(self, train: ImageData, val: ImageData) -> History:
        """Train on one split and choose the epoch on the other.

        The first Ctrl-C, or SIGTERM, lets the step end and writes a checkpoint.

        Args:
            train: Dataset of ``(image, label)``, or a loader; a plain dataset is shuffled.
            val: Dataset or in-order loader that chooses the epoch. Never pass test images.

        Returns:
            The history; the model holds the weights of ``history.best_epoch``.

        Raises:
            ValueError: If class weights or labels do not fit the classes.
            RunFolderError: If ``run_dir`` holds a run with other settings or data, is in use by
                another process, or cannot be written to.
            NonFiniteLossError: If the loss became infinite or NaN; names epoch, batch and images.
            MemoryError: If a batch does not fit; says what to try.
        """
        labels = labels_of(train)
        class_names = class_names_of(train) or tuple(str(k) for k in range(labels.max() + 1))
        class_weight = resolve_class_weights(self.config.class_weights, labels, class_names)
        identity = self._identity(train, val, labels, class_weight)
        with ExitStack() as stack:
            if self.run_dir and self.world.is_main:
                stack.enter_context(lock_folder(self.run_dir))
            stack.enter_context(_memory_explained(self.config))
            stack.enter_context(preserve_rng())
            stack.enter_context(freed_memory_kept())
            self.world, self.device = join_world(self.device)
            to_device(self.model, self.device)
            self.world.broadcast(self.model.state_dict().values())
            features = self._frozen_features(train, val)
            loader, batches = train_loader(
                features.train if features else train,
                self.config.batch_size,
                world=self.world,
                num_workers=0 if features else self.num_workers,
                device=self.device,
            )
            network = HeadOnFeatures(self.model) if features else self.model
            run = Run(
                self.model,
                torch.compile(network) if self.config.compile else network,
                self.config,
                class_weight=class_weight,
                mean_weight=float(class_weight[labels].mean()),
                steps_per_epoch=-(len(loader) // -self.config.accumulate),
                device=self.device,
                precision=self.precision,
                world=self.world,
            )
            loop = Loop(
                run=run,
                loader=loader,
                batches=batches,
                train=train,
                val=val,
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
        """Classify every image with the model as it is; :func:`cxrtransfer.inference.predict`."""
        return predict(self.model, data, progress=self.progress, **self._inference())

    def features(self, data: ImageData) -> npt.NDArray[np.float32]:
        """Read the head's input for every image: ``(N, F)`` float32, in the dataset's order."""
        return extract_features(self.model, data, progress=self.progress, **self._inference())

    def _inference(self) -> dict[str, Any]:
        return {
            "batch_size": 2 * self.config.batch_size,
            "device": self.device,
            "precision": self.precision,
            "num_workers": self.num_workers,
        }

    def _frozen_features(self, train: ImageData, val: ImageData) -> FeatureSplits | None:
        if self.config.reuse_features == "never" or self.config.unfreeze_every is not None:
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
        class_weight: Tensor,
    ) -> dict[str, str]:
        """Say what must not change between two calls that share a run folder."""
        settings = asdict(self.config)
        if self.config.schedule == "constant":
            # A run may be prolonged; every other setting is part of what it is.
            del settings["epochs"]
        settings["class_weights"] = class_weight.tolist()
        val_labels = labels_of(val)
        shapes = {name: list(value.shape) for name, value in self.model.state_dict().items()}
        return {
            **{name: str(value) for name, value in settings.items()},
            "train images": _data_digest(ids_of(train, len(labels)), labels),
            "val images": _data_digest(ids_of(val, len(val_labels)), val_labels),
            "network": text_digest(canonical_json(shapes))[:12],
        }


def _data_digest(ids: Sequence[str], labels: npt.NDArray[np.int64]) -> str:
    return text_digest("\n".join(f"{i}\t{y}" for i, y in zip(ids, labels, strict=True)))[:12]


@contextmanager
def _memory_explained(config: TrainConfig) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        # On a CPU torch raises a plain RuntimeError.
        if not isinstance(error, torch.OutOfMemoryError) and "t allocate memory" not in str(error):
            raise
        smaller = (
            f"batch_size={config.batch_size // 2}, accumulate={2 * config.accumulate}, which "
            "takes the same steps, "
            if config.batch_size > 1
            else ""
        )
        raise MemoryError(
            f"a batch of {config.batch_size} does not fit into memory; try {smaller}smaller "
            f"images, or mode='features'; torch said: {error}"
        ) from error
