from dataclasses import replace

from cxrtransfer.report.published import PUBLISHED, published_for
from cxrtransfer.study import paper_grid


def test_every_run_of_the_papers_grid_has_its_own_published_result():
    results = [published_for(config) for config in paper_grid()]

    assert sorted(map(repr, results)) == sorted(map(repr, PUBLISHED))


def test_other_settings_and_other_test_images_have_none():
    config = paper_grid()[0]

    assert published_for(config, 623) is None
    assert published_for(replace(config, model="resnet18")) is None
    assert published_for(config.with_training(class_weights="balanced")) is None


def test_metrics_that_were_not_published_are_left_out():
    early = next(config for config in paper_grid() if config.training.early_stopping)
    result = published_for(early)

    assert result is not None
    assert list(result.metrics()) == ["accuracy", "f1_macro"]
