"""Acquisition of the Kermany images: how well it predicts the class, and its extremes.

    python benchmarks/acquisition.py --data chest_xray --out docs/_output

Writes ``audit-acquisition.txt``, the AUROC of each statistic in ``acquisition.json``, and
``acquisition.jpg``: normal images that are acquired like pneumonia images, and typical ones.
"""

import argparse
import json
import os
from pathlib import Path

from cxrtransfer.data import Acquisition, Records, audit, decode_images, load_kermany, resplit
from cxrtransfer.plots import plot_samples


def main() -> None:
    """Audit the images and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    records = resplit(load_kermany(options.data), val_fraction=0.1, seed=0)
    acquisition = audit(records).acquisition
    if acquisition is None:
        raise SystemExit("the audit has no acquisition statistics; are images missing?")
    options.out.mkdir(parents=True, exist_ok=True)
    lines = ["Class predicted from the acquisition (AUROC; 0.5 is chance level)"]
    (options.out / "audit-acquisition.txt").write_text(
        "\n".join([*lines, *acquisition.lines()]) + "\n", encoding="utf-8"
    )
    estimates = {
        "border and corners": acquisition.border,
        f"all {len(acquisition.names)} statistics": acquisition.all,
        **acquisition.aurocs,
    }
    values = {name: [e.value, e.low, e.high] for name, e in estimates.items()}
    (options.out / "acquisition.json").write_text(json.dumps(values, indent=1), encoding="utf-8")
    draw_extremes(records, acquisition, options.out / "acquisition.jpg")


def draw_extremes(records: Records, acquisition: Acquisition, target: Path) -> None:
    """Draw the normal images that are acquired most and least like pneumonia images."""
    least, most = acquisition.extremes[records.class_names[0]]
    path_of = {name: row.path for name, row in zip(records.ids, records, strict=True)}
    images, _ = decode_images([path_of[name] for name in (*least, *most)], 160)
    ax = plot_samples(
        list(images),
        [0] * len(least) + [1] * len(most),
        ("like PNEUMONIA", "typical NORMAL"),
        columns=len(least),
    )
    ax.figure.savefig(target, dpi=75, bbox_inches="tight", pil_kwargs={"quality": 80})


if __name__ == "__main__":
    main()
