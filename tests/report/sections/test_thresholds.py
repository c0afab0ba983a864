from dataclasses import replace

from cxrtransfer.evaluation import threshold_for_youden
from cxrtransfer.report.sections.thresholds import operating_results, thresholds_section


def test_thresholds_are_chosen_on_validation_and_evaluated_on_both(study):
    default, youden, *_ = operating_results(study)
    section = thresholds_section(study)

    assert default.point.threshold == 0.5
    assert youden.point == threshold_for_youden(study.chosen.val)
    assert youden.test.threshold == youden.val.threshold == youden.point.threshold
    assert section is not None
    assert (
        section.tables[0].rows[1]["Threshold\nrule"]
        == f"{youden.point.threshold:.3f}\n{youden.point.rule}"
    )
    assert "No threshold was chosen on the test set." in section.text[0]


def test_each_study_has_its_own_thresholds(study):
    other = replace(study, runs=study.runs[1:])

    assert operating_results(study)[1].point == threshold_for_youden(study.chosen.val)
    assert operating_results(other)[1].point == threshold_for_youden(other.chosen.val)


def test_a_validation_set_of_one_class_has_no_thresholds(study):
    val = study.chosen.val
    run = replace(study.chosen, val=replace(val, labels=0 * val.labels))

    assert thresholds_section(replace(study, runs=(run,))) is None


def test_three_classes_have_no_threshold(three_classes):
    assert thresholds_section(three_classes) is None
