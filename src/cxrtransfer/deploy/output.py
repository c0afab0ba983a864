"""Predictions of many files, written to tables, overlays and a contact sheet; resumable."""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from cxrtransfer.errors import EmptyHeatmapWarning, UnreadableImagesError
from cxrtransfer.explain import overlay
from cxrtransfer.files import atomic_path, canonical_json, expand, text_digest
from cxrtransfer.types import StrPath

from .bundle import statistics
from .classifier import Classifier
from .images import GrayImages, Images, ImageSource, list_sources, read_sources
from .parts import Parts
from .prediction import (
    CHUNK,
    check_rates,
    check_readable,
    compute_heatmaps,
    describe,
    predict_chunk,
)
from .predictions import ImagePredictions
from .sheet import MAX_SHEET, Cell, picture_data, write_sheet

__all__ = ["predict_files"]

_ARRAYS = {"probabilities": np.float64, "sets": np.bool_, "p_values": np.float64}
_DECIDING = (
    "input_spec",
    "fit",
    "precision",
    "class_names",
    "positive_index",
    "threshold",
    "calibration",
)

Record = dict[str, Any]  # the results of one chunk, as JSON values


def predict_files(
    classifier: Classifier,
    images: Images,
    *,
    out: StrPath,
    json_out: StrPath | None = None,
    html_out: StrPath | None = None,
    heatmaps: StrPath | None = None,
    overwrite: bool = False,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.01,
    batch_size: int = 32,
    on_error: Literal["raise", "skip"] = "raise",
    device: str | torch.device = "auto",
    progress: bool = False,
) -> ImagePredictions:
    """Predict images, and write the results.

    The results of every 256 images are kept in a hidden file beside ``out``. If the call is
    interrupted, the same call resumes there and gives the same results.

    Args:
        classifier: The classifier.
        images: As for :meth:`Classifier.predict`, but no dataset.
        out: File for the table of :meth:`ImagePredictions.to_csv`, written last.
        json_out: File for :meth:`ImagePredictions.to_json`; None for none.
        html_out: File for a contact sheet: each image beside its Grad-CAM overlay, with class and
            probability, for the first 200 images; None for none.
        heatmaps: Folder for a Grad-CAM overlay of the predicted class of each image, as
            ``NAME.png`` in the same subfolders as in ``images``; None for none.
        overwrite: Whether to replace files that exist.
        coverage: As for :meth:`Classifier.predict`.
        false_alarm_rate: As for :meth:`Classifier.predict`.
        batch_size: Images per forward pass.
        on_error: As for :meth:`Classifier.predict`.
        device: Device to run on.
        progress: Whether to show a progress bar.

    Returns:
        The predictions.

    Warns:
        UserWarning: If heatmaps are empty or cannot be written; lists the images.

    Raises:
        FileNotFoundError: If there are no images.
        FileExistsError: If a file exists and is not to be replaced.
        ValueError: If ``heatmaps`` is inside the source folder.
        OSError: If a file cannot be written.
        UnreadableImagesError: If images cannot be decoded; lists them all.
    """
    check_rates(coverage, false_alarm_rate)
    sources = list_sources(images)
    if heatmaps is not None and isinstance(images, str | os.PathLike) and expand(images).is_dir():
        _check_outside(expand(heatmaps), expand(images))
    table, others = expand(out), [expand(path) for path in (json_out, html_out) if path]
    sources = _without(sources, (table, *others))  # of an earlier call, in the same folder
    for path in (table, *others):
        _check_writable(path, overwrite)
    if len({table, *others}) <= len(others):
        raise ValueError(f"the results need different files, got {table} more than once")
    folder = None if heatmaps is None else expand(heatmaps)
    if folder is not None:
        _check_folder(folder)
    settings: dict[str, Any] = {"coverage": coverage, "false_alarm_rate": false_alarm_rate}
    run: dict[str, Any] = {"batch_size": batch_size, "device": str(device)}
    with_sheet = html_out is not None
    key = _key(
        classifier, sources, {**settings, **run, "heatmaps": str(folder), "sheet": with_sheet}
    )
    if folder is not None and on_error == "raise" and len(sources) > CHUNK:
        _check_all_readable(classifier, sources)  # before the first overlay is written
    is_refused = False
    journal = table.with_name(f".{table.name}.partial")
    records = _read_journal(journal, key)
    starts: Any = range(len(records) * CHUNK, len(sources), CHUNK)
    if progress:
        from tqdm.auto import tqdm  # noqa: PLC0415  (only for a progress bar)

        starts = tqdm(
            starts,
            desc="predict",
            unit="chunk",
            initial=len(records),
            leave=False,
            total=len(records) + len(starts),
        )
    for start in starts:
        chunk = sources[start : start + CHUNK]
        sheet = max(0, MAX_SHEET - start) if with_sheet else 0
        predictions, data = predict_chunk(classifier, chunk, **settings, **run)
        record = _to_record(predictions)
        if predictions.skipped and on_error == "raise":
            is_refused = True
        if is_refused:  # the rest is read only to list every unreadable image
            records.append(record)
            continue
        if len(predictions) and (folder is not None or sheet):
            count = len(predictions) if folder is not None else min(sheet, len(predictions))
            record |= _draw(classifier, predictions, data, chunk, folder, sheet, count, run)
        records.append(record)
        _append_journal(journal, key, record, is_first=len(records) == 1)
    result = ImagePredictions.join([_from_record(classifier, part, settings) for part in records])
    check_readable(result, on_error)
    if json_out is not None:
        result.to_json(expand(json_out))
    if html_out is not None:
        cells = [Cell(*cell) for part in records for cell in part.get("cells", ())]
        write_sheet(expand(html_out), result, cells)
    result.to_csv(table)
    journal.unlink(missing_ok=True)
    _warn(records)
    return result


