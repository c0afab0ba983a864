from dataclasses import replace

import numpy as np

from cxrtransfer.report.sections.prevalence import prevalence_section


def test_the_estimate_stands_beside_the_true_prevalence(study):
    test = study.chosen.test
    rare = (
        np.flatnonzero(test.labels == 0).tolist() + np.flatnonzero(test.labels == 1)[:1].tolist()
    )
    run = replace(study.chosen, test=test.take(rare))

    section = prevalence_section(replace(study, runs=(run,)))

    assert section is not None
    assert "the true prevalence is 4.0%" in section.text[0]
    assert "(EM, Saerens et al. 2002)" in section.text[0]
    assert section.text[1].startswith("Accuracy of the recalibrated probabilities: ")


def test_a_test_set_of_one_class_has_no_adjusted_accuracy(study):
    test = study.chosen.test
    run = replace(study.chosen, test=test.take(np.flatnonzero(test.labels == 0).tolist()))

    section = prevalence_section(replace(study, runs=(run,)))

    assert section is not None
    assert len(section.text) == 1


def test_the_prevalence_of_training_is_used_where_validation_cannot_recalibrate(study):
    val = study.chosen.val
    run = replace(study.chosen, val=replace(val, labels=0 * val.labels))

    section = prevalence_section(replace(study, runs=(run,)))

    assert section is not None
    assert section.text[1].startswith("Accuracy of the predicted probabilities: ")


def test_three_classes_have_no_section(three_classes):
    assert prevalence_section(three_classes) is None
