"""Profile of a run's images as files, for comparison with images of another site."""

from collections.abc import Iterable

import numpy as np

from cxrtransfer.data import Record, decode_with_info, thread_map
from cxrtransfer.evaluation import ImageProfile, intensity_quantiles
from cxrtransfer.types import InputSpec

__all__ = ["profile_files"]


def profile_files(records: Iterable[Record], spec: InputSpec) -> ImageProfile:
    """Read size, mode and intensities of each image.

    Args:
        records: The images; all must be readable.
        spec: Input of the network; intensities are those of images of its size.
    """

    def properties(record: Record) -> tuple[tuple[int, int], str, list[float]]:
        gray, info = decode_with_info(record.path, spec.size, interpolation=spec.interpolation)
        return (info.width, info.height), info.mode, intensity_quantiles(gray).tolist()

    sizes, modes, quantiles = zip(*thread_map(properties, records), strict=True)
    return ImageProfile(np.array(sizes), modes, np.array(quantiles))
