"""Which parts of an image speak for a class."""

from .gradcam import GradCAM
from .maps import class_activation_map
from .overlay import overlay

__all__ = ["GradCAM", "class_activation_map", "overlay"]
