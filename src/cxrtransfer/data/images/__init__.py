"""Decode image files, DICOM included, and cache the decoded pixels."""

from .cache import MappedImages, decode_once
from .decode import (
    DECODER_VERSION,
    Fit,
    ImageInfo,
    Interpolation,
    check_images,
    decode_image,
    decode_images,
    gray_square,
    in_threads,
    read_file,
    reason,
)

__all__ = [
    "DECODER_VERSION",
    "Fit",
    "ImageInfo",
    "Interpolation",
    "MappedImages",
    "check_images",
    "decode_image",
    "decode_images",
    "decode_once",
    "gray_square",
    "in_threads",
    "read_file",
    "reason",
]
