"""Sources of images: folders, archives, downloads and synthetic radiographs."""

from .download import RemoteFile, download_kermany, download_pneumonia_mnist
from .drawing import FINDINGS, draw_patches
from .folder import find_images, load_kermany, read_folder
from .kermany import kermany_patient_id
from .medmnist import unpack_medmnist
from .rsna import load_rsna
from .synthetic import draw_radiograph, draw_radiographs, lesion_masks

__all__ = [
    "FINDINGS",
    "RemoteFile",
    "download_kermany",
    "download_pneumonia_mnist",
    "draw_patches",
    "draw_radiograph",
    "draw_radiographs",
    "find_images",
    "kermany_patient_id",
    "lesion_masks",
    "load_kermany",
    "load_rsna",
    "read_folder",
    "unpack_medmnist",
]
