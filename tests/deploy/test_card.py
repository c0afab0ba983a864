from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results

from cxrtransfer import Classifier
from cxrtransfer.evaluation import evaluate
from cxrtransfer.study import RunResult, external_test, load_run


def test_the_card_has_the_hubs_header_and_the_test_results_of_the_run(
    classifier: Classifier, saved: Path, kermany_study: Path
) -> None:
    card = huggingface_hub.ModelCard.load(saved / "README.md")
    run = load_run(kermany_study / "plain")
    patients = run.patients()
    test = evaluate(
        classifier.calibration.apply(run.test),
        patients=[patients[name] for name in run.test.ids],
        threshold=classifier.threshold.threshold,
    )

    assert card.data.library_name == "cxrtransfer"
    assert card.data.pipeline_tag == "image-classification"
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results["auroc"] == pytest.approx(test["auroc"].value, abs=1e-4)
    assert results["recall"] == pytest.approx(test["recall"].value, abs=1e-4)
    low, high = test["auroc"].low, test["auroc"].high
    assert f"(95% CI {low:.3f}\N{EN DASH}{high:.3f})" in card.text
    for part in ("Not a medical device", "Out-of-scope use", "Shortcuts", "None: performance at"):
        assert part in card.text
    assert run.manifest.content_digest in card.text


def test_an_external_test_is_in_the_card(kermany_study: Path, draw_chests, tmp_path: Path) -> None:
    import shutil

    study = shutil.copytree(kermany_study, tmp_path / "study")
    draw_chests(tmp_path / "other", 24, seed=3, brightness=80)
    external_test(study / "plain", tmp_path / "other", site="Hospital B", confidence=0.9)

    card = Classifier.from_run(study / "plain").card

    assert "Hospital B, 48 images" in card
    external = card.partition("## External validation")[2].partition("\n## ")[0]
    assert "(90% CI " in external
    assert "95% CI" not in external
    assert "None: performance at" not in card


def test_a_test_of_an_ensemble_is_not_in_the_card_of_a_run(
    kermany_study: Path, draw_chests, tmp_path: Path
) -> None:
    import shutil

    study = shutil.copytree(kermany_study, tmp_path / "study")
    draw_chests(tmp_path / "other", 24, seed=3, brightness=80)
    external_test(
        study / "plain", tmp_path / "other", others=[study / "weighted"], site="Hospital B"
    )

    assert "Hospital B" not in Classifier.from_run(study / "plain").card


def test_a_split_of_unknown_patients_is_not_called_one_by_patient(
    classifier: Classifier, kermany_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\nSplit by patient.\n" in classifier.card

    monkeypatch.setattr(
        RunResult, "patients", lambda run: {name: name for name in run.records().ids}
    )
    card = Classifier.from_run(kermany_study / "plain").card
    assert "\nSplit by image (patients unknown).\n" in card


def test_a_network_without_a_run_says_that_no_performance_is_known(classifier: Classifier) -> None:
    card = Classifier.from_model(classifier.network, class_names=("a", "b")).card

    assert huggingface_hub.ModelCard(card).data.eval_results is None
    assert "No performance is recorded" in card


def test_the_card_of_a_network_states_its_recalibration(
    classifier: Classifier, kermany_study: Path
) -> None:
    val = load_run(kermany_study / "plain").val
    card = Classifier.from_model(
        classifier.network, class_names=classifier.class_names, val=val
    ).card

    assert f"recalibration: Platt scaling (slope {classifier.calibration.slope:.4g}, " in card


def test_the_card_says_that_the_threshold_was_changed(
    classifier: Classifier, tmp_path: Path
) -> None:
    changed = classifier.with_threshold(0.125)
    text = (changed.save_pretrained(tmp_path / "model") / "README.md").read_text("utf-8")

    assert text.startswith(classifier.card.rstrip())
    assert "The threshold was then changed to 0.125 (given)" in text
    assert changed.with_threshold(0.125).card == changed.card


def test_the_header_is_what_the_hub_reads(saved: Path) -> None:
    """Locally: the form of the results and of every entry; the hub's own validation needs it."""
    text = (saved / "README.md").read_text("utf-8")
    header = yaml.safe_load(text.split("---\n")[1])

    name, results = model_index_to_eval_results(header["model-index"])
    data = huggingface_hub.ModelCardData(
        **{key: value for key, value in header.items() if key != "model-index"},
        model_name=name,
        eval_results=results,
    )
    assert yaml.safe_load(data.to_yaml()) == header
    assert str(huggingface_hub.ModelCard(text)) == text
    assert {type(result.metric_value) for result in results} == {float}
    assert {result.task_type for result in results} == {"image-classification"}


def test_the_subgroups_of_the_file_names_are_in_the_card(
    classifier: Classifier, kermany_study: Path
) -> None:
    run = load_run(kermany_study / "plain")
    test = classifier.calibration.apply(run.test)
    right = test.predicted_at(classifier.threshold.threshold) == test.labels
    viral = np.array(["_virus_" in name for name in test.ids])

    assert viral.sum() == 12
    assert f"- viral (12 images): {right[viral].mean():.3f} (95% CI " in classifier.card
    for group in ("- bacterial (12 images): ", "- normal (24 images): "):
        assert group in classifier.card