def _without(sources: Sequence[ImageSource], results: Sequence[Path]) -> list[ImageSource]:
    """Leave out results; raise FileNotFoundError if there is nothing else."""
    names, paths = {path.name for path in results}, {path.resolve() for path in results}
    kept = [
        source
        for source in sources
        if not isinstance(source.content, Path)
        or source.content.name not in names  # resolving every path would take long
        or source.content.resolve() not in paths
    ]
    if not kept:
        raise FileNotFoundError("images must be at least one image, got results only")
    return kept


def _check_all_readable(classifier: Classifier, sources: Sequence[ImageSource]) -> None:
    """Decode every image once; raise an error that lists all unreadable ones."""
    unreadable: dict[str, str] = {}
    for start in range(0, len(sources), CHUNK):
        chunk = sources[start : start + CHUNK]
        unreadable |= read_sources(chunk, classifier.input_spec, classifier.fit)[1]
    if unreadable:
        raise UnreadableImagesError(unreadable)


def _draw(
    classifier: Classifier,
    predictions: ImagePredictions,
    data: GrayImages,
    sources: Sequence[ImageSource],
    folder: Path | None,
    sheet: int,
    count: int,
    run: dict[str, Any],
) -> Record:
    """Write the overlays of a chunk, and return the pictures of the contact sheet."""
    relative = {source.name: source.relative for source in sources}
    empty, failed, cells = [], [], []
    shown = GrayImages(data.pixels[:count], classifier.input_spec, data.ids[:count])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyHeatmapWarning)  # named at the end
        maps = compute_heatmaps(classifier, shown, predictions.predicted.tolist()[:count], **run)
    for index, heatmap in enumerate(maps):
        name = predictions.ids[index]
        if not heatmap.any():
            empty.append(name)
        picture = Image.fromarray(overlay(data.pixels[index], heatmap))
        if folder is not None:
            try:
                with atomic_path(folder / f"{relative[name]}.png") as path:
                    picture.save(path, format="png")
            except (OSError, ValueError) as error:  # the table and the others are worth more
                failed.append(f"{name!r} ({error})")
        if index < sheet:
            cells.append([name, picture_data(data.pixels[index]), picture_data(picture)])
    return {"empty": empty, "failed": failed, "cells": cells, "num_maps": len(maps)}


