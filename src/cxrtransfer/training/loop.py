"""Epoch after epoch: batches in, rows and checkpoints out."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from cxrtransfer.errors import NonFiniteLossError, RunFolderError
from cxrtransfer.evaluation import Predictions, compute_metrics
from cxrtransfer.inference import (
    EpochBatches,
    ImageData,
    Outputs,
    TrainLoader,
    check_pair,
    class_names_of,
    ids_of,
    labels_of,
    predict_logits,
    probabilities_of,
)
from cxrtransfer.runtime import Interrupt, autocast, eval_mode, seed_everything, set_rng_state

from .callbacks import Callback, StatefulCallback
from .checkpoint import CHECKPOINT_NAME, load_checkpoint, save_checkpoint
from .fit import Batch, Run
from .history import History
from .losses import weighted_cross_entropy
from .reuse import FeatureSplits, HeadOnFeatures

__all__ = ["Loop"]

_logger = logging.getLogger(__name__)

# On a GPU the losses are looked at once in so many steps, because every look waits for the device.
_STEPS_BETWEEN_LOOKS = 20


@dataclass(kw_only=True)
class Loop:
    """One call of ``fit``.

    Attributes:
        run: What changes: network, optimizer, progress.
        loader: Batches of the training split, images or features.
        batches: Which images they hold; None for a loader of the caller's own.
        train: The training split, for the names of its images.
        val: The split that chooses the epoch.
        features: Frozen features of both, if they are reused.
        identity: What must not change between calls that share a folder.
        run_dir: The folder; None keeps nothing.
        checkpoint_every_s: Seconds between checkpoints within an epoch.
        num_workers: Loader processes for ``val``.
        callbacks: Told of every finished epoch.
        progress: Whether to show a bar.
        interrupt: Whether to stop.
    """

    run: Run
    loader: TrainLoader
    batches: EpochBatches | None
    train: ImageData
    val: ImageData
    features: FeatureSplits | None
    identity: Mapping[str, Any]
    run_dir: Path | None
    checkpoint_every_s: float
    num_workers: int
    callbacks: Sequence[Callback]
    progress: bool
    interrupt: Interrupt

    def __call__(self) -> History:
        """Train to the end and put the best weights into the model."""
        rng = self._resume()
        while not self.run.is_over:
            self._epoch(rng)
            rng = None
        self.run.model.load_state_dict(self.run.best_state)
        return self._history()

    def _epoch(self, rng: dict[str, Any] | None) -> None:
        """Make one pass over the training split, or what is left of it; validate; keep all."""
        run, started = self.run, time.perf_counter() - self.run.seconds
        run.begin_epoch()
        steps = self._steps()
        if rng is not None:
            set_rng_state(rng)
        saved, checked = time.perf_counter(), len(run.losses)
        for number, (batches, num_images) in enumerate(self._with_bar(steps), start=1):
            run.train_step(batches, num_images=num_images)
            if run.device.type != "cpu" and number % _STEPS_BETWEEN_LOOKS:
                continue
            self._check_finite(checked)
            checked = len(run.losses)
            # Several processes stop and save at the same step: what one wants, all do.
            overdue = time.perf_counter() - saved > self.checkpoint_every_s
            wish = run.world.all_reduce_max(2 * self.interrupt.requested or int(overdue))
            if wish:
                saved = time.perf_counter()
                run.seconds = saved - started
                self._save()
            if wish == 2:
                raise KeyboardInterrupt
        self._check_finite(checked)
        trained = time.perf_counter() - started
        row = {"epoch": run.epoch, "train_loss": run.end_epoch(), **self._validate()}
        row |= {"lr": run.optimizer.param_groups[0]["lr"]}
        row |= {"train_seconds": trained, "seconds": time.perf_counter() - started}
        run.rows.append(row)
        run.keep_if_best()
        self._save()
        for callback in self.callbacks:
            callback.on_epoch_end(row)

    def _steps(self) -> Iterator[tuple[list[Batch], int]]:
        """Begin an epoch; yield, for each step that is left of it, batches and image count."""
        run, accumulate = self.run, self.run.config.accumulate
        # Every epoch draws from its own seed, so an epoch that is run again, or run after a
        # restart, sees the same order and the same dropout.
        seed = int(np.random.SeedSequence([run.config.seed, run.epoch]).generate_state(1)[0])
        seed_everything((seed + run.world.rank) % 2**32)
        generator = getattr(self.loader, "generator", None)
        if generator is not None:
            generator.manual_seed(seed)
        done = run.steps_done * accumulate
        if self.batches is not None:
            self.batches.begin(seed, first=done)
            loaded = iter(self.loader)
        else:
            loaded = iter(self.loader)
            for _ in range(done):  # read and left out: its own order is known to nobody else
                next(loaded)
        return self._grouped(loaded, done)

    def _grouped(self, loaded: Iterator[Any], done: int) -> Iterator[tuple[list[Batch], int]]:
        accumulate = self.run.config.accumulate
        while group := list(islice(loaded, accumulate)):
            numbers = range(done, done + len(group))
            done += len(group)
            for batch in group:
                check_pair(batch, "a batch")
            if self.batches is None:
                yield [Batch(x, y) for x, y in group], sum(len(labels) for _, labels in group)
            else:
                counts = (bool(self.batches.mine(number)) for number in numbers)
                yield (
                    [Batch(x, y, counts=c) for (x, y), c in zip(group, counts, strict=True)],
                    sum(len(self.batches.batch(number)) for number in numbers),
                )

    def _check_finite(self, first: int) -> None:
        """Raise if a batch of this epoch, from ``first`` on, had a loss that is not a number."""
        run = self.run
        if first == len(run.losses):
            return
        recent = torch.stack(run.losses[first:]).tolist()
        if np.isfinite(recent).all():
            return
        position = int(np.argmin(np.isfinite(recent)))
        batch = first + position
        kept = (
            f"the last good epoch is in {self.run_dir / CHECKPOINT_NAME}"
            if self.run_dir and (self.run_dir / CHECKPOINT_NAME).exists()
            else "nothing was saved"
        )
        raise NonFiniteLossError(
            f"the training loss must be finite, got {recent[position]} in epoch {run.epoch}, "
            f"batch {batch + 1}{self._named_images(batch)}; lower lr (now {run.config.lr:g}), "
            f"check the images for infinite values, or set precision='fp32' (now "
            f"{run.precision}); {kept}"
        )

    def _named_images(self, batch: int) -> str:
        if self.batches is None:
            return ""
        ids = ids_of(self.train, self.batches.num_images)
        indices = self.batches.mine(batch)
        images: Any = self.train
        broken = [i for i in indices if not torch.isfinite(torch.as_tensor(images[i][0])).all()]
        what = "whose values are not finite" if broken else "of the batch"
        names = [ids[index] for index in broken or indices]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f" (images {what}: {', '.join(names[:8])}{more})"

    def _validate(self) -> dict[str, float]:
        run = self.run
        outputs = self._outputs()
        loss, weight = weighted_cross_entropy(
            torch.from_numpy(outputs.logits).double(),
            torch.from_numpy(outputs.labels),
            run.class_weight.cpu(),
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
        """Run the validation split through the network; several processes share the images."""
        run, world = self.run, self.run.world
        if self.features is not None:
            features, known = self.features.val.tensors
            head = HeadOnFeatures(run.evaluated)
            with eval_mode(head), torch.inference_mode(), autocast(run.device, run.precision):
                scores = head(features.to(run.device)).float().cpu()
            return Outputs(labels=known.numpy(), logits=scores.numpy())
        options: dict[str, Any] = {
            "batch_size": 2 * run.config.batch_size,
            "device": run.device,
            "precision": run.precision,
            "num_workers": self.num_workers,
        }
        if isinstance(self.val, DataLoader) or world.size == 1:
            return predict_logits(run.evaluated, self.val, **options)
        labels = labels_of(self.val)
        if len(labels) < world.size:
            return predict_logits(run.evaluated, self.val, **options)
        mine = Subset(self.val, range(world.rank, len(labels), world.size))
        parts = world.all_gather(predict_logits(run.evaluated, mine, **options).logits)
        logits = np.empty((len(labels), parts[0].shape[1]), parts[0].dtype)
        for rank, part in enumerate(parts):
            logits[rank :: world.size] = part
        return Outputs(labels=labels, logits=logits)

    def _history(self) -> History:
        run = self.run
        return History(tuple(run.rows), run.best_epoch, stopped_early=run.is_out_of_patience)

    def _save(self) -> None:
        """Write all that :meth:`_resume` needs; every process takes part, the first one writes."""
        if self.run_dir is None:
            return
        world = self.run.world
        processes = world.all_gather(self.run.own_state() if self.run.losses else None)
        if world.is_main:
            callbacks = [c.state_dict() for c in self.callbacks if isinstance(c, StatefulCallback)]
            state = {
                "identity": dict(self.identity),
                "callbacks": callbacks,
                "processes": processes,
                **self.run.state_dict(),
            }
            save_checkpoint(self.run_dir, state)
            if self.run.rows:
                self._history().to_csv(self.run_dir / "history.csv")
                self._history().to_json(self.run_dir / "history.json")
        world.barrier()  # none may end, and take the others along, before it is written

    def _resume(self) -> dict[str, Any] | None:
        """Take up the folder's run; return the random states if it is inside an epoch."""
        world, saved = self.run.world, None
        if self.run_dir is not None and world.is_main:
            saved = load_checkpoint(self.run_dir, self.identity)
        saved = world.broadcast_object(saved)
        if saved is None:
            return None
        self.run.load_state_dict(saved)
        stateful = [c for c in self.callbacks if isinstance(c, StatefulCallback)]
        for callback, state in zip(stateful, saved["callbacks"], strict=True):
            callback.load_state_dict(state)
        _logger.info("resuming %s after epoch %d", self.run_dir, len(self.run.rows))
        processes = saved["processes"]
        if processes[0] is None:
            return None
        if len(processes) != world.size:
            raise RunFolderError(
                f"the run in {self.run_dir} was stopped inside an epoch of {len(processes)} "
                f"process(es) and must go on with as many, got {world.size}"
            )
        own = processes[world.rank]
        self.run.load_own_state(own)
        rng: dict[str, Any] = own["rng"]
        return rng

    def _with_bar(self, steps: Iterable[Any]) -> Iterable[Any]:
        if not self.progress:
            return steps
        from tqdm.auto import tqdm  # noqa: PLC0415  (only where a bar is wanted)

        return tqdm(
            steps,
            desc=f"epoch {self.run.epoch}/{self.run.config.epochs}",
            initial=self.run.steps_done,
            total=self.run.steps_per_epoch,
            unit="step",
            leave=False,
        )
