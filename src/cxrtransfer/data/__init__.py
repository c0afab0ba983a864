"""Which images? Records, splits that do not leak, decoding, datasets."""

from .augment import Augment
from .cache import MappedImages, decode_once
from .dataset import StratifiedResplit
from .decode import check_images, decode_image, decode_images
from .download import RemoteFile, download_kermany, download_pneumonia_mnist, fetch, unzip
from .duplicates import near_pairs
from .folder import find_images, read_folder
from .kermany import load_kermany
from .leakage import audit
from .loaders import batch_loader
from .medmnist import unpack_medmnist
from .patients import kermany_patient_id
from .records import Record, Records
from .report import Duplicates, LeakageReport, NearDuplicates, SharedPatients
from .samplers import (
    EpochSampler,
    upsampled_indices,
    upsampling_sampler,
    weighted_indices,
    weighted_sampler,
)
from .splits import fold_records, hold_out, k_folds, resplit
from .synthetic import Anatomy, draw_radiograph, draw_radiographs, lesion_masks
from .transforms import to_model_input
from .views import View, small_views

__all__ = [
    "Anatomy",
    "Augment",
    "Duplicates",
    "EpochSampler",
    "LeakageReport",
    "MappedImages",
    "NearDuplicates",
    "Record",
    "Records",
    "RemoteFile",
    "SharedPatients",
    "StratifiedResplit",
    "View",
    "audit",
    "batch_loader",
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
    "small_views",
    "to_model_input",
    "unpack_medmnist",
    "unzip",
    "upsampled_indices",
    "upsampling_sampler",
    "weighted_indices",
    "weighted_sampler",
]
