"""Pneumonia on the images of the RSNA challenge, with heatmaps scored against its boxes.

    python examples/studies/rsna.py --data rsna-pneumonia-detection-challenge --out runs/rsna

The folder has ``stage_2_train_labels.csv``, ``stage_2_detailed_class_info.csv`` and the DICOM
files in ``stage_2_train_images``; the extra ``dicom`` is needed. ``--small`` draws a few images in
that layout. Training, validation and test are 70, 10 and 20% of the images; settings are the
library's defaults.
"""

import csv
from pathlib import Path

import numpy as np
import pydicom
from options import SMALL_SIZE, parse
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from cxrtransfer.config import run_name
from cxrtransfer.data import draw_radiograph, load_rsna
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, run_study
from cxrtransfer.training import TrainConfig


def main() -> None:
    """Train, test and explain; write the report."""
    options = parse(__doc__, ["resnet50"], epochs=3)
    if options.small:
        options.data = draw_stand_in(options.out / "rsna", num_images=60)
        options.models = ["squeezenet1_1"]
    records = load_rsna(options.data)
    configs = [
        RunConfig(
            name=run_name(model),
            model=model,
            pretrained=options.pretrained,
            image_size=options.image_size,
            test_fraction=0.2,
            val_fraction=0.125,
            positive="Lung Opacity",
            training=TrainConfig(epochs=options.epochs, seed=options.seed),
        )
        for model in options.models
    ]
    title = "Pneumonia on the images of the RSNA challenge"
    for run in run_study(configs, records, options.out, title=title, device=options.device):
        scores = run.localization()
        print(f"{run.name}: AUROC {run.test_metrics['auroc']:.3f}", end="")
        if scores is not None:
            print(
                f"; peak in a box {scores.hits.mean():.1%}, heatmap in the boxes "
                f"{np.nanmean(scores.energy):.1%}, area of the boxes {scores.area.mean():.1%}",
                end="",
            )
        print()
    print(write_report(options.out).resolve())


def draw_stand_in(root: Path, *, num_images: int, size: int = SMALL_SIZE) -> Path:
    """Draw images with boxes in the layout of the challenge, with random identifiers.

    Args:
        root: The folder to create; one that exists is returned as it is.
        num_images: Number of images; every other one has opacities.
        size: Height and width in pixels.
    """
    if root.exists():
        return root
    (root / "stage_2_train_images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels, details = [], []
    for number in range(num_images):
        image, lesion = draw_radiograph(rng, size, pneumonia=number % 2 == 0)
        name = rng.bytes(16).hex()
        _write_dicom(root / "stage_2_train_images" / f"{name}.dcm", image, name)
        # One box for each half of the image with an opacity, as for each lung.
        halves = (slice(0, size // 2), slice(size // 2, size))
        boxes = [_box(lesion, half) for half in halves if lesion[:, half].any()]
        if boxes:
            kind = "Lung Opacity"
        else:
            kind = ("Normal", "No Lung Opacity / Not Normal")[number // 2 % 2]
        labels += [[name, *box, 1] for box in boxes] or [[name, "", "", "", "", 0]]
        details += [[name, kind]] * max(1, len(boxes))  # the table repeats the class, too
    tables = {
        "stage_2_train_labels.csv": (["patientId", "x", "y", "width", "height", "Target"], labels),
        "stage_2_detailed_class_info.csv": (["patientId", "class"], details),
    }
    for file_name, (header, rows) in tables.items():
        with (root / file_name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    return root


def _box(lesion: np.ndarray, half: slice) -> list[float]:
    rows, columns = np.nonzero(lesion[:, half])
    left, top = columns.min() + half.start, rows.min()
    return [float(left), float(top), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)]


def _write_dicom(path: Path, image: np.ndarray, name: str) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
    dicom = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dicom.SOPClassUID = meta.MediaStorageSOPClassUID
    dicom.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dicom.PatientID = name
    dicom.Modality = "CR"
    dicom.PhotometricInterpretation = "MONOCHROME2"
    dicom.SamplesPerPixel = 1
    dicom.Rows, dicom.Columns = image.shape
    dicom.BitsAllocated = dicom.BitsStored = 8
    dicom.HighBit, dicom.PixelRepresentation = 7, 0
    dicom.PixelData = image.tobytes()
    pydicom.dcmwrite(path, dicom, enforce_file_format=True)


if __name__ == "__main__":
    main()
