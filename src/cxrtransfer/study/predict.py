"""Prediction: a trained run on images without labels."""

import csv
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

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
    """Predictions of a run on images without labels.

    Attributes:
        ids: Name of each image: its path below the source folder, or as it was passed.
        probabilities: Float64, ``(N, K)``, rows sum to 1.
        class_names: Names of the columns.
        skipped: Why each skipped image is unreadable, by its name.
    """

    ids: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    class_names: tuple[str, ...]
    skipped: Mapping[str, str]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The most probable class of each image, int64 ``(N,)``."""
        most_probable: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return most_probable

    def to_csv(self, path: StrPath) -> None:
        """Write one row per image: id, most probable class, and the probability of each class.

        The columns are ``id``, ``predicted`` and the names of the classes. Skipped images have
        rows at the end, empty but for their id and the reason, in one more column ``unreadable``.

        Args:
            path: The file; replaced if it exists.
        """
        with (
            atomic_path(Path(path)) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            reasons = ["unreadable"] if self.skipped else []
            writer.writerow(["id", "predicted", *self.class_names, *reasons])
            for name, label, row in zip(self.ids, self.predicted, self.probabilities, strict=True):
                cells = [self.class_names[label], *map(repr, row.tolist())]
                writer.writerow([name, *cells, *[""] * len(reasons)])
            for name, reason in self.skipped.items():
                writer.writerow([name, *[""] * (1 + len(self.class_names)), reason])

    def __repr__(self) -> str:
        numbers = np.bincount(self.predicted, minlength=len(self.class_names))
        counts = ", ".join(
            f"{number:,} {name}" for number, name in zip(numbers, self.class_names, strict=True)
        )
        skipped = f"; {len(self.skipped):,} unreadable skipped" if self.skipped else ""
        return f"ImagePredictions({len(self.ids):,} images: {counts}{skipped})"


def predict_images(
    run: StrPath,
    source: StrPath | Iterable[StrPath],
    *,
    out: StrPath | None = None,
    heatmaps: StrPath | None = None,
    batch_size: int = 32,
    on_error: Literal["raise", "skip"] = "raise",
    device: str | torch.device = "auto",
) -> ImagePredictions:
    """Predict images without labels with the network of a run.

    The images are decoded like those of the run and held in memory as gray pixels (50 kB per
    image at 224 px). Nothing here measures performance; for that, test the run on labeled images
    of the same site with :func:`cxrtransfer.study.external_test`.

    Args:
        run: Folder of a complete run.
        source: A folder, of which every file is taken, one file, or several.
        out: File for the table that :meth:`ImagePredictions.to_csv` writes; None for none. It is
            tried before and written before any heatmap.
        heatmaps: Folder for a Grad-CAM overlay of the most probable class of each image, as
            ``NAME.png`` in the same subfolders as in ``source``; None for none.
        batch_size: Images per forward pass.
        on_error: ``"raise"`` refuses a source with unreadable images; ``"skip"`` leaves them out,
            and lists them in the result and in its table.
        device: Device to run on.

    Returns:
        The predictions.

    Warns:
        UserWarning: If heatmaps are empty or cannot be written; lists the images.

    Raises:
        RunFolderError: If the folder has no complete run.
        FileNotFoundError: If there are no images.
        ValueError: If ``heatmaps`` is inside the source folder.
        OSError: If ``out`` cannot be written.
        UnreadableImagesError: If images cannot be decoded; lists them all.
    """
    result = load_run(run)
    sources = _sources(source)
    if heatmaps is not None and isinstance(source, str | os.PathLike) and Path(source).is_dir():
        _check_outside(Path(heatmaps).expanduser(), Path(source).expanduser())
    table = None if out is None else Path(out).expanduser()
    if table is not None:
        _check_writable(table)
    network = to_device(load_network(result), resolve_device(device))
    spec = input_spec(network)
    paths = [image.path for image in sources]
    pixels, unreadable = decode_images(paths, spec.size, interpolation=spec.interpolation)
    if unreadable and (on_error == "raise" or len(unreadable) == len(set(paths))):
        raise UnreadableImagesError(unreadable)
    readable = [index for index, path in enumerate(paths) if path not in unreadable]
    data = _Unlabeled(torch.from_numpy(pixels[readable]), spec)
    logits = predict_logits(network, data, batch_size=batch_size, device=device).logits
    predictions = ImagePredictions(
        ids=tuple(sources[index].name for index in readable),
        probabilities=probabilities_of(logits),
        class_names=result.test.class_names,
        skipped={
            image.name: unreadable[image.path] for image in sources if image.path in unreadable
        },
    )
    if table is not None:
        predictions.to_csv(table)
    if heatmaps is not None:
        folder = Path(heatmaps).expanduser()
        targets = [folder / f"{sources[index].relative}.png" for index in readable]
        _write_heatmaps(network, data, predictions, targets, batch_size)
    return predictions


def _write_heatmaps(
    network: nn.Module,
    data: "_Unlabeled",
    predictions: ImagePredictions,
    targets: Sequence[Path],
    batch_size: int,
) -> None:
    """Write an overlay of each image's most probable class; warn of those that fail."""
    device = next(network.parameters()).device
    empty, failed = [], []
    with GradCAM(network) as cam, warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyHeatmapWarning)  # named below
        for start in range(0, len(targets), batch_size):
            part = range(start, min(start + batch_size, len(targets)))
            batch = torch.stack([data[index][0] for index in part])
            maps = cam(batch.to(device), predictions.predicted[part.start : part.stop].tolist())
            for index, heatmap in zip(part, maps.float().cpu().numpy(), strict=True):
                name = predictions.ids[index]
                if not heatmap.any():
                    empty.append(name)
                try:
                    with atomic_path(targets[index]) as path:
                        picture = Image.fromarray(overlay(data.images[index].numpy(), heatmap))
                        picture.save(path, format="png")
                except (OSError, ValueError) as error:  # the table and the others are worth more
                    failed.append(f"{name!r} ({error})")
    if empty:
        warnings.warn(
            f"{len(empty)} of {len(targets)} heatmaps are empty, as no evidence for the predicted "
            f"class outweighs the evidence against it: {', '.join(empty)}",
            stacklevel=3,
        )
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(targets)} heatmaps cannot be written: {', '.join(failed)}",
            stacklevel=3,
        )


