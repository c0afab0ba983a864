"""Claims of the paper, each tested on the runs of a study of its design."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from cxrtransfer.evaluation import METRICS, Comparison, compare
from cxrtransfer.explain import FractionComparison, compare_fractions
from cxrtransfer.report.names import network_label, run_label
from cxrtransfer.report.page import Section, Table
from cxrtransfer.report.published import PUBLISHED, paper_runs
from cxrtransfer.report.wording import (
    difference_cell,
    difference_with_interval,
    p_equals,
    p_value,
    percent,
    unavailable,
    value_over_interval,
)
from cxrtransfer.study import RunResult, StudyResults

from .paper import majority_shares
from .paper_figures import explained_run
from .weighting import weighting_pairs

NUM_NEIGHBORS = 15
MIN_IMAGES = 10  # of a group; fewer are inconclusive


def claims_section(study: StudyResults) -> Section | None:
    """Test the claims of the paper; None unless it is the paper's study."""
    runs = paper_runs(study)
    if not runs:
        return None
    pairs = weighting_pairs(runs)
    points = [
        *(_weighting(study, *pair) for pair in pairs),
        *(_trade(study, *pair) for pair in pairs),
        *_early_stopping(study, runs),
        _edges(study, explained_run(study, runs)),
        _overlap(study, explained_run(study, runs)),
        _baseline(study, runs),
    ]
    return Section(
        "Claims of the paper",
        points=points,
        tables=[_table(study, pairs)] if pairs else [],
        notes=[
            "Differences are of runs on the same test images, with 95% CIs that resample "
            "patients; p-values are not adjusted for the number of claims. They apply to these "
            'trained networks and do not include the variability over seeds. "Confirmed" and '
            '"contradicted" require a CI that excludes zero.'
        ],
    )


def _compare(study: StudyResults, first: RunResult, second: RunResult, metric: str) -> Comparison:
    return compare(first.test, second.test, metric, patients=study.patients(first.test))


def _verdict(change: Comparison, expected: float) -> str:
    """Compare a difference with the sign that the paper claims."""
    if math.isnan(change.low):
        return "inconclusive"
    if not (change.low > 0 or change.high < 0):
        return "not confirmed, no significant difference"
    return "confirmed" if (change.difference > 0) == (expected > 0) else "contradicted"


def _result(change: Comparison) -> str:
    difference = difference_with_interval(
        change.difference, change.low, change.high, change.reason
    )
    return f"{difference}, {p_equals(change.p_value)}"


def _weighting(study: StudyResults, weighted: RunResult, plain: RunResult) -> str:
    change = _compare(study, weighted, plain, "accuracy")
    expected = _published_change(weighted.config.model)
    name = f"{run_label(weighted)}, against {run_label(plain)}"
    if expected is None:
        return f"Class weights, {name}: change in accuracy {_result(change)}."
    direction = "raise" if expected > 0 else "lower"
    return (
        f'"Class weights {direction} the accuracy of {network_label(weighted.config.model)}" '
        f"(by {abs(expected):.3f} in the paper): {_verdict(change, expected)}. {name}: "
        f"{_result(change)}."
    )


def _published_change(model: str) -> float | None:
    accuracy = {
        each.weighted: each.accuracy
        for each in PUBLISHED
        if each.model == model and not each.early_stopping
    }
    return accuracy[True] - accuracy[False] if len(accuracy) == 2 else None


def _trade(study: StudyResults, weighted: RunResult, plain: RunResult) -> str:
    fewer = _compare(study, weighted, plain, "specificity")
    more = _compare(study, weighted, plain, "recall")
    return (
        '"Class weights trade false positives for false negatives", '
        f"{run_label(weighted)}. Fewer false positives: {_verdict(fewer, 1)} (specificity "
        f"{_result(fewer)}). More false negatives: {_verdict(more, -1)} (sensitivity "
        f"{_result(more)})."
    )


def _early_stopping(study: StudyResults, runs: Sequence[RunResult]) -> Iterator[str]:
    def rest(run: RunResult) -> tuple[object, ...]:
        config, training = run.config, run.config.training
        return config.model, training.class_weights, training.seed, config.group_by

    full = {rest(run): run for run in runs if not run.config.training.early_stopping}
    for run in runs:
        if run.config.training.early_stopping and rest(run) in full:
            other = full[rest(run)]
            change = _compare(study, run, other, "accuracy")
            yield (
                f'"Early stopping improves the result": {_verdict(change, 1)}. {run_label(run)} '
                f"(epoch {run.tested_epoch}), against {run_label(other)} (epoch "
                f"{other.tested_epoch}): accuracy {_result(change)}."
            )


