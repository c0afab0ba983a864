import json
from dataclasses import replace
from typing import get_type_hints

import pytest

from cxrtransfer.study import RunConfig, paper_grid
from cxrtransfer.training import TrainConfig, TrainSettings


def test_the_paper_has_six_cells_and_one_early_stopped_run() -> None:
    configs = paper_grid()

    assert [
        (c.model, c.training.class_weights, c.training.weight_decay, c.training.batch_size)
        for c in configs
    ] == [
        ("googlenet", None, 0.0, 32),
        ("googlenet", (100.0, 1.0), 0.01, 32),
        ("resnet50", None, 0.0, 16),
        ("resnet50", (100.0, 1.0), 0.01, 16),
        ("resnet50", (100.0, 1.0), 0.01, 16),
        ("densenet121", None, 0.0, 32),
        ("densenet121", (100.0, 1.0), 0.01, 32),
    ]
    assert [c.training.early_stopping is not None for c in configs].count(True) == 1
    assert {c.training.lr for c in configs} == {1e-5}
    assert {c.training.schedule for c in configs} == {"constant"}


def test_the_keyword_arguments_of_a_trainer_are_the_settings() -> None:
    assert get_type_hints(TrainSettings) == get_type_hints(TrainConfig)


def test_seeds_repeat_each_run_on_the_same_split() -> None:
    configs = paper_grid(["googlenet"], seeds=(3, 4))

    assert [c.name for c in configs] == [
        "googlenet_plain_seed3",
        "googlenet_plain_seed4",
        "googlenet_weighted_seed3",
        "googlenet_weighted_seed4",
    ]
    assert {c.split_seed for c in configs} == {0}


def test_the_papers_protocol_differs_in_three_choices_only() -> None:
    pairs = list(zip(paper_grid(), paper_grid(protocol="paper"), strict=True))

    for ours, papers in pairs:
        last = "best" if papers.training.early_stopping else "last"
        assert (papers.group_by, papers.training.select) == (None, last)
        assert papers.training.loss_normalization == "batch"
        assert (ours.group_by, ours.training.select) == ("patient_id", "best")
        same = replace(papers, group_by="patient_id").with_training(
            select="best", loss_normalization="split"
        )
        assert same == ours


def test_a_config_survives_json() -> None:
    config = paper_grid(["timm:resnet10t"])[1]

    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'learning_rate'"):
        RunConfig.from_dict({"name": "a", "model": "resnet18", "learning_rate": 1})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mode": "probe"}, "mode must be one of finetune, features, got 'probe'"),
        ({"image_size": 0}, "image_size must be a positive integer, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(name="a", model="resnet18", **setting)


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="plain folder name"):
        RunConfig(name=name, model="resnet18")
