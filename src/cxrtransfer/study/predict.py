"""A trained run on images that nobody has labeled."""

import csv
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from cxrtransfer.data import decode_images, find_images, to_model_input
from cxrtransfer.errors import EmptyHeatmapWarning, UnreadableImagesError
from cxrtransfer.explain import GradCAM, overlay
from cxrtransfer.files import atomic_path
from cxrtransfer.inference import predict_logits, probabilities_of
from cxrtransfer.models import input_spec
from cxrtransfer.runtime import resolve_device, to_device
from cxrtransfer.types import InputSpec, StrPath

from .run_result import load_network, load_run

__all__ = ["ImagePredictions", "predict_images"]


@dataclass(frozen=True, eq=False)
class ImagePredictions:
    """What a run says about images without labels.

    Attributes:
        ids: Name of each image: its path below the folder, or as it was given.
        probabilities: Float64, ``(N, K)``, rows sum to 1.
        class_names: In the order of the columns.
        skipped: Why each image that was left out is unreadable, by its name.
    """

    ids: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    class_names: tuple[str, ...]
    skipped: Mapping[str, str]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The likeliest class of each image, int64 ``(N,)``."""
        likeliest: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return likeliest

    def to_csv(self, path: StrPath) -> None:
        """Write a row an image: id, likeliest class, and the probability of each class.

        The columns are ``id``, ``predicted`` and the names of the classes. Images that were left
        out have rows too, at the end, empty but for their id and, in one more column
        ``unreadable``, the reason.

        Args:
            path: The file; replaced if it exists.
        """
        with (
            atomic_path(Path(path)) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            why = ["unreadable"] if self.skipped else []
            writer.writerow(["id", "predicted", *self.class_names, *why])
            for name, label, row in zip(self.ids, self.predicted, self.probabilities, strict=True):
                said = [self.class_names[label], *map(repr, row.tolist())]
                writer.writerow([name, *said, *[""] * len(why)])
            for name, reason in self.skipped.items():
                writer.writerow([name, *[""] * (1 + len(self.class_names)), reason])

    def __repr__(self) -> str:
        counts = np.bincount(self.predicted, minlength=len(self.class_names))
        found = ", ".join(
            f"{count:,} {name}" for count, name in zip(counts, self.class_names, strict=True)
        )
        left_out = f"; {len(self.skipped):,} unreadable left out" if self.skipped else ""
        return f"ImagePredictions({len(self.ids):,} images: {found}{left_out})"


def predict_images(
    run: StrPath,
    source: StrPath | Iterable[StrPath],
    *,
    heatmaps: StrPath | None = None,
    batch_size: int = 32,
    on_error: Literal["raise", "skip"] = "raise",
    device: str | torch.device = "auto",
) -> ImagePredictions:
    """Classify images without labels by the network that a run kept.

    The images are decoded as those of the run were, and kept in memory as gray pixels (50 kB an
    image at 224 px). Nothing here is an estimate of how good the answers are; for that, test the
    run on labeled images of the same place with :func:`cxrtransfer.study.external_test`.

    Args:
        run: The folder of a complete run.
        source: A folder, of which every file is taken, or the files.
        heatmaps: A folder for a Grad-CAM overlay of the likeliest class of each image, as
            ``NAME.png`` below the same folders as in ``source``, or as below the folder that
            holds all the files; None for none.
        batch_size: Images per forward pass.
        on_error: ``"raise"`` refuses a source with unreadable images; ``"skip"`` leaves them out,
            and lists them in the result and in its table.
        device: Where to run.

    Returns:
        The probabilities.

    Warns:
        UserWarning: If heatmaps are empty; names the images.

    Raises:
        RunFolderError: If the folder holds no complete run.
        FileNotFoundError: If there are no images.
        UnreadableImagesError: If images cannot be decoded; names them all.
    """
    done = load_run(run)
    network = to_device(load_network(done), resolve_device(device))
    spec = input_spec(network)
    names, paths, places = _named(source)
    images, unreadable = decode_images(paths, spec.size, interpolation=spec.interpolation)
    if unreadable and (on_error == "raise" or len(unreadable) == len(set(paths))):
        raise UnreadableImagesError(unreadable)
    kept = [index for index, path in enumerate(paths) if path not in unreadable]
    data = _Unlabeled(torch.from_numpy(images[kept]), spec)
    logits = predict_logits(network, data, batch_size=batch_size, device=device).logits
    found = ImagePredictions(
        ids=tuple(names[index] for index in kept),
        probabilities=probabilities_of(logits),
        class_names=done.test.class_names,
        skipped={n: unreadable[p] for n, p in zip(names, paths, strict=True) if p in unreadable},
    )
    if heatmaps is not None:
        targets = [Path(heatmaps) / f"{places[index]}.png" for index in kept]
        _draw_heatmaps(network, data, found, targets, batch_size)
    return found


def _draw_heatmaps(
    network: nn.Module,
    data: "_Unlabeled",
    found: ImagePredictions,
    targets: Sequence[Path],
    batch_size: int,
) -> None:
    """Write an overlay of each image's likeliest class, and name the images without heat."""
    device = next(network.parameters()).device
    empty = []
    with GradCAM(network) as cam, warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyHeatmapWarning)  # named below
        for start in range(0, len(targets), batch_size):
            part = range(start, min(start + batch_size, len(targets)))
            batch = torch.stack([data[index][0] for index in part])
            maps = cam(batch.to(device), found.predicted[part.start : part.stop].tolist())
            for index, heatmap in zip(part, maps.float().cpu().numpy(), strict=True):
                targets[index].parent.mkdir(parents=True, exist_ok=True)
                gray = data.images[index].numpy()
                Image.fromarray(overlay(gray, heatmap)).save(targets[index])
                if not heatmap.any():
                    empty.append(found.ids[index])
    if empty:
        warnings.warn(
            f"{len(empty)} of {len(targets)} heatmaps are empty, as nothing in the image speaks "
            f"more for the class than against it: {', '.join(empty)}",
            stacklevel=3,
        )


class _Unlabeled(Dataset[tuple[torch.Tensor, int]]):
    """Gray images uint8 ``(N, H, W)`` as a network takes them, each with a label of no meaning."""

    def __init__(self, images: torch.Tensor, spec: InputSpec) -> None:
        self.images = images
        self.transform = to_model_input(spec)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index].unsqueeze(0)), 0


def _named(
    source: StrPath | Iterable[StrPath],
) -> tuple[tuple[str, ...], list[Path], tuple[str, ...]]:
    """Return what to call each image, where it is, and its place below a folder of results."""
    if isinstance(source, str | os.PathLike):
        root = Path(source)
        paths = sorted(find_images(root))
        names = places = tuple(path.relative_to(root).as_posix() for path in paths)
    else:
        paths = [Path(path) for path in source]
        names, places = tuple(path.as_posix() for path in paths), _below_what_they_share(paths)
    if not paths:
        raise FileNotFoundError(f"there must be at least one image, {source} holds none")
    return names, paths, places


def _below_what_they_share(paths: Sequence[Path]) -> tuple[str, ...]:
    """Name files by their place below the folder that holds them all."""
    # Only real paths are different for different files, however a file was named.
    real = [path.parent.resolve() / path.name for path in paths]
    shared = os.path.commonpath([path.parent for path in real]) if real else ""
    return tuple(path.relative_to(shared).as_posix() for path in real)