def _edges(study: StudyResults, run: RunResult) -> str:
    claim, explanations = (
        '"Wrong predictions attend to the edges of the image"',
        run.explanations(),
    )
    if explanations is None:
        return f"{claim}: not tested. {unavailable(run, 'explanations')}."
    return f"{claim}: " + _fractions_sentence(
        study,
        run,
        explanations.border_fractions,
        explanations.indices,
        "Saliency in the outer tenth of the image",
    )


def _overlap(study: StudyResults, run: RunResult) -> str:
    claim = '"Misclassified images lie in the overlap of the clusters of the t-SNE"'
    coordinates, num_images = run.embedding(), len(run.test)
    if coordinates is None:
        return f"{claim}: not tested. {unavailable(run, 'embedding')}."
    num_neighbors = min(NUM_NEIGHBORS, num_images - 1)
    return f"{claim}: " + _fractions_sentence(
        study,
        run,
        other_neighbors(coordinates, run.test.labels, num_neighbors),
        np.arange(num_images),
        f"Fraction of the {num_neighbors} nearest neighbors that are of another class",
    )


def other_neighbors(
    coordinates: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], num_neighbors: int
) -> npt.NDArray[np.float64]:
    """Return for each point the fraction of its nearest neighbors with another label, ``(N,)``."""
    search = NearestNeighbors(n_neighbors=num_neighbors).fit(coordinates)
    neighbors = search.kneighbors(return_distance=False)  # without the point itself
    fractions: npt.NDArray[np.float64] = (labels[neighbors] != labels[:, None]).mean(axis=1)
    return fractions


def _fractions_sentence(
    study: StudyResults,
    run: RunResult,
    fractions: npt.NDArray[np.float64],
    indices: npt.NDArray[np.int64],
    quantity: str,
) -> str:
    """Compare fractions of incorrect and of correct predictions."""
    correct = (run.test.predicted == run.test.labels)[indices]
    known = np.isfinite(fractions)
    sizes = int((known & ~correct).sum()), int((known & correct).sum())
    if min(sizes) < MIN_IMAGES:
        return (
            f"inconclusive, {sizes[0]} incorrect and {sizes[1]} correct predictions are too few."
        )
    patients = np.array(study.patients(run.test))[indices].tolist()
    result = compare_fractions(fractions, correct, patients=patients)
    return (
        f"{_VERDICTS[result.verdict]}. {quantity}, {run_label(run)}: {_means(result)} (difference "
        f"{percent(result.difference, signed=True)}, 95% CI {percent(result.low, signed=True)} to "
        f"{percent(result.high, signed=True)})."
    )


_VERDICTS = {
    "more": "confirmed",
    "less": "contradicted",
    "not significant": "not confirmed, no significant difference",
    "undefined": "inconclusive, the fraction is the same for every image",
}


def _means(result: FractionComparison) -> str:
    return (
        f"{percent(result.incorrect)} of {result.num_incorrect} incorrect, "
        f"{percent(result.correct)} of {result.num_correct} correct predictions"
    )


def _baseline(study: StudyResults, runs: Sequence[RunResult]) -> str:
    name, train, test = majority_shares(study)
    above = [run for run in runs if study.tests[run.name]["accuracy"].low > test]
    return (
        f"Baseline: predicting {name} for every image has an accuracy of {percent(train)} on the "
        f"training and {percent(test)} on the test split. On the test split, the accuracy of "
        f"{len(above)} of {len(runs)} runs is significantly higher."
    )


def _table(study: StudyResults, pairs: Sequence[tuple[RunResult, RunResult]]) -> Table:
    """Tabulate what class weights changed in each pair."""
    rows = []
    for weighted, plain in pairs:
        for metric in ("auroc", "accuracy", "recall", "specificity"):
            change = _compare(study, weighted, plain, metric)
            rows.append(
                {
                    "Weighted run": run_label(weighted),
                    "Metric": METRICS[metric].label,
                    "Unweighted": value_over_interval(study.tests[plain.name][metric]),
                    "Weighted": value_over_interval(study.tests[weighted.name][metric]),
                    "Change": difference_cell(change.difference, change.low, change.high),
                    "p": p_value(change.p_value),
                }
            )
    return Table(name="paper_weighting", rows=rows)
