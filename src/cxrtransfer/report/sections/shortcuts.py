"""Shortcuts: what acquisition reveals, validation adjusted for it, and stress tests."""

from cxrtransfer.data import Acquisition, AurocEstimate
from cxrtransfer.evaluation import AdjustedAuroc, common_ledger, count_test_openings
from cxrtransfer.explain import StressResult, compare_stressed
from cxrtransfer.plots import plot_samples
from cxrtransfer.report.names import run_label
from cxrtransfer.report.page import Figure, Section, Table
from cxrtransfer.report.wording import (
    counted,
    difference_cell,
    number,
    percent,
    unavailable,
    value_over_interval,
    with_interval,
)
from cxrtransfer.study import RunResult, StudyResults, adjust_validation


def shortcuts_section(study: StudyResults) -> Section:
    """State whether acquisition predicts the class, and whether the chosen run relies on it."""
    acquisition = study.audit.result.acquisition
    run = study.chosen
    adjusted = {own.name: adjust_validation(own, acquisition) for own in study.runs}
    stressed = {} if run.stress() is None else _stress_results(study, run)
    tables = [_validation_table(study, adjusted)] if any(adjusted.values()) else []
    tables += [_stress_table(split, results) for split, results in stressed.items()]
    if acquisition is not None and acquisition.shifts:
        tables.append(_shift_table(acquisition))
    return Section(
        "Shortcuts",
        text=[
            _acquisition_sentence(acquisition),
            _adjusted_sentence(run_label(run), adjusted[run.name]),
            _stress_sentence(run, stressed),
            _openings_sentence(study),
        ],
        tables=tables,
        figures=_extreme_figures(study),
        notes=[
            "Below each value: 95% CI. Overlap-weighted: each validation image is weighted by the "
            "probability, given its acquisition statistics, that it is of the other class (Li, "
            "Morgan and Zaslavsky 2018). Within strata: images are compared only with others of "
            "similar acquisition (Janes and Pepe 2009). Neither uses the test set."
        ],
    )


def _acquisition_sentence(acquisition: Acquisition | None) -> str:
    if acquisition is None or acquisition.border.value is None:
        return "There are too few images to test whether acquisition predicts the class."
    border, everything = acquisition.border, acquisition.all
    start = (
        "The class can be predicted without looking at the lungs"
        if acquisition.is_shortcut
        else "Acquisition hardly predicts the class"
    )
    return (
        f"{start}: AUROC {_cell(border)} from the border and the corners alone, "
        f"{_cell(everything)} from all {len(acquisition.names)} acquisition statistics "
        "(intensity, contrast, sharpness, noise, border, markers)."
    )


def _adjusted_sentence(name: str, adjusted: AdjustedAuroc | None) -> str:
    if adjusted is None:
        return "There are too few images to adjust the validation AUROC for acquisition."
    if not adjusted.has_overlap:
        return f"The validation AUROC cannot be adjusted: {adjusted.overlap.reason}."
    return (
        f"Among validation images of similar acquisition, {name} has an AUROC of "
        f"{with_interval(adjusted.overlap)}, rather than {with_interval(adjusted.plain)} among "
        "all. This does not predict the test AUROC: it does not account for shortcuts that the "
        "acquisition statistics do not describe."
    )


def _validation_table(study: StudyResults, adjusted: dict[str, AdjustedAuroc | None]) -> Table:
    runs = {run.name: run for run in study.runs}
    return Table(
        name="adjusted_validation",
        rows=[
            {
                "Run": run_label(runs[name]),
                "Validation AUROC": value_over_interval(result.plain),
                "Overlap-weighted": value_over_interval(result.overlap),
                "Within strata": value_over_interval(result.strata),
                "Effective patients\npositive, other": (
                    f"{result.effective_positive:.0f}, {result.effective_negative:.0f}"
                ),
                "Test AUROC": value_over_interval(study.positive_auroc(runs[name].test)),
            }
            for name, result in adjusted.items()
            if result is not None
        ],
    )


