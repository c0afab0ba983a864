"""Names find networks."""

import pytest

from cxrtransfer.errors import UnknownModelError
from cxrtransfer.models import list_models, parse_name
from cxrtransfer.models.names import ModelName


def test_a_bare_name_is_torchvisions_where_both_have_it():
    assert parse_name("resnet50") == ModelName("torchvision", "resnet50")


def test_a_prefix_decides():
    assert parse_name("timm:resnet50") == ModelName("timm", "resnet50")
    assert parse_name("torchvision:resnet50") == ModelName("torchvision", "resnet50")


def test_a_name_only_timm_has_is_timms():
    assert parse_name("vit_tiny_patch16_224") == ModelName("timm", "vit_tiny_patch16_224")


def test_a_tag_of_timm_is_kept():
    assert parse_name("timm:resnet50.a1_in1k") == ModelName("timm", "resnet50.a1_in1k")


@pytest.mark.parametrize(
    "name", ["timm:resnet50.nonsense", "timm:googlenet", "torchvision:resnet26"]
)
def test_a_name_the_chosen_library_lacks_is_unknown(name):
    with pytest.raises(UnknownModelError, match="unknown model"):
        parse_name(name)


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(
        UnknownModelError, match=r"unknown model 'resnet5'; did you mean 'resnet50'"
    ):
        parse_name("resnet5")


def test_a_hopeless_name_gets_the_list_only():
    with pytest.raises(UnknownModelError, match=r"'\?\?'; cxrtransfer.models.list_models\(\)"):
        parse_name("??")


def test_a_part_of_a_name_gets_the_pattern_that_lists_it():
    with pytest.raises(
        UnknownModelError, match=r"list_models\('\*swin\*'\) lists the matching models"
    ):
        parse_name("Swin")


def test_an_encoder_without_classes_is_no_classifier():
    import timm

    assert timm.is_model("mobilenetv5_300m_enc")
    assert not list_models("mobilenetv5_300m_enc")
    with pytest.raises(UnknownModelError, match="unknown model 'mobilenetv5_300m_enc'"):
        parse_name("mobilenetv5_300m_enc")


def test_an_unknown_prefix_is_refused():
    with pytest.raises(UnknownModelError, match=r"must be one of 'torchvision:'.* got 'keras:vgg"):
        parse_name("keras:vgg16")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf-hub:resnet50", "must be 'hf-hub:user/name'"),
        ("hf-hub:../../etc/passwd", "must be 'hf-hub:user/name'"),
        ("local-dir:nowhere", "must name an existing folder"),
        ("radimagenet:resnet18", "unknown model 'radimagenet:resnet18'; did you mean"),
        ("torchxrayvision:resnet50", "unknown model"),
    ],
)
def test_names_of_published_networks_are_checked(name, message):
    with pytest.raises(UnknownModelError, match=message):
        parse_name(name)


def test_the_list_holds_each_network_once_and_every_name_is_known():
    names = list_models("*resnet50*")

    assert {"resnet50", "timm:resnet50", "wide_resnet50_2"} <= set(names)
    assert list(names) == sorted(set(names))
    assert len({parse_name(name) for name in names}) == len(names)


def test_no_detector_or_segmenter_is_listed():
    assert not list_models("*rcnn*") + list_models("deeplab*") + list_models("*quantized*")
