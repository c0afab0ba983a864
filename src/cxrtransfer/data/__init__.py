"""Which images? Records, splits without leakage, decoding, datasets."""

from .audit import AuditResult, Duplicates, NearDuplicates, SharedPatients, audit, near_pairs
from .augment import Augment
from .dataset import StratifiedResplit
from .images import MappedImages, check_images, decode_image, decode_images, decode_once
from .patients import kermany_patient_id
from .records import Record, Records
from .samplers import (
    EpochSampler,
    upsampled_indices,
    upsampling_sampler,
    weighted_indices,
    weighted_sampler,
)
from .sources import (
    Anatomy,
    RemoteFile,
    download_kermany,
    download_pneumonia_mnist,
    draw_radiograph,
    draw_radiographs,
    fetch,
    find_images,
    lesion_masks,
    load_kermany,
    read_folder,
    unpack_medmnist,
    unzip,
)
from .splits import fold_records, hold_out, k_folds, resplit
from .transforms import to_model_input

__all__ = [
    "Anatomy",
    "AuditResult",
    "Augment",
    "Duplicates",
    "EpochSampler",
    "MappedImages",
    "NearDuplicates",
    "Record",
    "Records",
    "RemoteFile",
    "SharedPatients",
    "StratifiedResplit",
    "audit",
    "check_images",
    "decode_image",
    "decode_images",
    "decode_once",
    "download_kermany",
    "download_pneumonia_mnist",
    "draw_radiograph",
    "draw_radiographs",
    "fetch",
    "find_images",
    "fold_records",
    "hold_out",
    "k_folds",
    "kermany_patient_id",
    "lesion_masks",
    "load_kermany",
    "near_pairs",
    "read_folder",
    "resplit",
    "to_model_input",
    "unpack_medmnist",
    "unzip",
    "upsampled_indices",
    "upsampling_sampler",
    "weighted_indices",
    "weighted_sampler",
]
