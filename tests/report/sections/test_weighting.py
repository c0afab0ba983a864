from dataclasses import replace

from cxrtransfer.evaluation import compare
from cxrtransfer.report.sections.weighting import weighting_sentences


def test_a_weighted_run_is_compared_with_the_unweighted_one(study):
    plain, weighted = study.runs
    (sentence,) = weighting_sentences(study)

    difference = compare(weighted.test, plain.test, patients=study.patients(plain.test)).difference
    assert sentence.startswith("weighted, against plain: class weights [3.0, 1.0] gave ")
    assert f"({difference:+.3f}, " in sentence
    before, after = (study.tests[name]["recall"].value for name in ("plain", "weighted"))
    assert f"sensitivity changed from {before:.3f} to {after:.3f}" in sentence


def test_runs_that_differ_in_something_else_are_not_compared(study, with_config):
    plain, weighted = study.runs

    assert weighting_sentences(replace(study, runs=(weighted,))) == []
    other = with_config(weighted, lr=0.5)
    assert weighting_sentences(replace(study, runs=(plain, other))) == []
    decayed = with_config(weighted, weight_decay=0.01)
    (sentence,) = weighting_sentences(replace(study, runs=(plain, decayed)))
    assert "and a weight decay of 0.01" in sentence
