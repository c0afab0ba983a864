"""Over a thousand damaged files: each must be read right, or be refused with a clear error.

Run by ``nox -s attack``. Every file the library reads is damaged by flipped bits, by truncation
and by bytes cut out or repeated, and read in a process of its own. What came of it is counted:

- right: the same values as from the undamaged file;
- refused: an error of a documented kind;
- undetectable: other values, from a format that carries no checksum;
- silent: other values, although the format carries a checksum or the manifest a digest;
- crash: an error of another kind, or the end of the process;
- hang: no answer within the time limit.
"""

import io
import json
import select
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cxrtransfer.deploy import Classifier
from cxrtransfer.deploy.bundle import BUNDLE_FILES, CONFIG
from cxrtransfer.evaluation import Predictions

if TYPE_CHECKING:
    from conftest import Outcomes

pytestmark = pytest.mark.attack

TIME_LIMIT_S = 60
CLEAR = {"ValueError", "OSError", "MissingExtraError", "MemoryError"}


class Reader:
    """The process that reads; started again after a crash or a hang."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def read(self, target: str, path: Path) -> dict[str, object] | str:
        """Return the answer, or "crash" or "hang"."""
        process = self._process or subprocess.Popen(  # noqa: S603  (this interpreter, on a file beside this one)
            [sys.executable, str(Path(__file__).with_name("reader.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{target}\t{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], TIME_LIMIT_S)
        line = process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        self.close()
        return "crash" if ready else "hang"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


def damaged(content: bytes, count: int, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield ``count`` damaged copies, half of them by one flipped bit, with what was done."""
    for number in range(count):
        at = int(rng.integers(len(content)))
        if number % 2 == 0:
            bit = 1 << int(rng.integers(8))
            yield (
                f"bit flip at {at}",
                content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :],
            )
        elif number % 6 == 1:
            yield f"truncated to {at}", content[:at]
        elif number % 6 == 3:
            length = int(rng.integers(1, 64))
            yield f"{length} bytes cut out at {at}", content[:at] + content[at + length :]
        else:
            noise = rng.bytes(int(rng.integers(1, 16)))
            yield f"noise at {at}", content[:at] + noise + content[at + len(noise) :]


def outcome(answer: dict[str, object] | str, expected: object, *, has_checksum: bool) -> str:
    """Name what came of a damaged file."""
    if isinstance(answer, str):
        return answer
    if "digest" in answer:
        if answer["digest"] == expected:
            return "right"
        return "silent" if has_checksum else "undetectable"
    kinds = answer["kinds"]
    assert isinstance(kinds, list)
    is_ours = str(answer["module"]).startswith(("builtins", "cxrtransfer"))
    return "refused" if is_ours and CLEAR & set(kinds) else "crash"


def attack(
    reader: Reader,
    outcomes: "Outcomes",
    target: str,
    path: Path,
    count: int,
    *,
    has_checksum: bool,
    damage: Path,
) -> None:
    """Damage a file ``count`` times in place, read ``path`` each time, and count outcomes."""
    whole = reader.read(target, path)
    assert isinstance(whole, dict), whole
    assert "digest" in whole, whole
    content = damage.read_bytes()
    failures = []
    try:
        for what, data in damaged(content, count, np.random.default_rng(len(content))):
            damage.write_bytes(data)
            answer = reader.read(target, path)
            result = outcome(answer, whole["digest"], has_checksum=has_checksum)
            if outcomes.add(target, damage.name, result):
                failures.append(f"{result}: {damage.name}, {what}: {str(answer)[:300]}")
    finally:
        damage.write_bytes(content)
    assert not failures, "\n".join(failures[:10])


def _picture() -> Image.Image:
    rows, columns = np.mgrid[:48, :48]
    noise = np.random.default_rng(0).integers(0, 60, (48, 48))
    return Image.fromarray((2 * rows + columns + noise).astype(np.uint8))


FORMATS = {
    "gray.png": ("PNG", {}, True),
    "gray.jpeg": ("JPEG", {"quality": 90}, False),
    "progressive.jpeg": ("JPEG", {"progressive": True}, False),
    "gray.bmp": ("BMP", {}, False),
    "gray.gif": ("GIF", {}, False),
    "plain.tiff": ("TIFF", {}, False),
    "deflated.tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}, False),
    "gray.webp": ("WEBP", {"lossless": True}, False),
}


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_images(reader: Reader, outcomes: "Outcomes", tmp_path: Path, name: str) -> None:
    kind, options, has_checksum = FORMATS[name]
    path = tmp_path / name
    _picture().save(path, kind, **options)

    attack(reader, outcomes, "image", path, 60, has_checksum=has_checksum, damage=path)


