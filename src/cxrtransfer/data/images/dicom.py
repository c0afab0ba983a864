"""Decoding of DICOM files to the gray values of a display."""

import io
import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrtransfer.errors import MissingExtraError
from cxrtransfer.runtime import require

__all__ = ["MAX_BYTES", "MAX_PIXELS", "check_scans", "depth_of", "is_dicom", "read_dicom"]

Values = npt.NDArray[np.float64]

MAX_PIXELS = 80_000_000  # ten times a large radiograph; guards against decompression bombs
MAX_BYTES = 2**29
MAX_SCANS = 100  # of a JPEG; each reads all pixels again, and takes only some bytes
_DEPTHS = (8, 10, 12, 14, 16)  # bits per pixel of detectors
_GRAY = ("MONOCHROME1", "MONOCHROME2")
_COLOR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_LUMINANCE = (0.299, 0.587, 0.114)  # as in Pillow
_DEFLATED = "1.2.840.10008.1.2.1.99"


def is_dicom(data: bytes) -> bool:
    """Return whether a file has the preamble of DICOM, or begins with a group of its header."""
    return data[128:132] == b"DICM" or data[:2] in (b"\x02\0", b"\x08\0")


def depth_of(values: npt.NDArray[Any]) -> int:
    """Return the smallest bit depth of detectors that holds all values in [0, 65535]."""
    high = values.max(initial=0)
    return next(bits for bits in _DEPTHS if high < 2**bits)


def check_scans(data: bytes) -> None:
    """Raise an error for a JPEG with so many scans that decoding it would hardly end."""
    num_scans = data.count(b"\xff\xda") if data.startswith(b"\xff\xd8") else 0
    if num_scans > MAX_SCANS:
        raise ValueError(f"JPEG file must have at most {MAX_SCANS} scans, got {num_scans:,}")


def read_dicom(data: bytes) -> tuple[npt.NDArray[np.uint8], str]:
    """Decode a single-frame DICOM file.

    Stored values pass through the modality LUT or rescale slope, then through the VOI LUT or
    window (the first of several), as in DICOM PS3.3 C.11. Without either, the range of the stored
    bits becomes black to white. MONOCHROME1, where low values are bright, is inverted, so that
    bone is always bright. Palettes are applied, color is converted to luminance, and padding is
    black.

    Args:
        data: The content of the file.

    Returns:
        Gray values, uint8 ``(H, W)``, and the photometric interpretation of the file.

    Raises:
        MissingExtraError: If pydicom or the codec of the pixels is not installed.
        ValueError: If the file has no image, several frames, too many pixels, or tags that do not
            define its gray values.
    """
    pydicom = require("pydicom", "dicom")
    _check_inflated_size(data)
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    if "PixelData" not in dataset:
        raise ValueError("DICOM file must have pixel data")
    num_frames = int(dataset.get("NumberOfFrames") or 1)
    if num_frames > 1:
        raise ValueError(f"DICOM file must have one frame, got {num_frames}; save a single frame")
    interpretation = str(dataset.get("PhotometricInterpretation"))
    if interpretation not in (*_GRAY, *_COLOR, "PALETTE COLOR"):
        raise ValueError(
            "photometric interpretation must be MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB or "
            f"YBR, got {interpretation}"
        )
    bits = int(dataset.get("BitsStored") or 0)
    if not 1 <= bits <= 16:
        raise ValueError(f"BitsStored must be in [1, 16], got {bits}")
    pixels = _pixels(dataset)
    if interpretation == "PALETTE COLOR":
        colors = _pixels_module().apply_color_lut(pixels, dataset)
        brightness = _luminance(colors, depth_of(colors))
    elif interpretation in _COLOR:
        brightness = _luminance(pixels, bits)
    else:
        brightness = _display(pixels, dataset, bits)
        if interpretation == "MONOCHROME1":
            brightness = 1 - brightness
        brightness[_is_padding(pixels, dataset)] = 0
    return np.round(brightness * 255).astype(np.uint8), interpretation


