"""The images that a classifier is given: files, folders, arrays or a dataset."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import Dataset

from cxrtransfer.data import decode_image, decode_images, find_images, to_model_input
from cxrtransfer.types import InputSpec, StrPath

__all__ = ["GrayImages", "ImageSource", "Images", "list_sources", "read_sources"]

Images = StrPath | Sequence[StrPath] | npt.NDArray[np.generic] | Sequence[npt.NDArray[np.generic]]
"""A folder, a file, several files, or gray arrays of any size."""


@dataclass(frozen=True, eq=False)
class ImageSource:
    """An image to predict.

    Attributes:
        name: Its name in the results.
        content: Its file, or its gray pixels ``(H, W)``.
        relative: Its place in a folder of results.
    """

    name: str
    content: Path | npt.NDArray[np.generic]
    relative: str


class GrayImages(Dataset[tuple[torch.Tensor, int]]):
    """Gray images as network inputs, with meaningless labels.

    Args:
        pixels: uint8 ``(N, H, W)``.
        spec: Input of the network.
        ids: Name of each image.
    """

    def __init__(
        self, pixels: npt.NDArray[np.uint8], spec: InputSpec, ids: Sequence[str] | None = None
    ) -> None:
        self.pixels = pixels
        self.ids = tuple(ids) if ids is not None else tuple(map(str, range(len(pixels))))
        self._transform = to_model_input(spec)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(torch.from_numpy(self.pixels[index])[None]), 0

    def inputs(self, start: int, stop: int) -> torch.Tensor:
        """Return network inputs, float32 ``(N, C, H, W)``."""
        return self._transform(torch.from_numpy(self.pixels[start:stop])[:, None])


def list_sources(images: Images) -> list[ImageSource]:
    """List the images of a folder, the files, or the arrays.

    Raises:
        FileNotFoundError: If there are no images.
        ValueError: If an array is not gray.
    """
    if isinstance(images, str | os.PathLike):
        root = Path(images).expanduser()
        if not root.is_file():
            names = {path: path.relative_to(root).as_posix() for path in sorted(find_images(root))}
            if not names:
                raise FileNotFoundError(f"images must hold at least one image, got {root}")
            return [ImageSource(name, path, name) for path, name in names.items()]
        images = [images]
    if isinstance(images, np.ndarray) or any(isinstance(part, np.ndarray) for part in images):
        return list(_arrays(cast("Iterable[npt.NDArray[np.generic]]", images)))
    paths = [Path(path).expanduser() for path in cast("Iterable[StrPath]", images)]
    if not paths:
        raise FileNotFoundError("images must be at least one image, got none")
    # Only resolved paths differ for different files, however the files were named.
    resolved = [path.parent.resolve() / path.name for path in paths]
    root = Path(os.path.commonpath([path.parent for path in resolved]))
    return [
        ImageSource(path.as_posix(), path, real.relative_to(root).as_posix())
        for path, real in zip(paths, resolved, strict=True)
    ]


def _arrays(arrays: Iterable[npt.NDArray[np.generic]]) -> Iterator[ImageSource]:
    for index, array in enumerate(map(np.asarray, arrays)):
        if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                "arrays must be gray images of type uint8 or uint16 and shape (H, W), got "
                f"{array.dtype} {array.shape}"
            )
        yield ImageSource(str(index), array, str(index))


def read_sources(
    sources: Sequence[ImageSource], spec: InputSpec, fit: str
) -> tuple[npt.NDArray[np.uint8], dict[str, str]]:
    """Decode images to gray squares.

    Args:
        sources: The images.
        spec: Input of the network.
        fit: As in :func:`cxrtransfer.data.decode_image`.

    Returns:
        Pixels uint8 ``(N, S, S)``, zero where unreadable, and why each unreadable image is so, by
        its name.
    """
    options: dict[str, Any] = {"fit": fit, "interpolation": spec.interpolation}
    pixels = np.zeros((len(sources), spec.size, spec.size), np.uint8)
    files = [index for index, source in enumerate(sources) if isinstance(source.content, Path)]
    paths = [cast("Path", sources[index].content) for index in files]
    decoded, unreadable = decode_images(paths, spec.size, **options)
    pixels[files] = decoded
    for index, source in enumerate(sources):
        if not isinstance(source.content, Path):
            # As a lossless file, so that there is one way from pixels to inputs.
            buffer = io.BytesIO()
            Image.fromarray(source.content).save(buffer, "png")
            pixels[index] = decode_image(buffer.getvalue(), spec.size, **options)
    names = {
        sources[index].name: unreadable.get(path) for index, path in zip(files, paths, strict=True)
    }
    return pixels, {name: reason for name, reason in names.items() if reason is not None}
