"""What the images of a run look like as files, kept with it to compare others with."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cxrtransfer.data import Record, decode_with_info, thread_map
from cxrtransfer.errors import RunFolderError
from cxrtransfer.evaluation import ImageProfile, intensity_quantiles
from cxrtransfer.files import write_arrays
from cxrtransfer.types import InputSpec

__all__ = ["load_profile", "profile_files", "save_profile"]

_NAME = "profile.npz"


def profile_files(records: Iterable[Record], spec: InputSpec) -> ImageProfile:
    """Read each image once: how it is stored, and how bright it is as the network sees it.

    Args:
        records: The images; all must be readable.
        spec: What the network expects; intensities are those of images of its size.
    """

    def look(record: Record) -> tuple[tuple[int, int], str, list[float]]:
        gray, info = decode_with_info(record.path, spec.size, interpolation=spec.interpolation)
        return (info.width, info.height), info.mode, intensity_quantiles(gray).tolist()

    sizes, modes, quantiles = zip(*thread_map(look, records), strict=True)
    return ImageProfile(np.array(sizes), modes, np.array(quantiles))


def save_profile(folder: Path, profile: ImageProfile) -> None:
    """Keep a profile in a run's folder."""
    write_arrays(
        folder / _NAME,
        {
            "sizes": profile.sizes,
            "modes": np.array(profile.modes),
            "quantiles": profile.quantiles,
        },
    )


def load_profile(folder: Path) -> ImageProfile:
    """Read the profile of a run's test images.

    Raises:
        RunFolderError: If the run keeps none.
    """
    path = folder / _NAME
    if not path.exists():
        raise RunFolderError(
            f"{folder} must hold {_NAME}, what its test images look like; it was made by a "
            "version that did not keep it, so run it anew"
        )
    kept = np.load(path, allow_pickle=False)
    return ImageProfile(kept["sizes"], tuple(map(str, kept["modes"])), kept["quantiles"])
