import subprocess
import sys

import pytest

import cxrtransfer


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, cxrtransfer; print(*sys.modules)"
    modules = subprocess.run(  # noqa: S603  (our own interpreter and text)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"torch", "timm", "matplotlib", "openTSNE", "pydicom", "sklearn"} & set(modules)


@pytest.mark.parametrize("name", cxrtransfer.__all__)
def test_every_top_level_name_is_available(name: str) -> None:
    assert getattr(cxrtransfer, name) is not None
    assert name in dir(cxrtransfer)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cxrtransfer.nothing  # noqa: B018