def _check_inflated_size(data: bytes) -> None:
    """Raise an error for a deflated file that pydicom would inflate to more than ``MAX_BYTES``."""
    if data[128:132] != b"DICM":
        return
    file = io.BytesIO(data)
    file.seek(132)
    meta = require("pydicom.filereader", "dicom").read_dataset(
        file, False, True, stop_when=lambda tag, *_: tag.group != 2
    )
    if meta.get("TransferSyntaxUID") == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        size = 0
        rest = file.read()
        while rest and size <= MAX_BYTES and not inflater.eof:
            size += len(inflater.decompress(rest, 2**20))
            rest = inflater.unconsumed_tail
        if size > MAX_BYTES:
            raise ValueError(f"DICOM file must inflate to at most {MAX_BYTES:,} bytes")


def _pixels(dataset: Any) -> npt.NDArray[Any]:  # noqa: ANN401  (pydicom's Dataset)
    shape = tuple(int(dataset.get(name) or 0) for name in ("Rows", "Columns", "SamplesPerPixel"))
    if not 0 < shape[0] * shape[1] <= MAX_PIXELS or shape[2] not in (1, 3):
        raise ValueError(
            f"image must have 1 to {MAX_PIXELS:,} pixels of 1 or 3 samples, got {shape}"
        )
    syntax = _transfer_syntax(dataset)
    # The extra has no codec for lossless JPEG: pylibjpeg-libjpeg is GPL, and GDCM can crash the
    # process on a damaged file, which cannot be caught in Python.
    if syntax.is_encapsulated:
        try:
            available = _pixels_module().get_decoder(syntax).is_available
        except NotImplementedError:
            raise ValueError(f"transfer syntax {syntax.name} is not supported") from None
        if not available:
            raise MissingExtraError(
                f"no codec for {syntax.name} is installed; install one with: "
                "pip install 'cxrtransfer[dicom]' (JPEG 2000, JPEG-LS), "
                "pip install python-gdcm (lossless JPEG)"
            )
        frame = require("pydicom.encaps", "dicom").get_frame(
            dataset.PixelData, 0, number_of_frames=1
        )
        check_scans(frame)
        coded = _coded_shape(frame)
        if coded is not None and coded != shape[:2]:
            raise ValueError(f"pixel data must have {shape[:2]} pixels, got {coded}")
    try:
        pixels: npt.NDArray[Any] = dataset.pixel_array
    except Exception as error:
        raise ValueError(
            f"cannot decode {int(dataset.BitsStored)}-bit pixels in {syntax.name}: {error}"
        ) from error
    if pixels.shape != (shape if shape[2] == 3 else shape[:2]):
        raise ValueError(f"pixel data must have the shape {shape}, got {pixels.shape}")
    return pixels


def _transfer_syntax(dataset: Any) -> Any:  # noqa: ANN401
    """Return the transfer syntax; set it if it is missing and the pixels are not compressed."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        uid = require("pydicom.uid", "dicom")
        if dataset["PixelData"].is_undefined_length:
            raise ValueError("DICOM file with compressed pixels must have a transfer syntax")
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            uid.ImplicitVRLittleEndian
            if implicit
            else uid.ExplicitVRLittleEndian
            if little
            else uid.ExplicitVRBigEndian
        )
    return dataset.file_meta.TransferSyntaxUID


def _coded_shape(frame: bytes) -> tuple[int, int] | None:
    """Return the height and width in the header of a JPEG, JPEG-LS or JPEG 2000 code stream."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 2**16)  # first two markers of JPEG 2000
    if start >= 0:
        right, bottom, left, top = (
            int.from_bytes(frame[start + 8 + 4 * i : start + 12 + 4 * i]) for i in range(4)
        )
        return bottom - top, right - left
    place = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while place + 9 < len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return (
                int.from_bytes(frame[place + 5 : place + 7]),
                int.from_bytes(frame[place + 7 : place + 9]),
            )
        # 0xFF may be repeated as a fill byte before a marker.
        place += 1 if marker == 0xFF else 2 + int.from_bytes(frame[place + 2 : place + 4])
    return None


def _pixels_module() -> Any:  # noqa: ANN401  (a module)
    return require("pydicom.pixels", "dicom")