class _Unlabeled(Dataset[tuple[torch.Tensor, int]]):
    """Gray images uint8 ``(N, H, W)`` as network inputs, with meaningless labels."""

    def __init__(self, images: torch.Tensor, spec: InputSpec) -> None:
        self.images = images
        self.transform = to_model_input(spec)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index].unsqueeze(0)), 0


class _Source(NamedTuple):
    """An image to predict: its name, its file, and its place in a folder of results."""

    name: str
    path: Path
    relative: str


def _sources(source: StrPath | Iterable[StrPath]) -> list[_Source]:
    if isinstance(source, str | os.PathLike):
        root = Path(source).expanduser()
        if not root.is_file():
            names = {path: path.relative_to(root).as_posix() for path in sorted(find_images(root))}
            if not names:
                raise FileNotFoundError(f"source must hold at least one image, got {root}")
            return [_Source(name, path, name) for path, name in names.items()]
        source = [source]
    paths = [Path(path).expanduser() for path in source]
    if not paths:
        raise FileNotFoundError("source must be at least one image, got none")
    # Only resolved paths differ for different files, however the files were named.
    resolved = [path.parent.resolve() / path.name for path in paths]
    root = Path(os.path.commonpath([path.parent for path in resolved]))
    return [
        _Source(path.as_posix(), path, real.relative_to(root).as_posix())
        for path, real in zip(paths, resolved, strict=True)
    ]


def _check_outside(folder: Path, source: Path) -> None:
    if folder.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"heatmaps must be outside the source folder, got {folder}; the next call would "
            "predict them as images"
        )


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"out must be a file, got the folder {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass
