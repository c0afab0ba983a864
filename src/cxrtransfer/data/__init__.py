"""Which images? Records, splits that do not leak, decoding, datasets."""

from .dataset import StratifiedResplit
from .decode import check_images, decode_image, decode_images
from .duplicates import near_pairs
from .folder import read_folder
from .kermany import load_kermany
from .leakage import Duplicates, LeakageReport, NearDuplicates, SharedPatients, audit
from .patients import kermany_patient_id
from .records import Record, Records
from .splits import hold_out, k_folds, resplit
from .synthetic import Anatomy, draw_radiograph, draw_radiographs, lesion_masks
from .transforms import to_model_input

__all__ = [
    "Anatomy",
    "Duplicates",
    "LeakageReport",
    "NearDuplicates",
    "Record",
    "Records",
    "SharedPatients",
    "StratifiedResplit",
    "audit",
    "check_images",
    "decode_image",
    "decode_images",
    "draw_radiograph",
    "draw_radiographs",
    "hold_out",
    "k_folds",
    "kermany_patient_id",
    "lesion_masks",
    "load_kermany",
    "near_pairs",
    "read_folder",
    "resplit",
    "to_model_input",
]
