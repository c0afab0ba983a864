"""Sections of the page on one run: whom it misses, where to cut, what its words are worth."""

import numpy as np

from cxrtransfer.data import Records, kermany_patient_id
from cxrtransfer.evaluation import (
    OperatingResult,
    Predictions,
    adjust_priors,
    compare_thresholds,
    compute_metrics,
    estimate_priors,
    evaluate_groups,
    fit_platt,
    null_calibration_error,
    reliability,
    threshold_for_max_f1,
    threshold_for_sensitivity,
    threshold_for_youden,
    weighted_priors,
    wilson_interval,
)
from cxrtransfer.plots import plot_reliability, plot_subgroup_bars, plot_threshold_sweep
from cxrtransfer.report.page import Section, Table, keep_figure, share, with_interval
from cxrtransfer.study.results import StudyResults

__all__ = [
    "chance_error",
    "groups_section",
    "operating_points",
    "probabilities_section",
    "threshold_section",
]


def groups_section(study: StudyResults) -> Section | None:
    """Whom does the network miss? None where file names tell no groups."""
    test = study.chosen.test
    groups = [_kermany_group(name) for name in test.ids]
    if None in groups:
        return None
    known = [group for group in groups if group is not None]
    names = ("bacterial", "viral", "normal")
    found = {}
    for run in study.runs:
        shares = evaluate_groups(run.test, known, patients=study.patients(run.test))
        found[run.config.name] = {name: shares[name] for name in names if name in shares}
    counts = ", ".join(f"{known.count(name):,} {name}" for name in names)
    return Section(
        "Whom does it miss?",
        text=[
            "The file names tell bacterial from viral pneumonia, which no network was told. Right "
            f"answers at threshold one half on {counts} test images:"
        ],
        figures=[
            keep_figure(
                study.folder,
                "B",
                "Right answers by group",
                "For the two kinds of pneumonia this is sensitivity, for normal images "
                "specificity; with 95% intervals.",
                plot_subgroup_bars(found),
            )
        ],
    )


def _kermany_group(name: str) -> str | None:
    """Tell bacterial, viral and normal images of the Kermany data set apart by name."""
    patient = kermany_patient_id(name.rsplit("/", 1)[-1])
    if patient is None:
        return None
    kind = patient.lower()
    return "bacterial" if "bacteria" in kind else "viral" if "virus" in kind else "normal"


def operating_points(study: StudyResults) -> tuple[OperatingResult, ...]:
    """Choose thresholds on val by three rules, and see what they give on test.

    None at all with more than two classes, or where val has images of one only.
    """
    val, test = study.chosen.val, study.chosen.test
    if val.num_classes != 2 or len(np.unique(val.labels)) < 2:
        return ()
    rules = (
        threshold_for_youden(val),
        threshold_for_sensitivity(val, 0.95),
        threshold_for_max_f1(val),
    )
    return compare_thresholds(
        val,
        test,
        rules,
        val_patients=study.patients(val),
        test_patients=study.patients(test),
    )


def threshold_section(study: StudyResults, points: tuple[OperatingResult, ...]) -> Section | None:
    """From which probability on should an image be called positive?"""
    if not points:
        return None
    rows = []
    for result in points:
        rows.append([f"{result.point.threshold:.3f}\n{result.point.rule}"])
        for found in (result.val, result.test):
            rows[-1] += [with_interval(found[name]) for name in ("recall", "specificity")]
        rows[-1].append(with_interval(result.test["accuracy"]))
    half, youden = points[:2]
    return Section(
        "At which threshold?",
        text=[
            f"Youden's rule (sensitivity plus specificity, as high as it gets) chose "
            f"{youden.point.threshold:.3f} on val. On test that gives an accuracy of "
            f"{share(youden.test['accuracy'].value)} instead of {share(half.test['accuracy'].value)} at "
            "one half. No threshold was chosen on test."
        ],
        tables=[
            Table(
                [
                    "Threshold\nand rule",
                    "sensitivity\nval",
                    "specificity\nval",
                    "sensitivity\ntest",
                    "specificity\ntest",
                    "accuracy\ntest",
                ],
                rows,
                marked=1,
            )
        ],
        figures=[
            keep_figure(
                study.folder,
                "C",
                f"What each threshold gives on test, {study.chosen.config.name}",
                "The dashed lines are where the rules cut, by what they saw on val.",
                plot_threshold_sweep(study.chosen.test, [result.point for result in points[1:]]),
            )
        ],
    )