def _luminance(colors: npt.NDArray[Any], bits: int) -> Values:
    brightness: Values = (colors @ np.array(_LUMINANCE)) / (2.0**bits - 1)
    return brightness.clip(0, 1)


def _is_padding(pixels: npt.NDArray[Any], dataset: Any) -> npt.NDArray[np.bool_]:  # noqa: ANN401
    """Return the mask of padding pixels, PS3.3 C.7.5.1.1.2."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(pixels.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(value), int(value if limit is None else limit)))
    return (pixels >= low) & (pixels <= high)


def _display(pixels: npt.NDArray[Any], dataset: Any, bits: int) -> Values:  # noqa: ANN401
    """Return the display brightness of stored gray values, in [0, 1]."""
    signed = bool(dataset.get("PixelRepresentation"))
    image = ~_is_padding(pixels, dataset)
    inside = pixels[image]
    if bits == 16 and not signed and inside.size:
        bits = depth_of(inside)  # many files with fewer bits declare 16
    stored = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    if dataset.get("ModalityLUTSequence"):
        values, white = _look_up(pixels, dataset, "ModalityLUTSequence")
        black = 0.0
    else:
        slope, intercept = (
            _number(dataset, name, default)
            for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
        )
        if slope == 0:
            raise ValueError("RescaleSlope must not be 0")
        values = pixels * slope + intercept
        black, white = sorted((stored * slope + intercept).tolist())
    if dataset.get("VOILUTSequence"):
        shown, white = _look_up(values, dataset, "VOILUTSequence")
        return shown / white
    center = _number(dataset, "WindowCenter", math.inf)
    width = _number(dataset, "WindowWidth", 0.0)
    if width <= 0 or center == math.inf:
        return ((values - black) / (white - black)).clip(0, 1)
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    brightness: Values
    if function == "SIGMOID":
        brightness = 1 / (1 + np.exp((-4 * (values - center) / width).clip(-50, 50)))
    elif function == "LINEAR_EXACT":
        brightness = (values - center) / width + 0.5
    elif function == "LINEAR":  # PS3.3 C.11.2.1.2.1: the ends of the window are pixel values
        brightness = (values - (center - 0.5)) / max(width - 1, 1e-12) + 0.5
    else:
        raise ValueError(f"VOILUTFunction must be LINEAR, LINEAR_EXACT or SIGMOID, got {function}")
    brightness = brightness.clip(0, 1)
    if inside.size and np.ptp(inside) and not np.ptp(brightness[image].round(3)):
        raise ValueError(
            f"window must overlap the pixel values, got center {center:g} and width {width:g} for "
            f"values {values.min():g} to {values.max():g}"
        )
    return brightness


def _look_up(values: npt.NDArray[Any], dataset: Any, name: str) -> tuple[Values, float]:  # noqa: ANN401
    """Apply the first lookup table of a sequence; return the values and that of white.

    Not with pydicom 3.0, which computes the positions in an 8-bit table modulo 256.
    """
    table = dataset[name].value[0]
    num, first, bits = (int(number) for number in table.LUTDescriptor)
    num = num or 2**16
    entries = table.LUTData
    if isinstance(entries, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        entries = np.frombuffer(entries, dtype="u1" if len(entries) < 2 * num else f"{order}u2")
    entries = np.asarray(entries).astype(np.int64)[:num] & 0xFFFF
    if len(entries) < num or not 8 <= bits <= 16:
        raise ValueError(
            f"{name} must have {num} entries of 8 to 16 bits, got {len(entries)} of {bits} bits"
        )
    if bits == 16:
        bits = depth_of(entries)  # many tables with fewer bits declare 16
    positions = (np.round(values) - first).clip(0, num - 1).astype(np.int64)
    return entries[positions].clip(0, 2**bits - 1).astype(np.float64), 2.0**bits - 1


def _number(dataset: Any, name: str, default: float) -> float:  # noqa: ANN401
    """Return the first number of a tag, which must be finite, or the default."""
    value = dataset.get(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str | int | float):
        if not len(value):
            return default
        value = value[0]
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number
