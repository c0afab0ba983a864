"""Decoding of image files, DICOM included, and the cache of decoded images."""

from .decode import (
    DECODER_VERSION,
    ImageInfo,
    decode_image,
    decode_images,
    decode_with_info,
    thread_map,
)

__all__ = [
    "DECODER_VERSION",
    "ImageInfo",
    "decode_image",
    "decode_images",
    "decode_with_info",
    "thread_map",
]
