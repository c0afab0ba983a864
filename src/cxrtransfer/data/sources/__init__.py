"""Where images come from: folders, archives, downloads, synthetic radiographs."""

from .download import RemoteFile, download_kermany, download_pneumonia_mnist, fetch, unzip
from .folder import find_images, read_folder
from .kermany import load_kermany
from .medmnist import unpack_medmnist
from .synthetic import Anatomy, draw_radiograph, draw_radiographs, lesion_masks

__all__ = [
    "Anatomy",
    "RemoteFile",
    "download_kermany",
    "download_pneumonia_mnist",
    "draw_radiograph",
    "draw_radiographs",
    "fetch",
    "find_images",
    "lesion_masks",
    "load_kermany",
    "read_folder",
    "unpack_medmnist",
    "unzip",
]
