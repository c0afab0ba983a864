"""Audit of a data set for leakage between splits, duplicates and shortcuts."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrtransfer.data.images.decode import (
    ImageInfo,
    catch_errors,
    decode_with_info,
    read_file,
    thread_map,
)
from cxrtransfer.data.records import Records
from cxrtransfer.runtime import blas_threads_for
from cxrtransfer.types import Split

from .acquisition import ACQUISITION_SIZE, acquisition_columns
from .acquisition_summary import summarize_acquisition
from .duplicates import THUMBNAIL_SIZE, near_pairs
from .results import NO_SPLIT, AuditResult, Duplicates, NearDuplicates, SharedPatients
from .shortcuts import shortcut_aurocs

__all__ = ["audit"]

_IMAGES_PER_TASK = 8
MIN_CONTRAST = 2.0  # standard deviation of the gray values, of 255
_SPLITS: tuple[Split, ...] = get_args(Split)


def audit(
    records: Records,
    *,
    max_distance: float = 0.10,
    read_content: bool = True,
) -> AuditResult:
    """Check a data set for patients and duplicates in several splits, shortcuts and blank images.

    Shortcuts are properties other than the anatomy that predict the class: those of the file, and
    how the image was acquired (:func:`cxrtransfer.data.acquisition_statistics`).

    Each file is read once, in parallel threads. Only nearest neighbors are compared pixel by
    pixel, so the time does not grow with the square of the number of images.

    Args:
        records: The images, with their splits.
        max_distance: Maximum distance of near-duplicates; see :func:`near_pairs`. The default
            finds copies that were recompressed, resized, brightened, mirrored, translated, cropped
            by 5% per side or rotated by 3 degrees.
        read_content: Whether to read the files; if False, only patients and classes are checked.

    Returns:
        The result of all checks.

    Raises:
        ValueError: If there are no images.
        MissingExtraError: If a file is DICOM and pydicom is not installed.
    """
    if not len(records):
        raise ValueError("records must have at least one image, got none")
    # One array for all, because near-duplicates are searched in it.
    thumbnails = np.empty((len(records), THUMBNAIL_SIZE, THUMBNAIL_SIZE), dtype=np.uint8)
    contents: list[_Content | str] = []
    if read_content:
        # Several images at a time, because threads wait for each other between operations.
        starts = range(0, len(records), _IMAGES_PER_TASK)
        tasks = (range(start, min(start + _IMAGES_PER_TASK, len(records))) for start in starts)
        read = partial(_read, records, thumbnails)
        with blas_threads_for(0):  # one thread per task
            contents = [item for part in thread_map(read, tasks, per_task=1) for item in part]
    readable = [(index, item) for index, item in enumerate(contents) if isinstance(item, _Content)]
    used = records.take(index for index, _ in readable)
    return AuditResult(
        num_images=len(records),
        patients_known=records.patients_known,
        class_counts=_class_counts(records),
        shared_patients=_shared_patients(records),
        duplicates=_duplicates(records, readable),
        near_duplicates=_near_duplicates(records, readable, thumbnails, max_distance),
        confounds=shortcut_aurocs(used, [content.info for _, content in readable])
        if read_content
        else {},
        blank=tuple(
            records.ids[index] for index, _ in readable if thumbnails[index].std() < MIN_CONTRAST
        ),
        unreadable={
            name: item
            for name, item in zip(records.ids, contents, strict=False)
            if isinstance(item, str)
        },
        content_read=read_content,
        acquisition=summarize_acquisition(
            used,
            tuple(records.ids[index] for index, _ in readable),
            [content.statistics for _, content in readable],
        )
        if readable
        else None,
        num_small=sum(
            min(content.info.width, content.info.height) < THUMBNAIL_SIZE
            for _, content in readable
        ),
    )


@dataclass(frozen=True)
class _Content:
    digest: bytes
    info: ImageInfo
    statistics: dict[str, float]


def _read(
    records: Records, thumbnails: npt.NDArray[np.uint8], indices: Iterable[int]
) -> list[_Content | str]:
    """Read images, and write their thumbnails; the error message of those that are unreadable."""
    decode = catch_errors(partial(_decode, records, thumbnails))
    contents = [decode(index) for index in indices]
    decoded = [content for content in contents if not isinstance(content, str)]
    if not decoded:
        return [content for content in contents if isinstance(content, str)]
    _, infos, images = zip(*decoded, strict=True)
    columns = acquisition_columns(np.array(images), [info.width / info.height for info in infos])
    rows = iter(np.array(list(columns.values())).T.tolist())
    return [
        content
        if isinstance(content, str)
        else _Content(*content[:2], dict(zip(columns, next(rows), strict=True)))
        for content in contents
    ]


def _decode(
    records: Records, thumbnails: npt.NDArray[np.uint8], index: int
) -> tuple[bytes, ImageInfo, npt.NDArray[np.uint8]]:
    data = read_file(records[index].path)
    pixels, info = decode_with_info(data, ACQUISITION_SIZE)
    thumbnail = Image.fromarray(pixels).resize(
        (THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BILINEAR
    )
    thumbnails[index] = np.asarray(thumbnail)
    return hashlib.sha256(data).digest(), info, pixels


def _class_counts(records: Records) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for split in (*_SPLITS, None):
        part = records.where(split)
        if len(part):
            of = np.bincount(part.labels, minlength=len(records.class_names)).tolist()
            counts[split or NO_SPLIT] = dict(zip(records.class_names, of, strict=True))
    return counts


def _shared_patients(records: Records) -> tuple[SharedPatients, ...]:
    results = []
    for first, second in combinations(_SPLITS, 2):
        patient_ids = records.where(second).patient_ids
        shared = set(records.where(first).patient_ids) & set(patient_ids)
        if shared:
            num_images = sum(patient_id in shared for patient_id in patient_ids)
            results.append(
                SharedPatients(first, second, tuple(sorted(shared)), num_images, len(patient_ids))
            )
    return tuple(results)


def _crossings(records: Records, indices: list[int]) -> tuple[bool, bool]:
    """Return whether these images are in different splits, and of different classes."""
    rows = [records[index] for index in indices]
    return len({row.split for row in rows}) > 1, len({row.label for row in rows}) > 1


def _duplicates(records: Records, readable: list[tuple[int, _Content]]) -> tuple[Duplicates, ...]:
    groups = defaultdict(list)
    for index, content in readable:
        groups[content.digest].append(index)
    return tuple(
        Duplicates(tuple(records.ids[index] for index in group), *_crossings(records, group))
        for group in groups.values()
        if len(group) > 1
    )


def _near_duplicates(
    records: Records,
    readable: list[tuple[int, _Content]],
    thumbnails: npt.NDArray[np.uint8],
    max_distance: float,
) -> tuple[NearDuplicates, ...]:
    compared = sorted({content.digest: index for index, content in reversed(readable)}.values())
    if not compared:
        return ()
    if len(compared) < len(thumbnails):
        thumbnails = thumbnails[compared]
    results: dict[tuple[int, int], NearDuplicates] = {}
    for mirrored in (False, True):
        pairs, distances = near_pairs(thumbnails, max_distance=max_distance, mirrored=mirrored)
        for (i, j), distance in zip(pairs.tolist(), distances.tolist(), strict=True):
            first, second = compared[i], compared[j]
            pair = NearDuplicates(
                (records.ids[first], records.ids[second]),
                *_crossings(records, [first, second]),
                distance=distance,
                same_patient=records[first].patient_id == records[second].patient_id,
                mirrored=mirrored,
            )
            results.setdefault((first, second), pair)  # a symmetric image matches in both ways
    return tuple(sorted(results.values(), key=lambda pair: pair.distance))
