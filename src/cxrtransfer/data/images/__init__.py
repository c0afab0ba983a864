"""Decoding of image files, DICOM included, and the cache of decoded images."""

from .decode import ImageInfo, decode_image, decode_images, decode_with_info, thread_map

__all__ = ["ImageInfo", "decode_image", "decode_images", "decode_with_info", "thread_map"]
