import subprocess
import sys

import pytest

import cxrtransfer


def imported_by(statement: str) -> set[str]:
    """Return the modules that a statement imports in a new process."""
    code = f"{statement}; import sys; print(*sys.modules)"
    output = subprocess.run(  # noqa: S603  (our own interpreter and text)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    return set(output.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    modules = imported_by("import cxrtransfer")

    assert not {"torch", "timm", "matplotlib", "openTSNE", "pydicom", "sklearn"} & modules


def test_importing_studies_and_classifiers_loads_no_slow_library_but_torch() -> None:
    modules = imported_by("import cxrtransfer.study, cxrtransfer.deploy")

    assert "torch" in modules
    slow = {"torchvision", "torch._dynamo", "timm", "sklearn", "pandas", "matplotlib", "openTSNE"}
    assert not (slow | {"onnx", "scipy.optimize", "scipy.sparse", "scipy.stats"}) & modules


@pytest.mark.parametrize("name", cxrtransfer.__all__)
def test_every_top_level_name_is_available(name: str) -> None:
    assert getattr(cxrtransfer, name) is not None
    assert name in dir(cxrtransfer)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cxrtransfer.nothing  # noqa: B018