def test_damaged_dicom(reader: Reader, outcomes: "Outcomes", tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    path = tmp_path / "image.dcm"
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["a"])
    dataset.Rows = dataset.Columns = 48
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = (np.asarray(_picture()).astype(np.uint16) * 16).tobytes()
    dataset.save_as(path, enforce_file_format=True)

    attack(reader, outcomes, "image", path, 150, has_checksum=False, damage=path)


def test_damaged_tables(reader: Reader, outcomes: "Outcomes", tmp_path: Path) -> None:
    for name in "abcd":
        _picture().save(tmp_path / f"{name}.png")
    path = tmp_path / "images.csv"
    rows = [
        f"{name}.png,{label},p{name},train" for name, label in zip("abcd", "NPNP", strict=True)
    ]
    path.write_text("\n".join(["path,label,patient_id,split", *rows]) + "\n", encoding="utf-8")

    attack(reader, outcomes, "table", path, 120, has_checksum=False, damage=path)


def test_damaged_predictions(reader: Reader, outcomes: "Outcomes", tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    probabilities = np.random.default_rng(0).dirichlet(np.ones(2), 4)
    Predictions(tuple("abcd"), [0, 1, 0, 1], probabilities, ("N", "P")).to_csv(path)

    attack(reader, outcomes, "predictions", path, 60, has_checksum=False, damage=path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_weights(
    reader: Reader, outcomes: "Outcomes", tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"resnet18{suffix}"
    values = torch.randn(300, generator=torch.Generator().manual_seed(0))
    weights = {"conv1.weight": values.reshape(3, 100), "bn1.bias": values[:8].clone()}
    (torch.save if suffix == ".pth" else save_file)(weights, path)

    attack(reader, outcomes, "weights", path, 60, has_checksum=False, damage=path)


def test_damaged_archives(reader: Reader, outcomes: "Outcomes", tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    content = io.BytesIO()
    _picture().save(content, "PNG")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("chest/a.png", "chest/b.png"):
            archive.writestr(zipfile.ZipInfo(name), content.getvalue() * 3)

    # Names and sizes in the central directory have no checksum.
    attack(reader, outcomes, "zip", path, 120, has_checksum=False, damage=path)


def test_damaged_medmnist(reader: Reader, outcomes: "Outcomes", tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count).reshape(-1, 1) % 2
    path = tmp_path / "images.npz"
    np.savez(path, **arrays)

    attack(reader, outcomes, "medmnist", path, 90, has_checksum=False, damage=path)


@pytest.fixture(scope="module")
def run(kermany_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a small network, with some images to predict beside it."""
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(kermany_study / "plain", folder / "plain")
    (folder / "images").mkdir()
    _picture().save(folder / "images" / "a.png")
    return folder / "plain"


def _run_files(run: Path) -> list[Path]:
    return sorted(path for path in run.iterdir() if path.is_file() and path.stat().st_size)


def test_damaged_run_folders(reader: Reader, outcomes: "Outcomes", run: Path) -> None:
    for path in _run_files(run):
        attack(reader, outcomes, "run", run, 20, has_checksum=True, damage=path)


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    """An exported classifier, beside the images."""
    classifier = replace(Classifier.from_run(run, card=False), card="# Model card\n")
    return classifier.save_pretrained(run.with_name("bundle"))


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_damaged_bundles(reader: Reader, outcomes: "Outcomes", bundle: Path, name: str) -> None:
    # The configuration has the digests of the others, and none of its own; the card has none.
    has_checksum = name not in (CONFIG, "README.md")
    attack(reader, outcomes, "bundle", bundle, 20, has_checksum=has_checksum, damage=bundle / name)


def test_missing_files_of_a_run(reader: Reader, outcomes: "Outcomes", run: Path) -> None:
    whole = reader.read("run", run)
    assert isinstance(whole, dict)
    for path in _run_files(run):
        moved = path.rename(path.with_name("moved-away"))
        answer = reader.read("run", run)
        moved.rename(path)
        result = outcome(answer, whole["digest"], has_checksum=True)
        assert not outcomes.add("run", "missing file", result), f"{path.name}: {result} {answer}"
