"""What the pages on leakage say, measured: audits, patients shared by seed, and copies.

python benchmarks/leakage.py --data KERMANY --originals ORIGINALS --out docs/_output
"""

import argparse
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from cxrtransfer.data import (
    Records,
    audit,
    decode_image,
    load_kermany,
    near_pairs,
    read_folder,
    resplit,
)

NUM_IMAGES = 150


def encode(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    """The content of a file with this image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def crop(image: Image.Image, part: float) -> Image.Image:
    """Cut a part of the width and height off every side."""
    x, y = round(part * image.width), round(part * image.height)
    return image.crop((x, y, image.width - x, image.height - y))


def resize(image: Image.Image, factor: float) -> Image.Image:
    """Change the size by a factor."""
    return image.resize((round(image.width * factor), round(image.height * factor)))


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 30": lambda image: encode(image, "JPEG", quality=30),
    "JPEG of quality 10": lambda image: encode(image, "JPEG", quality=10),
    "half the size": lambda image: encode(resize(image, 0.5)),
    "twice the size": lambda image: encode(resize(image, 2)),
    "brightness x 1.3": lambda image: encode(ImageEnhance.Brightness(image).enhance(1.3)),
    "contrast x 0.7": lambda image: encode(ImageEnhance.Contrast(image).enhance(0.7)),
    "gamma 1.3": lambda image: encode(image.point(lambda grey: 255 * (grey / 255) ** 1.3)),
    "cropped 1 % a side": lambda image: encode(crop(image, 0.01)),
    "cropped 2 % a side": lambda image: encode(crop(image, 0.02)),
    "cropped 4 % a side": lambda image: encode(crop(image, 0.04)),
    "turned by 1 degree": lambda image: encode(image.rotate(1, Image.Resampling.BILINEAR)),
    "turned by 3 degrees": lambda image: encode(image.rotate(3, Image.Resampling.BILINEAR)),
}


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """The distance that the audit compares with its threshold; at most 2."""
    return float(near_pairs(np.stack([first, second]), max_distance=2.1)[1][0])


def copies(records: Records) -> str:
    """How far copies of images are from them, by what was done."""
    chosen = np.random.default_rng(0).choice(len(records), NUM_IMAGES, replace=False)
    lines = [f"{'done to a copy':22s} {'median':>6s} {'9 in 10':>8s} {'largest':>8s}  found"]
    for name, change in COPIES.items():
        distances = []
        for index in chosen:
            with Image.open(records[int(index)].path) as opened:
                copy = change(opened.convert("L"))
            original = decode_image(records[int(index)].path, 32)
            distances.append(difference(original, decode_image(copy, 32)))
        median, most = np.quantile(distances, [0.5, 0.9])
        found = np.mean(np.array(distances) <= 0.15)
        lines.append(f"{name:22s} {median:6.3f} {most:8.3f} {max(distances):8.3f} {found:6.0%}")
    return "\n".join(lines)


def strangers(records: Records) -> str:
    """The nearest images of different bytes."""
    nearest = audit(records, max_distance=0.25).near_duplicates[:3]
    lines = [f"nearest of {len(records):,} images, byte-identical ones left out"]
    lines += [f"{pair.distance:.3f}  {' = '.join(pair.ids)}" for pair in nearest]
    return "\n".join(lines)


def shared_by_seed(records: Records) -> str:
    """How many of the images moved to val by the paper's split have their patient in train."""
    lines = ["seed  all moved  pneumonia"]
    shares = []
    for seed in range(10):
        divided = resplit(records, group_by=None, seed=seed)
        in_train = set(divided.where("train").patient_ids)
        names = dict(zip(divided.ids, divided, strict=True))
        moved = [
            row for name, row in names.items() if row.split == "val" and name.startswith("train")
        ]
        shared = [row.patient_id in in_train for row in moved]
        sick = [row.patient_id in in_train for row in moved if row.label]
        shares.append((np.mean(shared), np.mean(sick)))
        lines.append(f"{seed:4d}  {shares[-1][0]:9.1%}  {shares[-1][1]:9.1%}")
    mean = np.mean(shares, axis=0)
    return "\n".join([*lines, f"mean  {mean[0]:9.1%}  {mean[1]:9.1%}"])


def main() -> None:
    """Measure everything and write one text file each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--originals", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    records = load_kermany(options.data)
    results = {
        "shared-by-seed": shared_by_seed(records),
        "copies": copies(records),
        "strangers": strangers(records),
        "audit-originals": str(audit(read_folder(options.originals))),
        "audit-image-level": str(audit(resplit(records, group_by=None))),
        "audit-grouped": str(audit(resplit(records))),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in results.items():
        (options.out / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
        print(f"{name}\n{text}\n")


if __name__ == "__main__":
    main()
