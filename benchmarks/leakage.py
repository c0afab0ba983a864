"""Results of the documentation page on leakage: audits, shared patients and near-duplicates.

python benchmarks/leakage.py --data KERMANY --originals ORIGINALS --out docs/_output
"""

import argparse
import inspect
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from cxrtransfer.data import (
    Records,
    audit,
    decode_image,
    decode_images,
    load_kermany,
    near_pairs,
    read_folder,
    resplit,
)
from cxrtransfer.data.audit.duplicates import THUMBNAIL_SIZE

NUM_IMAGES = 100


def encode(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    """Return the content of a file of this image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def crop(image: Image.Image, part: float) -> Image.Image:
    """Crop a fraction of the width and height from each side."""
    x, y = round(part * image.width), round(part * image.height)
    return image.crop((x, y, image.width - x, image.height - y))


def resize(image: Image.Image, factor: float) -> Image.Image:
    """Change the size by a factor."""
    return image.resize((round(image.width * factor), round(image.height * factor)))


def shift(image: Image.Image, part: float) -> Image.Image:
    """Translate to the left and down, with a black border."""
    by = round(part * image.width)
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, by, 0, 1, -by))


def with_text(image: Image.Image) -> Image.Image:
    """Draw a label in the corner."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, 64, 20), fill=255)
    draw.text((8, 6), "PORTABLE", fill=0)
    return image


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 30": lambda image: encode(image, "JPEG", quality=30),
    "JPEG of quality 10": lambda image: encode(image, "JPEG", quality=10),
    "half the size": lambda image: encode(resize(image, 0.5)),
    "twice the size": lambda image: encode(resize(image, 2)),
    "brightness x 1.3": lambda image: encode(ImageEnhance.Brightness(image).enhance(1.3)),
    "contrast x 0.7": lambda image: encode(ImageEnhance.Contrast(image).enhance(0.7)),
    "gamma 1.3": lambda image: encode(image.point(lambda gray: 255 * (gray / 255) ** 1.3)),
    "cropped 1% per side": lambda image: encode(crop(image, 0.01)),
    "cropped 2% per side": lambda image: encode(crop(image, 0.02)),
    "cropped 5% per side": lambda image: encode(crop(image, 0.05)),
    "cropped 10% per side": lambda image: encode(crop(image, 0.1)),
    "rotated by 1 degree": lambda image: encode(image.rotate(1, Image.Resampling.BILINEAR)),
    "rotated by 2 degrees": lambda image: encode(image.rotate(2, Image.Resampling.BILINEAR)),
    "rotated by 3 degrees": lambda image: encode(image.rotate(3, Image.Resampling.BILINEAR)),
    "rotated by 6 degrees": lambda image: encode(image.rotate(6, Image.Resampling.BILINEAR)),
    "translated by 3%": lambda image: encode(shift(image, 0.03)),
    "black border of 3%": lambda image: encode(ImageOps.expand(image, round(0.03 * image.width))),
    "text label": lambda image: encode(with_text(image)),
    "2 degrees, 3% per side, JPEG": lambda image: encode(
        crop(image.rotate(2, Image.Resampling.BILINEAR), 0.03), "JPEG", quality=40
    ),
    "mirrored": lambda image: encode(ImageOps.mirror(image)),
    "mirrored, 3 degrees, JPEG": lambda image: encode(
        ImageOps.mirror(image).rotate(3, Image.Resampling.BILINEAR), "JPEG", quality=40
    ),
    "negative": lambda image: encode(ImageOps.invert(image)),
}


def copies(records: Records) -> str:
    """Fraction of copies that are detected among all images, by kind of change."""
    threshold = inspect.signature(audit).parameters["max_distance"].default
    furthest = 1.5 * threshold  # larger distances count as infinite
    originals = np.random.default_rng(0).choice(
        len(records), (len(COPIES), NUM_IMAGES), replace=False
    )
    thumbnails, _ = decode_images([row.path for row in records], THUMBNAIL_SIZE)
    added = []
    for indices, change in zip(originals.tolist(), COPIES.values(), strict=True):
        for index in indices:
            with Image.open(records[index].path) as opened:
                added.append(decode_image(change(opened.convert("L")), THUMBNAIL_SIZE))
    everything = np.concatenate([thumbnails, added])
    distance_of: dict[tuple[int, int], float] = {}
    for mirrored in (False, True):
        pairs, distances = near_pairs(everything, max_distance=furthest, mirrored=mirrored)
        distance_of |= dict(zip(map(tuple, pairs.tolist()), distances, strict=True))
    lines = [
        f"{NUM_IMAGES} copies of each kind among {len(records):,} images, no image copied twice;",
        f"distances (inf: more than {furthest:.2f}), and the fraction within {threshold:.2f}",
        "",
        f"{'change':28s} {'median':>6s} {'90th pct':>8s} {'detected':>8s}",
    ]
    places = np.arange(len(records), len(everything)).reshape(originals.shape)
    for name, indices, copied in zip(COPIES, originals, places, strict=True):
        distances = [
            distance_of.get(pair, np.inf)
            for pair in zip(indices.tolist(), copied.tolist(), strict=True)
        ]
        median, upper = np.quantile(distances, [0.5, 0.9], method="lower")
        detected = np.mean(np.array(distances) <= threshold)
        lines.append(f"{name:28s} {median:6.3f} {upper:8.3f} {detected:8.0%}")
    return "\n".join(lines)


def nearest(records: Records) -> str:
    """The most similar images in different files."""
    pairs = audit(records, max_distance=0.15).near_duplicates
    lines = [f"nearest pairs of {len(records):,} images, without identical files"]
    for pair in pairs[:10]:
        whose = "one patient" if pair.same_patient else "two patients"
        lines.append(f"{pair.distance:.3f}  {whose:12s}  {' = '.join(pair.ids)}")
    return "\n".join(lines)


def shared_by_seed(records: Records) -> str:
    """Fraction of images moved to validation by image whose patient is also in training."""
    lines = ["seed  all moved  pneumonia"]
    fractions = []
    for seed in range(10):
        divided = resplit(records, group_by=None, seed=seed)
        in_train = set(divided.where("train").patient_ids)
        names = dict(zip(divided.ids, divided, strict=True))
        moved = [
            row for name, row in names.items() if row.split == "val" and name.startswith("train")
        ]
        shared = [row.patient_id in in_train for row in moved]
        sick = [row.patient_id in in_train for row in moved if row.label]
        fractions.append((np.mean(shared), np.mean(sick)))
        lines.append(f"{seed:4d}  {fractions[-1][0]:9.1%}  {fractions[-1][1]:9.1%}")
    mean = np.mean(fractions, axis=0)
    return "\n".join([*lines, f"mean  {mean[0]:9.1%}  {mean[1]:9.1%}"])


def main() -> None:
    """Write one text file per result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--originals", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    records = load_kermany(options.data)
    results = {
        "shared-by-seed": shared_by_seed(records),
        "copies": copies(records),
        "nearest": nearest(records),
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