def probabilities_section(study: StudyResults) -> Section:
    """Do the probabilities mean what they say, and what if disease were rarer?"""
    test = study.chosen.test
    patients = study.patients(test)
    raw = reliability(test, patients=patients)
    axes = [plot_reliability(raw)]
    axes[0].set_title(f"as given (expected error {raw.expected_error:.3f})", loc="left")
    text = [_calibration_sentence(study)]
    mended = _mended(study)
    if mended is not None:
        found = reliability(mended, patients=patients)
        axes.append(plot_reliability(found))
        axes[1].set_title(f"mended on val (expected error {found.expected_error:.3f})", loc="left")
        helped = "" if found.expected_error < raw.expected_error else ": val was no guide to that"
        text.append(
            "Mended by Platt's line, fitted on val, they are off by "
            f"{found.expected_error:.3f}{helped}."
        )
    if test.num_classes == 2:
        text.append(prior_sentence(study))
    return Section(
        "Can its probabilities be believed?",
        text=text,
        figures=[
            keep_figure(
                study.folder,
                "D",
                "Probabilities and what came true on test",
                "Points on the dotted line mean what they say; below it the network promises too "
                "much. Gray bars count the images behind each point.",
                axes,
            )
        ],
    )


def _calibration_sentence(study: StudyResults) -> str:
    error, chance = study.chosen_test["ece"].value, chance_error(study)
    means = "do not mean" if error > chance else "may mean"
    return (
        f"The probabilities of {study.chosen.config.name} {means} what they say: on test they are "
        f"off by {error:.3f} on average (expected calibration error); true ones would show up "
        f"to {chance:.3f} on as many images."
    )


def chance_error(study: StudyResults) -> float:
    """Return the calibration error on test that true probabilities would stay below."""
    test = study.chosen.test
    return null_calibration_error(test, patients=study.patients(test))


def _mended(study: StudyResults) -> Predictions | None:
    val = study.chosen.val
    if val.num_classes != 2 or len(np.unique(val.labels)) < 2:
        return None
    return fit_platt(val).apply(study.chosen.test)


def prior_sentence(study: StudyResults) -> str:
    """Say what prevalence the run would guess without labels, and what that is worth.

    Two classes. The probabilities are first mended on val where they can be, as EM needs them.
    """
    run, test = study.chosen, _mended(study) or study.chosen.test
    trained = Records.from_csv(run.folder / "split.csv", class_names=test.class_names)
    # What Platt's line was fitted on is what the mended probabilities take for granted.
    labels = run.val.labels if _mended(study) is not None else trained.where("train").labels
    before = weighted_priors(labels, num_classes=2)
    guess = estimate_priors(test, trained_on=before).priors[test.positive_index]
    guess = min(max(guess, 1e-6), 1 - 1e-6)  # no frequency may be zero
    is_positive = test.labels == test.positive_index
    true = float(is_positive.mean())
    low, high = wilson_interval(int(is_positive.sum()), len(test))
    if low <= guess <= high:
        verdict = "so it is right here, which nobody could know without the labels"
    else:
        verdict = (
            f"so it is off by {abs(guess - true) * 100:.1f} points; EM takes for granted "
            "that the images of each class look as they did in training and that the "
            "probabilities are calibrated, which cannot be checked without labels"
        )
    words = (
        "From its unlabeled answers on test one would estimate (by EM, Saerens et al. 2002) "
        f"that {share(guess)} of the images are {study.positive}; {share(true)} are, {verdict}."
    )
    if not 0 < true < 1:
        return words
    told = compute_metrics(_adjusted(test, before, true))["accuracy"]
    guessed = compute_metrics(_adjusted(test, before, guess))["accuracy"]
    return (
        f"{words} The accuracy of the mended probabilities is "
        f"{share(compute_metrics(test)['accuracy'])} as they are, {share(told)} adjusted to the true "
        f"share, {share(guessed)} adjusted to the estimate."
    )


def _adjusted(test: Predictions, before: tuple[float, ...], positive_share: float) -> Predictions:
    expected = [1 - positive_share, positive_share]
    if test.positive_index == 0:
        expected.reverse()
    return adjust_priors(test, trained_on=before, expected=expected)
