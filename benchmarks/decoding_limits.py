"""Processor time to decode the slowest images of each format.

Noise is the slowest content of a format, an image of one color the largest image for the size of
its file. Times are of one thread, and do not include waiting for a busy processor.

    python benchmarks/decoding_limits.py --out docs/_output/decoding-limits.txt
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cxrtransfer.data import decode_image

NOISE_SIDE = 3_000  # 9 million pixels
LIMIT_SIDE = 8_944  # just below the limit of 80 million pixels

FORMATS = {
    "JPEG": ("JPEG", {"quality": 95}),
    "JPEG, progressive": ("JPEG", {"quality": 95, "progressive": True}),
    "PNG": ("PNG", {"compress_level": 1}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "BMP": ("BMP", {}),
    "WebP, lossless": ("WEBP", {"lossless": True, "method": 0}),
    "JPEG 2000": ("JPEG2000", {}),
}


def measure(image: Image.Image, kind: str, options: dict[str, object]) -> str:
    """Return the size of the file in MB and the seconds to decode it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    start = time.process_time()
    decode_image(file.getvalue(), 224)
    seconds = time.process_time() - start
    return f"{file.tell() / 1e6:10.3f} MB {seconds:6.1f} s"


def main() -> None:
    """Measure every format, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (NOISE_SIDE, NOISE_SIDE, 3), dtype=np.uint8))
    black = Image.new("RGB", (LIMIT_SIDE, LIMIT_SIDE))
    lines = [
        f"{'color image':20}{'noise, 9 million pixels':>22}  {'black, 80 million pixels':>24}"
    ]
    for name, (kind, settings) in FORMATS.items():
        texts = [measure(image, kind, settings) for image in (noise, black)]
        lines.append(f"{name:20}{'  '.join(f'{text:>22}' for text in texts)}")
        print(lines[-1], flush=True)
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
