"""Data sets: records, splits, decoding, torch datasets and audits."""

from .audit import (
    BORDER_STATISTICS as BORDER_STATISTICS,
    Acquisition as Acquisition,
    AuditResult,
    AurocEstimate as AurocEstimate,
    Duplicates as Duplicates,
    NearDuplicates as NearDuplicates,
    SharedPatients as SharedPatients,
    SplitShift as SplitShift,
    acquisition_groups,
    acquisition_statistics,
    audit,
    balanced_weights as balanced_weights,
    near_pairs,
)
from .augment import Augment
from .dataset import StratifiedResplit
from .images import (
    DECODER_VERSION as DECODER_VERSION,
    ImageInfo as ImageInfo,
    decode_image,
    decode_images,
    decode_with_info as decode_with_info,
    thread_map as thread_map,
)
from .records import Record, Records
from .samplers import EpochSampler as EpochSampler, upsampling_sampler
from .sources import (
    FINDINGS as FINDINGS,
    RemoteFile as RemoteFile,
    download_kermany,
    download_pneumonia_mnist,
    draw_patches as draw_patches,
    draw_radiograph,
    draw_radiographs,
    find_images as find_images,
    kermany_patient_id as kermany_patient_id,
    lesion_masks,
    load_kermany,
    load_rsna,
    read_folder,
    unpack_medmnist,
)
from .splits import fold_records, resplit
from .transforms import to_model_input

__all__ = [
    "AuditResult",
    "Augment",
    "Record",
    "Records",
    "StratifiedResplit",
    "acquisition_groups",
    "acquisition_statistics",
    "audit",
    "decode_image",
    "decode_images",
    "download_kermany",
    "download_pneumonia_mnist",
    "draw_radiograph",
    "draw_radiographs",
    "fold_records",
    "lesion_masks",
    "load_kermany",
    "load_rsna",
    "near_pairs",
    "read_folder",
    "resplit",
    "to_model_input",
    "unpack_medmnist",
    "upsampling_sampler",
]
