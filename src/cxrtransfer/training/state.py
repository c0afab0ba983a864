"""State of a training run: weights, optimizer, results so far."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cxrtransfer.config import TrainConfig
from cxrtransfer.models import set_train_mode, unfreeze
from cxrtransfer.runtime import ResolvedPrecision, World, autocast, rng_state, training_autocast

from .checks import check_logits
from .group_dro import robust_loss
from .history import best_epoch
from .losses import weighted_cross_entropy
from .mixing import mix
from .optim import make_optimizer, set_lr
from .schedule import lr_factor

__all__ = ["Batch", "FitState"]


class Batch(NamedTuple):
    """Input of one forward pass.

    Attributes:
        images: Model input ``(n, C, H, W)``, or features ``(n, F)``.
        labels: int64 ``(n,)``.
        counts: Whether its loss counts. It does not if this process repeats an image of another
            process, because the batch has fewer images than there are processes.
        groups: Group of each image for GroupDRO, int64 ``(n,)``; None without.
    """

    images: Tensor
    labels: Tensor
    counts: bool = True
    groups: Tensor | None = None


class FitState:
    """The network, its optimizer, and the results so far.

    Args:
        model: The network that is trained.
        network: The callable for the forward pass: the model, its compiled form, or its head.
        config: The settings.
        class_weight: Weight of each class, ``(K,)``.
        mean_weight: Mean weight of a training image.
        num_groups: Number of groups for GroupDRO; 0 without.
        steps_per_epoch: Optimizer steps of one epoch.
        device: Device of the network.
        precision: Number format of the forward pass.
        world: The processes that train together.

    Attributes:
        rows: Results of the finished epochs.
        selected_state: Parameters and buffers after the selected one of them.
        losses: Weighted loss of each batch of the current epoch, still on the device.
        weights: Sum of the weights of each of those batches.
        group_weights: Weights of the groups in GroupDRO, ``(G,)``.
        seconds: Time spent on the current epoch before it was interrupted.
    """

    def __init__(
        self,
        model: nn.Module,
        network: Callable[[Tensor], Tensor],
        config: TrainConfig,
        *,
        class_weight: Tensor,
        mean_weight: float,
        num_groups: int,
        steps_per_epoch: int,
        device: torch.device,
        precision: ResolvedPrecision,
        world: World,
    ) -> None:
        self.model = model
        self.network = network
        self.config = config
        self.class_weight = class_weight.to(device)
        self.mean_weight = mean_weight
        self.steps_per_epoch = steps_per_epoch
        self.device = device
        self.precision = precision
        self.world = world
        self.optimizer = make_optimizer(model, config, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.average = _moving_average(model, config)
        self.rows: list[dict[str, float]] = []
        self.selected_state: dict[str, Tensor] = {}
        self.losses: list[Tensor] = []
        self.weights: list[Tensor] = []
        self.group_weights = torch.full((num_groups,), 1 / max(1, num_groups), device=device)
        self.seconds = 0.0

    @property
    def epoch(self) -> int:
        """The current epoch, from 1."""
        return len(self.rows) + 1

    @property
    def steps_done(self) -> int:
        """Finished steps of the current epoch."""
        return -(len(self.losses) // -self.config.accumulate)

    @property
    def best_epoch(self) -> int:
        """The best epoch so far; 0 before the end of the first."""
        return best_epoch(self.rows, self.config.monitor, self.config.min_change)

    @property
    def is_out_of_patience(self) -> bool:
        """Whether early stopping ends training here."""
        patience = self.config.early_stopping
        best = self.best_epoch
        return patience is not None and best > 0 and len(self.rows) - best >= patience

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left."""
        return len(self.rows) >= self.config.epochs or self.is_out_of_patience

    @property
    def evaluated(self) -> nn.Module:
        """The network to validate and to save: the moving average if there is one."""
        return self.model if self.average is None else self.average.module

    def begin_epoch(self) -> None:
        """Set training mode, and unfreeze the stages that are due."""
        if self.config.unfreeze_every is not None:
            unfreeze(self.model, 1 + len(self.rows) // self.config.unfreeze_every)
        set_train_mode(self.model)

    def train_step(self, batches: Sequence[Batch], *, num_images: int) -> None:
        """Take one step of the optimizer.

        Args:
            batches: This process's batches of the step.
            num_images: Number of images of the step, over all batches and processes.
        """
        step = len(self.rows) * self.steps_per_epoch + self.steps_done
        set_lr(self.optimizer, self._lr_factor(step))
        for batch in batches:
            loss, weight = self._loss(batch)
            self.scaler.scale(loss / self._normalizer(weight, num_images, len(batches))).backward()  # type: ignore[no-untyped-call, unused-ignore]
            self.losses.append(loss.detach())
            self.weights.append(weight)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.world.all_reduce(p.grad for p in parameters if p.grad is not None)
        if self.config.max_grad_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model)

    def end_epoch(self) -> float:
        """Synchronize the processes; return the epoch's weighted mean training loss."""
        sums = torch.stack(
            [
                torch.stack(self.losses).cpu().double().sum(),
                torch.stack(self.weights).cpu().double().sum(),
            ]
        ).to(self.device if self.device.type == "cuda" else "cpu")
        self.world.all_reduce([sums])
        if self.world.size > 1:
            # Batch normalization has seen different images in each process.
            statistics = self._statistics()
            self.world.all_reduce(statistics)
            for statistic in statistics:
                statistic.div_(self.world.size)
        self.losses, self.weights, self.seconds = [], [], 0.0
        return float(sums[0] / sums[1])

    def keep_if_selected(self) -> None:
        """Copy the network if the last row is the best, or the last epoch is to be kept.

        Raises:
            ValueError: If ``monitor`` is NaN in every epoch so far.
        """
        if self.best_epoch == 0:
            raise ValueError(
                f"monitor {self.config.monitor!r} must be a number to select the best epoch, got "
                "nan in epoch 1; val_auroc needs every class in the validation split, a loss may "
                "need a lower lr"
            )
        if self.config.select == "last" or self.best_epoch == len(self.rows):
            state = self.evaluated.state_dict()
            self.selected_state = {name: value.detach().clone() for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state that all processes share, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "group_weights": self.group_weights,
            "rows": self.rows,
            "selected_model": self.selected_state,
            "seconds": self.seconds,
        }

    def process_state(self) -> dict[str, Any]:
        """Return the state within an epoch that belongs to this process alone."""
        return {
            "losses": torch.stack(self.losses).cpu() if self.losses else None,
            "weights": torch.stack(self.weights).cpu() if self.weights else None,
            "statistics": [statistic.cpu() for statistic in self._statistics()],
            "rng": rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.group_weights = state["group_weights"].to(self.device)
        self.rows, self.selected_state = state["rows"], state["selected_model"]
        self.seconds = state["seconds"]

    def load_process_state(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`process_state`, except the random number generators."""
        self.losses = list(state["losses"].to(self.device))
        self.weights = list(state["weights"].to(self.device))
        for statistic, value in zip(self._statistics(), state["statistics"], strict=True):
            statistic.copy_(value)

    def _statistics(self) -> list[Tensor]:
        """Buffers that training updates: those of the network and of its moving average."""
        networks = [self.model] if self.average is None else [self.model, self.average.module]
        return [b for network in networks for b in network.buffers() if b.is_floating_point()]

    def _normalizer(
        self, batch_weight: Tensor, num_images: int, num_batches: int
    ) -> Tensor | float:
        """Return what the weighted sum of a batch's losses is divided by."""
        if self.config.loss_normalization == "split":
            return num_images * self.mean_weight
        total = batch_weight.clone()
        self.world.all_reduce([total])
        return total * num_batches

    def _lr_factor(self, step: int) -> float:
        return lr_factor(
            step,
            num_steps=self.steps_per_epoch * self.config.epochs,
            schedule=self.config.schedule,
            warmup_steps=round(self.steps_per_epoch * self.config.warmup_epochs),
        )

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images = batch.images.to(self.device, non_blocking=True)
        if images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        labels = batch.labels.to(self.device, non_blocking=True)
        mixed = mix(images, labels, mixup=self.config.mixup, cutmix=self.config.cutmix)
        # A compiled network has its own kernels.
        precision_context = autocast if self.config.compile else training_autocast
        with precision_context(self.device, self.precision):
            logits = check_logits(
                self.network(images if mixed is None else mixed.images), len(self.class_weight)
            )
        if batch.groups is not None:
            return self._group_loss(logits, labels, batch.groups.to(self.device), batch.counts)
        loss, weight = self._cross_entropy(logits, labels)
        if mixed is not None:
            other_loss, other_weight = self._cross_entropy(logits, mixed.others)
            loss, weight = mixed.combine(loss, other_loss), mixed.combine(weight, other_weight)
        return loss * batch.counts, weight * batch.counts

    def _group_loss(
        self, logits: Tensor, labels: Tensor, groups: Tensor, counts: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of GroupDRO times the size of the batch, and this process's size."""
        losses = functional.cross_entropy(
            logits.float(), labels, reduction="none", label_smoothing=self.config.label_smoothing
        )
        own = slice(None if counts else 0)  # nothing of a repeated image
        size = torch.tensor(float(len(groups[own])), device=self.device)
        loss, self.group_weights = robust_loss(
            losses[own],
            groups[own],
            self.group_weights,
            step_size=self.config.group_dro,
            world=self.world,
        )
        total = size.clone()
        self.world.all_reduce([total])
        return loss * total, size

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return weighted_cross_entropy(
            logits, labels, self.class_weight, label_smoothing=self.config.label_smoothing
        )


def _moving_average(model: nn.Module, config: TrainConfig) -> Any:  # noqa: ANN401  (timm is untyped)
    if config.ema_decay is None:
        return None
    from timm.utils.model_ema import ModelEmaV3  # noqa: PLC0415  (slow to import, rarely needed)

    return ModelEmaV3(model, decay=config.ema_decay)
