from dataclasses import replace

import pytest

from cxrtransfer.report.names import network_label, run_label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("googlenet", "GoogLeNet"),
        ("densenet121", "DenseNet-121"),
        ("mobilenet_v3_large", "MobileNetV3 large"),
        ("efficientnet_v2_s", "EfficientNetV2-s"),
        ("timm:resnet50", "timm:resnet50"),
    ],
)
def test_networks_have_their_usual_names(name, label):
    assert network_label(name) == label


def test_a_run_named_after_its_network_is_shown_with_its_display_name(study):
    run = study.chosen

    def named(name):
        manifest = replace(run.manifest, config=replace(run.config, name=name))
        return run_label(replace(run, manifest=manifest))

    assert named("squeezenet1_1") == "SqueezeNet 1.1"
    assert named("squeezenet1_1_early_stopping_seed2") == "SqueezeNet 1.1 (early stopping, seed 2)"
    assert named("squeezenet1_1_seed-3") == "SqueezeNet 1.1 (seed -3)"
    assert named("squeezenet1_1_plain") == "SqueezeNet 1.1 (unweighted)"
    assert named("mine") == "mine"
