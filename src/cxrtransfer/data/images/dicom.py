"""Decoding of DICOM files to the gray values of a display."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxrtransfer.errors import MissingExtraError
from cxrtransfer.runtime import require

__all__ = ["is_dicom", "read_dicom"]

Values = npt.NDArray[np.float64]

_GRAY = ("MONOCHROME1", "MONOCHROME2")


def is_dicom(data: bytes) -> bool:
    """Return whether a file has the preamble of DICOM."""
    return data[128:132] == b"DICM"


def read_dicom(data: bytes) -> tuple[npt.NDArray[np.uint8], str]:
    """Decode a single-frame DICOM file.

    Stored values pass through the modality LUT or rescale slope, then through the VOI LUT or
    window (the first of several), as in DICOM PS3.3 C.11. Without either, the minimum and maximum
    of the pixels without padding become black and white. MONOCHROME1, where low values are bright,
    is inverted, so that bone is always bright.

    Args:
        data: The content of the file.

    Returns:
        Gray values, uint8 ``(H, W)``, and the photometric interpretation of the file.

    Raises:
        MissingExtraError: If pydicom or the codec of the pixels is not installed.
        ValueError: If the file has no image, or several frames.
    """
    pydicom = require("pydicom", "dicom")
    dataset = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in dataset:
        raise ValueError("DICOM file must have pixel data")
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    if num_frames > 1:
        raise ValueError(f"DICOM file must have one frame, got {num_frames}; save a single frame")
    pixels = _pixels(dataset)
    interpretation = str(dataset.PhotometricInterpretation)
    if interpretation not in _GRAY:
        return np.asarray(Image.fromarray(pixels).convert("L")), interpretation
    brightness = _window(pixels, dataset)
    if interpretation == "MONOCHROME1":
        brightness = 1 - brightness
    return np.round(brightness * 255).astype(np.uint8), interpretation


def _pixels(dataset: Any) -> npt.NDArray[Any]:  # noqa: ANN401  (pydicom's Dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    # The extra has no codec for lossless JPEG: pylibjpeg-libjpeg is GPL, and GDCM can crash the
    # process on a damaged file, which cannot be caught in Python.
    if syntax.is_compressed and not _pixels_module().get_decoder(syntax).is_available:
        raise MissingExtraError(
            f"no codec for {syntax.name} is installed; install one with: "
            "pip install 'cxrtransfer[dicom]' (JPEG 2000, JPEG-LS), "
            "pip install python-gdcm (lossless JPEG)"
        )
    pixels: npt.NDArray[Any] = dataset.pixel_array
    return pixels


def _pixels_module() -> Any:  # noqa: ANN401  (a module)
    return require("pydicom.pixels", "dicom")


def _window(pixels: npt.NDArray[Any], dataset: Any) -> Values:  # noqa: ANN401
    """Return the display brightness of stored values, in [0, 1]."""
    lut = _pixels_module()
    values = np.asarray(lut.apply_modality_lut(pixels, dataset))
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    brightness: Values
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        brightness = lut.apply_voi_lut(values, dataset, prefer_lut=True) / (2.0**bits - 1)
    elif center is None or width is None or width <= 0:
        inside = values[pixels != dataset.get("PixelPaddingValue")]
        low, high = (inside.min(), inside.max()) if inside.size else (0, 0)
        brightness = (values - float(low)) / max(float(high) - float(low), 1e-12)
    elif dataset.get("VOILUTFunction") == "SIGMOID":
        brightness = 1 / (1 + np.exp(-4 * (values - center) / width))
    elif dataset.get("VOILUTFunction") == "LINEAR_EXACT":
        brightness = (values - center) / width + 0.5
    else:  # LINEAR, PS3.3 C.11.2.1.2.1: the ends of the window are pixel values
        brightness = (values - (center - 0.5)) / max(width - 1, 1e-12) + 0.5
    return brightness.clip(0, 1)


def _first(value: Any) -> float | None:  # noqa: ANN401
    """Return the first of one or several numbers, or None."""
    if value is None or value == "":
        return None
    if isinstance(value, str | int | float):
        return float(value)
    try:
        return float(value[0])
    except TypeError:
        return float(value)
    except IndexError:
        return None
