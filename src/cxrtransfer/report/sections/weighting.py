"""Effect of class weights: each weighted run beside the unweighted one of the same network."""

from collections.abc import Sequence
from dataclasses import replace

from cxrtransfer.evaluation import compare
from cxrtransfer.files import canonical_json
from cxrtransfer.report.names import run_label
from cxrtransfer.report.published import is_weighted
from cxrtransfer.report.wording import difference_with_interval, number
from cxrtransfer.study import RunResult, StudyResults


def weighting_sentences(study: StudyResults) -> list[str]:
    """State what class weights changed, one sentence per pair that differs in nothing else.

    The weight decay may differ, as it does in the paper.
    """
    return [_sentence(study, *pair) for pair in weighting_pairs(study.runs)]


def weighting_pairs(runs: Sequence[RunResult]) -> list[tuple[RunResult, RunResult]]:
    """Return each weighted run with the unweighted one that differs at most in weight decay."""
    plain = {_settings(run): run for run in runs if not is_weighted(run)}
    return [
        (run, plain[_settings(run)])
        for run in runs
        if is_weighted(run) and _settings(run) in plain
    ]


def _settings(run: RunResult) -> str:
    config = replace(run.config, name="-").with_training(class_weights=None, weight_decay=0.0)
    return canonical_json(config.to_dict())


def _sentence(study: StudyResults, weighted: RunResult, plain: RunResult) -> str:
    change = compare(weighted.test, plain.test, patients=study.patients(weighted.test))
    difference = difference_with_interval(
        change.difference, change.low, change.high, change.reason
    )
    if change.low > 0:
        verdict = "a significant gain in AUROC"
    elif change.high < 0:
        verdict = "a significant loss in AUROC"
    else:
        verdict = "no significant change in AUROC"
    after, before = study.tests[weighted.name], study.tests[plain.name]
    weights = weighted.config.to_dict()["training"]["class_weights"]
    decay = ""
    if weighted.config.training.weight_decay != plain.config.training.weight_decay:
        decay = f" and a weight decay of {weighted.config.training.weight_decay:g}"
    return (
        f"{run_label(weighted)}, against {run_label(plain)}: class weights {weights}{decay} gave "
        f"{verdict} ({difference}). At threshold 0.5, the sensitivity changed from "
        f"{number(before['recall'].value)} to {number(after['recall'].value)}, the specificity "
        f"from {number(before['specificity'].value)} to {number(after['specificity'].value)}."
    )
