"""Fine-tune a network with class weights, keep its best epoch, survive interruption."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cxrtransfer.errors import NonFiniteLossError
from cxrtransfer.evaluation import Predictions, compute_metrics
from cxrtransfer.inference import (
    ImageData,
    class_names_of,
    extract_features,
    ids_of,
    labels_of,
    predict,
    predict_logits,
    probabilities_of,
)
from cxrtransfer.models import set_train_mode
from cxrtransfer.runtime import (
    Precision,
    autocast,
    canonical_json,
    preserve_rng,
    resolve_device,
    resolve_precision,
    seed_everything,
    text_digest,
    to_device,
)
from cxrtransfer.types import StrPath

from .callbacks import Callback
from .checkpoint import CHECKPOINT_NAME, load_checkpoint, save_checkpoint
from .config import TrainConfig
from .history import History
from .losses import ClassWeights, resolve_class_weights, weighted_cross_entropy

__all__ = ["WeightedTrainer"]

_logger = logging.getLogger(__name__)

# The loss is looked at once in so many steps: on a GPU every look waits for the device.
_STEPS_BETWEEN_CHECKS = 20


class WeightedTrainer:
    r"""Fine-tune a classifier with a weighted cross-entropy.

    With class weights :math:`w` and the training labels :math:`y_1 \dots y_N`, the quantity that
    is minimised, and reported as ``train_loss``, is

    .. math:: \frac{\sum_i w_{y_i} \, \ell_i}{\sum_i w_{y_i}}

    over the whole split. A step on a batch of :math:`n` images divides its weighted sum by
    :math:`n \bar w`, with :math:`\bar w` the mean weight of a training image, so that every image
    keeps its weight whatever else is in its batch; ``torch.nn.CrossEntropyLoss(weight=w)`` divides
    by the weights of the batch instead. Without class weights the two agree.

    The weights of the epoch with the lowest ``val_loss`` are in the model when :meth:`fit`
    returns. The model is moved to the device and stays there.

    Args:
        model: A network that gives ``(N, K)`` logits; trained in place. Frozen parts
            (``requires_grad=False`` on all parameters of a module) stay exactly as they are,
            running statistics of batch normalisation included.
        class_weights: ``None``, ``"balanced"``, numbers in label order, or a mapping by class
            name.
        lr: Learning rate of AdamW; the default is the study's.
        weight_decay: Decoupled weight decay.
        batch_size: Images per step; ignored where a ``DataLoader`` is passed.
        epochs: Most passes over the training split.
        early_stopping: Epochs without a lower ``val_loss`` after which training ends; ``None``
            for never.
        seed: Seed of shuffling and dropout; global generators are left as they were found.
        precision: ``"auto"`` is bfloat16 or float16 where the hardware is faster with it.
        device: ``"auto"`` is a GPU where there is one.
        run_dir: Folder for a checkpoint after every epoch. :meth:`fit` with the same folder,
            settings and data goes on where it stopped. ``None`` keeps nothing.
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
        device: str | torch.device = "auto",
        run_dir: StrPath | None = None,
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
        )
        self.device = resolve_device(device)
        self.precision: Literal["fp32", "bf16", "fp16"] = resolve_precision(precision, self.device)
        self.run_dir = Path(run_dir) if run_dir is not None else None
        self.num_workers = num_workers
        self.progress = progress
        self.callbacks = tuple(callbacks)

    def fit(self, train: ImageData, val: ImageData) -> History:
        """Train on one split and choose the epoch on the other.

        Args:
            train: Dataset of ``(image, label)``, or a loader; a plain dataset is shuffled.
            val: Dataset or in-order loader that chooses the epoch. Never pass test images.

        Returns:
            The history; the model holds the weights of ``history.best_epoch``.

        Raises:
            ValueError: If class weights or labels do not fit the classes.
            RunFolderError: If ``run_dir`` holds a run with other settings or data.
            NonFiniteLossError: If the loss became infinite or NaN; names epoch and batch.
        """
        labels = labels_of(train)
        class_names = class_names_of(train) or tuple(str(k) for k in range(labels.max() + 1))
        class_weight = resolve_class_weights(self.config.class_weights, labels, class_names)
        identity = self._identity(train, val, labels, class_weight)
        with preserve_rng():
            return self._fit(
                train, val, class_weight, float(class_weight[labels].mean()), identity
            )

    def predict(self, data: ImageData) -> Predictions:
        """Classify every image with the model as it is now; see :func:`cxrtransfer.inference.predict`."""
        return predict(
            self.model,
            data,
            batch_size=2 * self.config.batch_size,
            device=self.device,
            precision=self.precision,
            num_workers=self.num_workers,
            progress=self.progress,
        )

    def features(self, data: ImageData) -> npt.NDArray[np.float32]:
        """Read the head's input for every image: ``(N, F)`` float32, in the dataset's order."""
        return extract_features(
            self.model,
            data,
            batch_size=2 * self.config.batch_size,
            device=self.device,
            precision=self.precision,
            num_workers=self.num_workers,
            progress=self.progress,
        )

    def _fit(
        self,
        train: ImageData,
        val: ImageData,
        class_weight: Tensor,
        mean_weight: float,
        identity: Mapping[str, Any],
    ) -> History:
        to_device(self.model, self.device)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not parameters:
            raise ValueError("the model must have a parameter to train, but all are frozen")
        optimizer = torch.optim.AdamW(
            parameters, lr=self.config.lr, weight_decay=self.config.weight_decay
        )
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        rows: list[dict[str, float]] = []
        best_epoch, best_state = 0, {}
        saved = load_checkpoint(self.run_dir, identity) if self.run_dir else None
        if saved:
            self.model.load_state_dict(saved["model"])
            optimizer.load_state_dict(saved["optimizer"])
            scaler.load_state_dict(saved["scaler"])
            rows, best_epoch, best_state = saved["rows"], saved["best_epoch"], saved["best_model"]
            _logger.info("resuming %s after epoch %d", self.run_dir, len(rows))

        loader = self._train_loader(train)
        class_weight = class_weight.to(self.device)
        while len(rows) < self.config.epochs and not self._is_patience_over(rows, best_epoch):
            epoch = len(rows) + 1
            started = time.perf_counter()
            # Every epoch draws from its own seed, so an epoch that is run again, or run after a
            # restart, sees the same order and the same dropout.
            self._seed_epoch(epoch, loader)
            train_loss = self._train_epoch(
                loader, optimizer, scaler, class_weight, mean_weight, epoch
            )
            row = {"epoch": epoch, "train_loss": train_loss, **self._validate(val, class_weight)}
            row |= {"lr": optimizer.param_groups[0]["lr"]}
            row |= {"seconds": time.perf_counter() - started}
            rows.append(row)
            if best_epoch == 0 or row["val_loss"] < rows[best_epoch - 1]["val_loss"]:
                best_epoch = epoch
                best_state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            if self.run_dir:
                save_checkpoint(
                    self.run_dir,
                    {
                        "identity": dict(identity),
                        "rows": rows,
                        "model": self.model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "scaler": scaler.state_dict(),
                        "best_epoch": best_epoch,
                        "best_model": best_state,
                    },
                )
            for callback in self.callbacks:
                callback.on_epoch_end(row)
        self.model.load_state_dict(best_state)
        return History(
            rows=tuple(rows),
            best_epoch=best_epoch,
            stopped_early=self._is_patience_over(rows, best_epoch),
        )

    def _train_epoch(
        self,
        loader: DataLoader[Any],
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        class_weight: Tensor,
        mean_weight: float,
        epoch: int,
    ) -> float:
        """Make one pass over the training split and return its weighted mean loss."""
        set_train_mode(self.model)
        losses: list[Tensor] = []
        weights: list[Tensor] = []
        for images, labels in self._with_bar(loader, f"epoch {epoch}/{self.config.epochs}"):
            images = images.to(  # noqa: PLW2901
                self.device, non_blocking=True, memory_format=torch.channels_last
            )
            labels = labels.to(self.device, non_blocking=True)  # noqa: PLW2901
            with autocast(self.device, self.precision):
                logits = self.model(images)
            if logits.shape[1] != len(class_weight):
                raise ValueError(
                    f"the network must have one output for each of {len(class_weight)} classes, "
                    f"got {logits.shape[1]}; build it with num_classes={len(class_weight)}"
                )
            loss, weight = weighted_cross_entropy(logits, labels, class_weight)
            scaler.scale(loss / (len(labels) * mean_weight)).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
            weights.append(weight)
            if self.device.type == "cpu" or len(losses) % _STEPS_BETWEEN_CHECKS == 0:
                self._check_finite(losses[-_STEPS_BETWEEN_CHECKS:], len(losses), epoch)
        self._check_finite(losses[-_STEPS_BETWEEN_CHECKS:], len(losses), epoch)
        return float(torch.stack(losses).double().sum() / torch.stack(weights).double().sum())

    def _check_finite(self, recent: Sequence[Tensor], num_steps: int, epoch: int) -> None:
        finite = torch.stack(list(recent)).isfinite().tolist()
        if all(finite):
            return
        batch = num_steps - len(finite) + finite.index(False) + 1
        kept = (
            f"the last good epoch is in {self.run_dir / CHECKPOINT_NAME}"
            if self.run_dir and (self.run_dir / CHECKPOINT_NAME).exists()
            else "nothing was saved"
        )
        raise NonFiniteLossError(
            f"the training loss must be finite, got {float(recent[finite.index(False)])} in epoch "
            f"{epoch}, batch {batch}; lower lr (now {self.config.lr:g}), check the images for "
            f"infinite values, or set precision='fp32' (now {self.precision}); {kept}"
        )

    def _validate(self, val: ImageData, class_weight: Tensor) -> dict[str, float]:
        outputs = predict_logits(
            self.model,
            val,
            batch_size=2 * self.config.batch_size,
            device=self.device,
            precision=self.precision,
            num_workers=self.num_workers,
        )
        loss, weight = weighted_cross_entropy(
            torch.from_numpy(outputs.logits).double(),
            torch.from_numpy(outputs.labels),
            class_weight.cpu(),
        )
        metrics = compute_metrics(
            Predictions(
                ids=ids_of(val, len(outputs.labels)),
                labels=outputs.labels,
                probabilities=probabilities_of(outputs.logits),
                class_names=class_names_of(val)
                or tuple(str(k) for k in range(outputs.logits.shape[1])),
            )
        )
        return {
            "val_loss": float(loss / weight),
            "val_accuracy": metrics.accuracy,
            "val_f1": metrics.f1_macro,
            "val_auroc": metrics.auroc,
        }

    def _is_patience_over(self, rows: Sequence[Mapping[str, float]], best_epoch: int) -> bool:
        patience = self.config.early_stopping
        return patience is not None and len(rows) - best_epoch >= patience and best_epoch > 0

    def _train_loader(self, train: ImageData) -> DataLoader[Any]:
        if isinstance(train, DataLoader):
            return train
        return DataLoader(
            train,
            batch_size=self.config.batch_size,
            shuffle=True,
            generator=torch.Generator(),
            num_workers=self.num_workers,
            pin_memory=self.device.type == "cuda",
        )

    def _seed_epoch(self, epoch: int, loader: DataLoader[Any]) -> None:
        seed = int(np.random.SeedSequence([self.config.seed, epoch]).generate_state(1)[0])
        seed_everything(seed)
        if loader.generator is not None:
            loader.generator.manual_seed(seed)

    def _with_bar(self, loader: DataLoader[Any], title: str) -> Any:  # noqa: ANN401
        if not self.progress:
            return loader
        from tqdm.auto import tqdm  # noqa: PLC0415  (only where a bar is wanted)

        return tqdm(loader, desc=title, unit="batch", leave=False)

    def _identity(
        self,
        train: ImageData,
        val: ImageData,
        labels: npt.NDArray[np.int64],
        class_weight: Tensor,
    ) -> dict[str, str]:
        """Say what must not change between two calls that share a run folder."""
        settings = asdict(self.config)
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
