import pytest
from torch import nn

from cxrtransfer.errors import MissingExtraError
from cxrtransfer.runtime import eval_mode, require


def test_every_module_gets_its_own_mode_back_after_an_error() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    model[0].eval()

    with pytest.raises(KeyError), eval_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyError

    assert [module.training for module in model.modules()] == [True, False, True]


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'cxrtransfer\[dicom\]'"):
        require("a_package_nobody_has", "dicom")


def test_a_present_package_is_imported() -> None:
    assert require("json", "dicom").loads("1") == 1