def _warn(records: Sequence[Record]) -> None:
    empty = [name for record in records for name in record.get("empty", ())]
    failed = [text for record in records for text in record.get("failed", ())]
    num_maps = sum(record.get("num_maps", 0) for record in records)
    if empty:
        warnings.warn(
            f"{len(empty)} of {num_maps} heatmaps are empty, as no evidence for the predicted "
            f"class outweighs the evidence against it: {', '.join(empty)}",
            stacklevel=3,
        )
    if failed:
        warnings.warn(
            f"{len(failed)} of {num_maps} heatmaps cannot be written: {', '.join(failed)}",
            stacklevel=3,
        )


def _to_record(predictions: ImagePredictions) -> Record:
    arrays = {name: getattr(predictions, name) for name in _ARRAYS}
    return {
        "ids": list(predictions.ids),
        "remarks": list(predictions.remarks),
        "skipped": dict(predictions.skipped),
        **{name: None if array is None else array.tolist() for name, array in arrays.items()},
    }


def _from_record(
    classifier: Classifier, record: Record, settings: dict[str, Any]
) -> ImagePredictions:
    width = len(classifier.class_names)
    shapes = {"probabilities": (-1, width), "sets": (-1, width), "p_values": (-1,)}
    arrays: dict[str, Any] = {
        name: None
        if record[name] is None
        else np.array(record[name], dtype=_ARRAYS[name]).reshape(shape)
        for name, shape in shapes.items()
    }
    return describe(
        classifier,
        ids=tuple(record["ids"]),
        remarks=tuple(record["remarks"]),
        skipped=record["skipped"],
        **arrays,
        **settings,
    )


def _key(classifier: Classifier, sources: Sequence[ImageSource], settings: Record) -> str:
    """Return a digest of everything that the results depend on."""
    digest = hashlib.sha256()
    for name, tensor in classifier.network.state_dict().items():
        digest.update(
            name.encode()
            + tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    parts: Parts = vars(classifier)  # type: ignore[assignment]  # the fields of Parts
    for name, array in statistics(parts).items():
        digest.update(name.encode() + array.tobytes())
    others = {name: repr(value) for name, value in vars(classifier).items() if name in _DECIDING}
    files = [
        [ascii(source.name), status.st_size, status.st_mtime_ns]
        if isinstance(source.content, Path) and (status := _status(source.content))
        else [ascii(source.name), source_digest(source)]
        for source in sources
    ]
    return text_digest(digest.hexdigest() + canonical_json([others, files, settings]))


def source_digest(source: ImageSource) -> str:
    """Return the digest of an array; empty for a file that cannot be examined."""
    content = source.content
    return "" if isinstance(content, Path) else hashlib.sha256(content.tobytes()).hexdigest()


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _read_journal(path: Path, key: str) -> list[Record]:
    """Read the complete lines of an interrupted call; none if it differed in anything."""
    try:
        data = path.read_bytes()
        complete = data[: data.rfind(b"\n") + 1]  # the last line may be cut off
        lines = complete.decode().splitlines()
        if lines[:1] != [key]:
            return []
        records = [json.loads(line) for line in lines[1:]]
        os.truncate(path, len(complete))  # or the next line would be appended to that one
    except (OSError, ValueError):
        return []
    return records


def _append_journal(path: Path, key: str, record: Record, *, is_first: bool) -> None:
    with path.open("w" if is_first else "a", encoding="utf-8") as file:
        file.write((f"{key}\n" if is_first else "") + json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _check_outside(folder: Path, source: Path) -> None:
    if folder.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"heatmaps must be outside the source folder, got {folder}; the next call would "
            "predict them as images"
        )


def _check_folder(path: Path) -> None:
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not existing.is_dir():
        raise NotADirectoryError(f"heatmaps must be a folder, but {existing} is a file")


def _check_writable(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"out must be a file, got the folder {path}")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists; choose another name, or pass overwrite=True (--overwrite)"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass
