"""The training loop: epochs, validation, checkpoints."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from cxrtransfer.errors import NonFiniteLossError, RunFolderError
from cxrtransfer.evaluation import Predictions, compute_metrics
from cxrtransfer.inference import (
    EpochBatches,
    ImageData,
    Outputs,
    TrainLoader,
    class_names_of,
    ids_of,
    predict_logits,
    probabilities_of,
)
from cxrtransfer.layout import CHECKPOINT, RUN_FILES
from cxrtransfer.runtime import Interrupt, autocast, eval_mode, seed_everything, set_rng_state

from .callbacks import Callback, FitCallback, StatefulCallback, StepCallback
from .checkpoint import load_checkpoint, save_checkpoint
from .checks import check_batch
from .history import History
from .losses import weighted_cross_entropy
from .reuse import FeatureSplits, HeadOnFeatures
from .state import Batch, FitState

__all__ = ["FitLoop"]

_logger = logging.getLogger(__name__)

# On a GPU the losses are read every so many steps, because reading them waits for the device.
_STEPS_BETWEEN_CHECKS = 20
_MAX_NAMED_IMAGES = 8


@dataclass(kw_only=True)
class FitLoop:
    """One call of ``fit``.

    Attributes:
        state: Network, optimizer, results so far.
        loader: Batches of the training split, images or features.
        batches: The images of each batch; None for a loader of the caller's own.
        train: The training split, for the names of its images.
        groups: Group of each of them for GroupDRO, int64 ``(N,)``; None without.
        val: The validation split.
        val_labels: Its labels, ``(N,)``.
        features: Frozen features of both splits, if they are reused.
        identity: Settings that must not change between calls that share a folder.
        run_dir: Folder of the checkpoint; None to write nothing.
        checkpoint_every_s: Seconds between checkpoints within an epoch.
        num_workers: Loader processes for ``val``.
        callbacks: Called after every epoch.
        progress: Whether to show a progress bar.
        interrupt: Whether the user asked to stop.
    """

    state: FitState
    loader: TrainLoader
    batches: EpochBatches | None
    train: ImageData
    groups: Tensor | None
    val: ImageData
    val_labels: npt.NDArray[np.int64]
    features: FeatureSplits | None
    identity: Mapping[str, Any]
    run_dir: Path | None
    checkpoint_every_s: float
    num_workers: int
    callbacks: Sequence[Callback]
    progress: bool
    interrupt: Interrupt

    def __call__(self) -> History:
        """Train until finished and load the selected weights into the model."""
        rng, history = self._resume(), None
        observers = [c for c in self.callbacks if isinstance(c, FitCallback)]
        try:
            for callback in observers:
                callback.on_fit_start(asdict(self.state.config))
            while not self.state.is_finished:
                self._epoch(rng)
                rng = None
            self.state.model.load_state_dict(self.state.selected_state)
            history = self._history()
            return history
        finally:
            for callback in observers:
                callback.on_fit_end(history)

    def _epoch(self, rng: dict[str, Any] | None) -> None:
        """Train for one epoch or the rest of one; validate; write a checkpoint."""
        state, started = self.state, time.perf_counter() - self.state.seconds
        state.begin_epoch()
        steps = self._steps()
        if rng is not None:
            set_rng_state(rng)
        saved, checked = time.perf_counter(), len(state.losses)
        watchers = [c for c in self.callbacks if isinstance(c, StepCallback)]
        for number, (batches, num_images) in enumerate(self._with_bar(steps), start=1):
            state.train_step(batches, num_images=num_images)
            for watcher in watchers:
                watcher.on_step_end(num_images)
            if state.device.type != "cpu" and number % _STEPS_BETWEEN_CHECKS:
                continue
            self._check_finite(checked)
            checked = len(state.losses)
            # Several processes stop and save at the same step: what one requests, all do.
            overdue = time.perf_counter() - saved > self.checkpoint_every_s
            request = state.world.all_reduce_max(2 * self.interrupt.requested or int(overdue))
            if request:
                saved = time.perf_counter()
                state.seconds = saved - started
                self._save()
            if request == 2:
                raise KeyboardInterrupt
        self._check_finite(checked)
        trained = time.perf_counter() - started
        row = {"epoch": state.epoch, "train_loss": state.end_epoch(), **self._validate()}
        row |= {"lr": state.optimizer.param_groups[0]["lr"]}
        row |= {"train_seconds": trained, "seconds": time.perf_counter() - started}
        state.rows.append(row)
        state.keep_if_selected()
        self._save()
        for callback in self.callbacks:
            callback.on_epoch_end(row)

    def _steps(self) -> Iterator[tuple[list[Batch], int]]:
        """Start an epoch; return the batches and the image count of each remaining step."""
        state, accumulate = self.state, self.state.config.accumulate
        # Every epoch has its own seed, so that an epoch that is repeated, or run after a restart,
        # has the same order and the same dropout.
        seed = int(np.random.SeedSequence([state.config.seed, state.epoch]).generate_state(1)[0])
        seed_everything((seed + state.world.rank) % 2**32)
        generator = getattr(self.loader, "generator", None)
        if generator is not None:
            generator.manual_seed(seed)
        done = state.steps_done * accumulate
        if self.batches is not None:
            self.batches.begin(seed, first=done)
            loaded = iter(self.loader)
        else:
            loaded = iter(self.loader)
            for _ in range(done):  # skipped by reading: only the loader knows its order
                next(loaded)
        return self._grouped(loaded, done)

    def _grouped(self, loaded: Iterator[Any], done: int) -> Iterator[tuple[list[Batch], int]]:
        accumulate = self.state.config.accumulate
        dtype = next(self.state.model.parameters()).dtype
        while group := list(islice(loaded, accumulate)):
            numbers = range(done, done + len(group))
            done += len(group)
            pairs = [check_batch(batch, dtype) for batch in group]
            if self.batches is None:
                yield [Batch(x, y) for x, y in pairs], sum(len(labels) for _, labels in pairs)
            else:
                yield (
                    [
                        Batch(x, y, bool(self.batches.mine(number)), self._groups_of(number))
                        for (x, y), number in zip(pairs, numbers, strict=True)
                    ],
                    sum(len(self.batches.batch(number)) for number in numbers),
                )

    def _groups_of(self, number: int) -> Tensor | None:
        if self.groups is None or self.batches is None:
            return None
        return self.groups[self.batches.read_by_me(number)]

    def _check_finite(self, first: int) -> None:
        """Raise if the loss of a batch of this epoch, from ``first`` on, is not finite."""
        state = self.state
        if first == len(state.losses):
            return
        recent = torch.stack(state.losses[first:]).tolist()
        if np.isfinite(recent).all():
            return
        position = int(np.argmin(np.isfinite(recent)))
        batch = first + position
        checkpoint = (
            f"the last good epoch is in {self.run_dir / CHECKPOINT}"
            if self.run_dir and (self.run_dir / CHECKPOINT).exists()
            else "no checkpoint was written"
        )
        raise NonFiniteLossError(
            f"the training loss must be finite, got {recent[position]} in epoch {state.epoch}, "
            f"batch {batch + 1}{self._named_images(batch)}; lower lr (now {state.config.lr:g}), "
            f"check the images for infinite values, or set precision='fp32' (now "
            f"{state.precision}); {checkpoint}"
        )

    def _named_images(self, batch: int) -> str:
        if self.batches is None:
            return ""
        ids = ids_of(self.train, self.batches.num_images)
        indices = self.batches.mine(batch)
        images: Any = self.train
        infinite = [i for i in indices if not torch.isfinite(torch.as_tensor(images[i][0])).all()]
        which = "with non-finite values" if infinite else "of the batch"
        names = [ids[index] for index in infinite or indices]
        num_more = len(names) - _MAX_NAMED_IMAGES
        more = f" and {num_more} more" if num_more > 0 else ""
        return f" (images {which}: {', '.join(names[:_MAX_NAMED_IMAGES])}{more})"

    def _validate(self) -> dict[str, float]:
        state = self.state
        outputs = self._outputs()
        loss, weight = weighted_cross_entropy(
            torch.from_numpy(outputs.logits).double(),
            torch.from_numpy(outputs.labels),
            state.class_weight.cpu(),
        )
        names = class_names_of(self.val) or tuple(str(k) for k in range(outputs.logits.shape[1]))
        metrics = compute_metrics(
            Predictions(
                ids=ids_of(self.val, len(outputs.labels)),
                labels=outputs.labels,
                probabilities=probabilities_of(outputs.logits),
                class_names=names,
            )
        )
        return {
            "val_loss": float(loss / weight),
            "val_accuracy": metrics["accuracy"],
            "val_f1": metrics["f1_macro"],
            "val_auroc": metrics["auroc"],
        }

    def _outputs(self) -> Outputs:
        """Compute the logits of the validation split; several processes share the images."""
        state, world = self.state, self.state.world
        if self.features is not None:
            features, val_labels = self.features.val.tensors
            head = HeadOnFeatures(state.evaluated)
            with eval_mode(head), torch.inference_mode(), autocast(state.device, state.precision):
                scores = head(features.to(state.device)).float().cpu()
            return Outputs(labels=val_labels.numpy(), logits=scores.numpy())
        outputs = predict_logits(
            state.evaluated,
            self._own_val,
            output="logits",  # checked before the first epoch
            batch_size=2 * state.config.batch_size,
            device=state.device,
            precision=state.precision,
        )
        if not self._val_is_shared:
            return outputs
        parts = world.all_gather(outputs.logits)
        logits = np.empty((len(self.val_labels), parts[0].shape[1]), parts[0].dtype)
        for rank, part in enumerate(parts):
            logits[rank :: world.size] = part
        return Outputs(labels=self.val_labels, logits=logits)

    @property
    def _val_is_shared(self) -> bool:
        """Whether each process validates on a part of the images."""
        is_loader = isinstance(self.val, DataLoader)
        return not is_loader and 1 < self.state.world.size <= len(self.val_labels)

    @cached_property
    def _own_val(self) -> ImageData:
        """This process's validation images; its loader processes persist over the epochs."""
        val, world = self.val, self.state.world
        if self._val_is_shared:
            val = Subset(
                cast("Dataset[Any]", val), range(world.rank, len(self.val_labels), world.size)
            )
        if isinstance(val, DataLoader) or not self.num_workers:
            return val
        return DataLoader(
            val,
            batch_size=2 * self.state.config.batch_size,
            num_workers=self.num_workers,
            persistent_workers=True,
            pin_memory=self.state.device.type == "cuda",
            generator=torch.Generator(),
        )

    def _history(self) -> History:
        state = self.state
        return History(
            tuple(state.rows),
            state.best_epoch,
            stopped_early=state.is_out_of_patience,
            select=state.config.select,
        )

    def _save(self) -> None:
        """Write a checkpoint and the history; every process takes part, the first one writes."""
        if self.run_dir is None:
            return
        world = self.state.world
        processes = world.all_gather(self.state.process_state() if self.state.losses else None)
        if world.is_main:
            callbacks = [c.state_dict() for c in self.callbacks if isinstance(c, StatefulCallback)]
            checkpoint = {
                "identity": dict(self.identity),
                "callbacks": callbacks,
                "processes": processes,
                **self.state.state_dict(),
            }
            save_checkpoint(self.run_dir, checkpoint)
            self._write_history(self.run_dir)
        world.barrier()  # a process that ends before it is written would end the others

    def _write_history(self, run_dir: Path) -> None:
        if self.state.rows:
            self._history().to_csv(run_dir / RUN_FILES["history"])
            self._history().to_json(run_dir / RUN_FILES["history as JSON"])

    def _resume(self) -> dict[str, Any] | None:
        """Restore the checkpoint; return the generators' states if it is within an epoch."""
        world, saved = self.state.world, None
        if self.run_dir is not None and world.is_main:
            saved = load_checkpoint(self.run_dir, self.identity)
        saved = world.broadcast_object(saved)
        if saved is None:
            return None
        self.state.load_state_dict(saved)
        if self.run_dir is not None and world.is_main:
            self._write_history(self.run_dir)  # in case it was killed after the checkpoint
        stateful = [c for c in self.callbacks if isinstance(c, StatefulCallback)]
        if len(stateful) != len(saved["callbacks"]):
            raise RunFolderError(
                f"the run in {self.run_dir} was started with {len(saved['callbacks'])} callbacks "
                f"that keep a state, got {len(stateful)}; pass the same callbacks"
            )
        for callback, callback_state in zip(stateful, saved["callbacks"], strict=True):
            callback.load_state_dict(callback_state)
        _logger.info("resuming %s after epoch %d", self.run_dir, len(self.state.rows))
        processes = saved["processes"]
        if processes[0] is None:
            return None
        if len(processes) != world.size:
            raise RunFolderError(
                f"the run in {self.run_dir} was interrupted within an epoch of {len(processes)} "
                f"process(es) and must be resumed with the same number, got {world.size}"
            )
        process_state = processes[world.rank]
        self.state.load_process_state(process_state)
        rng: dict[str, Any] = process_state["rng"]
        return rng

    def _with_bar(self, steps: Iterable[Any]) -> Iterable[Any]:
        if not self.progress:
            return steps
        from tqdm.auto import tqdm  # noqa: PLC0415  (needed only for a bar)

        return tqdm(
            steps,
            desc=f"epoch {self.state.epoch}/{self.state.config.epochs}",
            initial=self.state.steps_done,
            total=self.state.steps_per_epoch,
            unit="step",
            leave=False,
        )