def _stress_results(study: StudyResults, run: RunResult) -> dict[str, tuple[StressResult, ...]]:
    results: dict[str, tuple[StressResult, ...]] = {}
    for split, stressed in (run.stress() or {}).items():
        plain = stressed.pop("unchanged")
        results[split] = compare_stressed(plain, stressed, patients=study.patients(plain))
    return results


def _stress_sentence(run: RunResult, stressed: dict[str, tuple[StressResult, ...]]) -> str:
    if not stressed:
        return unavailable(run, "stress") if "stress" in run.missing else ""
    found = [result.name for result in stressed["val"] if result.suggests_shortcut]
    start = f"Stress tests of {run_label(run)} on validation suggest"
    if not found:
        return f"{start} no shortcut."
    return (
        f"{start} shortcuts: {', '.join(found)}. With the lungs hidden, the AUROC should be near "
        "0.5; other changes should hardly affect it."
    )


def _stress_table(split: str, results: tuple[StressResult, ...]) -> Table:
    name = {"val": "Validation images", "test": "Test images"}[split]
    return Table(
        name=f"stress_{name.split()[0].lower()}",
        rows=[
            {
                name: result.name,
                "AUROC": value_over_interval(result.auroc),
                "Decrease of the AUROC": difference_cell(
                    result.comparison.difference, result.comparison.low, result.comparison.high
                ),
                "Mean change of\nthe probability": number(result.mean_change, signed=True),
                "Predictions changed": percent(result.changed),
                "Shortcut": "suspected" if result.suggests_shortcut else "no",
            }
            for result in results
        ],
        summary="" if split == "val" else "Stress tests on the test images",
    )


def _shift_table(acquisition: Acquisition) -> Table:
    return Table(
        name="acquisition_shift",
        rows=[
            {
                "Class": shift.class_name,
                "Splits": f"{shift.first} and {shift.second}",
                "AUROC of the split\n0.5: same acquisition": _cell(shift.auroc),
            }
            for shift in acquisition.shifts
        ],
        summary="Differences of acquisition between the splits, by class",
    )


def _extreme_figures(study: StudyResults) -> list[Figure]:
    """Draw the images of the first class other than the positive one with the extremes."""
    test = study.chosen.test
    label = next(k for k in range(test.num_classes) if k != test.positive_index)
    extremes = study.summary.extremes
    if not extremes.size:
        return []
    least, most = extremes[label]
    name, others = test.class_names[label], "the other classes"
    if test.num_classes == 2:
        others = test.class_names[test.positive_index]
    return [
        Figure(
            name="acquisition_extremes",
            is_photo=True,
            title=f"{name} images with acquisition similar to {others}, and typical ones",
            caption=f"{name} images from all splits whose acquisition statistics are most (first "
            f"row) and least (second row) similar to those of {others}.",
            alt=f"Two rows of {len(least)} radiographs of the class {name}.",
            axes=plot_samples(
                [*least, *most],
                [0] * len(least) + [1] * len(most),
                (f"like {others}", f"typical {name}"),
                columns=len(least),
            ),
        )
    ]


def _openings_sentence(study: StudyResults) -> str:
    tests = [run.test for run in study.runs]
    runs = sum(run.folder.num_test_openings(run.test) for run in study.runs)
    folds = sum(
        fold.folder.num_test_openings(fold.test)
        for result in study.cross_validations
        for fold in result.folds
    )
    of_folds = f" by its runs and {counted(folds, 'time')} by folds" if folds else ""
    ledger = common_ledger()
    in_all = ledger and max(count_test_openings(ledger, test.ids) for test in tests)
    of_all = f", and {counted(in_all, 'time')} in all studies of {ledger}" if in_all else ""
    return (
        f"The test set has been used {counted(runs, 'time')}{of_folds} in this study "
        f"(test-openings.csv in each run folder){of_all}. The more often it is used to make "
        "choices, the more optimistic its results become for new patients."
    )


def _cell(auroc: AurocEstimate) -> str:
    if auroc.value is None:
        return "undefined"
    return f"{number(auroc.value)} ({number(auroc.low)} to {number(auroc.high)})"
