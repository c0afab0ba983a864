"""Import of optional packages."""

import importlib
from types import ModuleType

from cxrtransfer.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or raise an error that names the extra to install.

    Args:
        module: The module's import name, such as ``"pydicom"``.
        extra: The extra of this project that installs it, such as ``"dicom"``.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the package {module!r} is required but not installed; "
            f"install it with: pip install 'cxrtransfer[{extra}]'"
        ) from error
