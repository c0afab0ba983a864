"""Data sets: records, splits, decoding, torch datasets and audits."""

from .audit import (
    BORDER_STATISTICS,
    Acquisition,
    AuditResult,
    AurocEstimate,
    Duplicates,
    NearDuplicates,
    SharedPatients,
    SplitShift,
    acquisition_statistics,
    audit,
    near_pairs,
)
from .augment import Augment
from .dataset import StratifiedResplit
from .images import (
    DECODER_VERSION,
    ImageInfo,
    decode_image,
    decode_images,
    decode_with_info,
    thread_map,
)
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
    load_rsna,
    read_folder,
    unpack_medmnist,
)
from .splits import fold_records, resplit
from .transforms import to_model_input

__all__ = [
    "BORDER_STATISTICS",
    "DECODER_VERSION",
    "FINDINGS",
    "Acquisition",
    "AuditResult",
    "Augment",
    "AurocEstimate",
    "Duplicates",
    "EpochSampler",
    "ImageInfo",
    "NearDuplicates",
    "Record",
    "Records",
    "RemoteFile",
    "SharedPatients",
    "SplitShift",
    "StratifiedResplit",
    "acquisition_statistics",
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
    "load_rsna",
    "near_pairs",
    "read_folder",
    "resplit",
    "thread_map",
    "to_model_input",
    "unpack_medmnist",
    "upsampling_sampler",
    "weighted_sampler",
]
