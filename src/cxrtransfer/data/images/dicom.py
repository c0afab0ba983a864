"""DICOM: from stored values to gray as a radiologist would see it."""

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
    """Tell DICOM by its preamble."""
    return data[128:132] == b"DICM"


def read_dicom(data: bytes) -> tuple[npt.NDArray[np.uint8], str]:
    """Decode the one image in a DICOM file.

    Stored values go through the modality's table or slope, then the table or window for viewing
    (the first, where there are several), as PS3.3 C.11 has it; without either, the darkest and
    brightest pixels become black and white, padding left out. MONOCHROME1, where low values are
    bright, is inverted, so that bone is always bright.

    Args:
        data: The file's content.

    Returns:
        Gray values, uint8 ``(H, W)``, and the file's photometric interpretation.

    Raises:
        MissingExtraError: If pydicom or the codec for these pixels is not installed.
        ValueError: If there is no image, or more than one frame.
    """
    pydicom = require("pydicom", "dicom")
    dataset = pydicom.dcmread(io.BytesIO(data))
    if "PixelData" not in dataset:
        raise ValueError("DICOM without pixels")
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    if num_frames > 1:
        raise ValueError(f"DICOM with {num_frames} frames; save the one that is meant")
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
    # No codec for lossless JPEG is in the extra: of those that there are, one is GPL, and GDCM was
    # seen to crash the process on a broken file, which nothing in Python can catch.
    if syntax.is_compressed and not _pixels_module().get_decoder(syntax).is_available:
        raise MissingExtraError(
            f"these pixels are packed as {syntax.name}, and no installed codec unpacks them; "
            "pip install 'cxrtransfer[dicom]' brings codecs for JPEG 2000 and JPEG-LS, "
            "pip install python-gdcm one for lossless JPEG"
        )
    pixels: npt.NDArray[Any] = dataset.pixel_array
    return pixels


def _pixels_module() -> Any:  # noqa: ANN401  (a module)
    return require("pydicom.pixels", "dicom")


def _window(pixels: npt.NDArray[Any], dataset: Any) -> Values:  # noqa: ANN401
    """Map stored values to brightness in [0, 1]."""
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
    else:  # PS3.3 C.11.2.1.2.1: the window's ends lie on pixel values
        brightness = (values - (center - 0.5)) / max(width - 1, 1e-12) + 0.5
    return brightness.clip(0, 1)


def _first(value: Any) -> float | None:  # noqa: ANN401
    """Take the first of one or several numbers; None where there is none."""
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
