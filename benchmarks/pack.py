"""Pack images and pretrained weights into one small folder, for ``benchmarks/gpu.py``.

    python benchmarks/pack.py packed --data chest_xray --weights weights

The folder has the image files, unchanged, in ``images.zip``, and a weights file for each network
of ``--networks``. It is refused if it exceeds ``--limit-mb``, because it is carried to a machine
without internet access.
"""

import argparse
import os
import shutil
import zipfile
from pathlib import Path

from cxrtransfer.data import read_folder


def main() -> None:
    """Write the folder and print its size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRTRANSFER_DATA"))
    parser.add_argument("--weights", type=Path, default=os.environ.get("CXRTRANSFER_WEIGHTS"))
    parser.add_argument("--networks", nargs="*", default=["mobilenet_v2", "squeezenet1_1"])
    parser.add_argument("--limit-mb", type=float, default=55)
    options = parser.parse_args()
    if options.data is None or (options.networks and options.weights is None):
        parser.error("pass --data and --weights, or set CXRTRANSFER_DATA and CXRTRANSFER_WEIGHTS")
    size = pack(
        options.out, options.data, [options.weights / f"{n}.pth" for n in options.networks]
    )
    print(f"{options.out}: {size / 1e6:.1f} MB")
    if size > options.limit_mb * 1e6:
        raise SystemExit(
            f"the folder must not exceed {options.limit_mb} MB; name fewer --networks, or pass "
            "smaller images"
        )


def pack(out: Path, data: Path, weights: list[Path]) -> int:
    """Write the folder; return its size in bytes.

    Args:
        out: The folder to write.
        data: A folder that ``read_folder`` can read.
        weights: Weights files to include.
    """
    out.mkdir(parents=True, exist_ok=True)
    # Not compressed: image files are already.
    with zipfile.ZipFile(out / "images.zip", "w") as images:
        for record in read_folder(data):
            images.write(record.path, record.path.relative_to(data))
    for path in weights:
        shutil.copyfile(path, out / path.name)
    return sum(path.stat().st_size for path in out.iterdir())


if __name__ == "__main__":
    main()
