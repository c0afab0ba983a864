"""Data sets: records, splits, decoding, torch datasets and audits."""

from .audit import AuditResult, Duplicates, NearDuplicates, SharedPatients, audit, near_pairs
from .augment import Augment
from .dataset import StratifiedResplit
from .images import ImageInfo, decode_image, decode_images, decode_with_info, thread_map
from .records import Record, Records
from .samplers import EpochSampler, upsampling_sampler, weighted_sampler
from .sources import (
    FINDINGS,
    RemoteFile,
    download_kermany,
    download_pneumonia_mnist,
    draw_patches,
    draw_radiograph,
    draw_radiographs,
    find_images,
    kermany_patient_id,
    lesion_masks,
    load_kermany,
    read_folder,
    unpack_medmnist,
)
from .splits import fold_records, resplit
from .transforms import to_model_input

__all__ = [
    "FINDINGS",
    "AuditResult",
    "Augment",
    "Duplicates",
    "EpochSampler",
    "ImageInfo",
    "NearDuplicates",
    "Record",
    "Records",
    "RemoteFile",
    "SharedPatients",
    "StratifiedResplit",
    "audit",
    "decode_image",
    "decode_images",
    "decode_with_info",
    "download_kermany",
    "download_pneumonia_mnist",
    "draw_patches",
    "draw_radiograph",
    "draw_radiographs",
    "find_images",
    "fold_records",
    "kermany_patient_id",
    "lesion_masks",
    "load_kermany",
    "near_pairs",
    "read_folder",
    "resplit",
    "thread_map",
    "to_model_input",
    "unpack_medmnist",
    "upsampling_sampler",
    "weighted_sampler",
]
