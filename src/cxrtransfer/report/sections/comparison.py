"""Sections of the page that set runs beside each other: the table, the pairs, the ensemble."""

import re
from collections.abc import Sequence
from dataclasses import replace

from cxrtransfer.evaluation import (
    Predictions,
    average,
    compare,
    compare_all,
    compute_metrics,
    fit_ensemble_weights,
    geometric_mean,
    kundu_weights,
    majority_vote,
)
from cxrtransfer.files import canonical_json
from cxrtransfer.plots import plot_forest
from cxrtransfer.report.page import Section, Table, keep_figure, number, with_interval
from cxrtransfer.report.published import published_for
from cxrtransfer.report.wording import positive_choice
from cxrtransfer.study import RunResult, StudyResults

__all__ = ["ensemble_section", "pairs_section", "runs_section", "seeds_section"]

_METRICS = ("auroc", "accuracy", "f1_macro", "recall", "specificity")
_PRINTED = ("auroc", "accuracy", "f1_macro")


def runs_section(study: StudyResults) -> Section:
    """What is each network worth?"""
    printed = [published_for(run.config, len(run.test.ids)) for run in study.runs]
    names = [run.config.name for run in study.runs]
    head = ["Run", "AUROC", "accuracy", "macro F1", "sensitivity", "specificity", "AUROC\non val"]
    rows = []
    for run, paper in zip(study.runs, printed, strict=True):
        estimates = study.tests[run.config.name].estimates()
        rows.append(
            [
                run.config.name,
                *(with_interval(estimates[name]) for name in _METRICS),
                number(run.val_metrics["auroc"]),
            ]
        )
        if any(printed):
            rows[-1] += [number(getattr(paper, name)) if paper else "" for name in _PRINTED]
    if any(printed):
        head += ["AUROC\nin the paper", "accuracy\nin the paper", "macro F1\nin the paper"]
    forest = plot_forest({name: study.tests[name]["auroc"] for name in names})
    notes = [
        _interval_sentence(study),
        "Positive class: "
        f"{positive_choice(study.chosen.positive_class)}. Threshold one "
        "half. Accuracy depends on the threshold and on how common the disease is; AUROC does on "
        "neither, so read it first.",
        "Each run was tested once, with the weights of the epoch that validation chose. The run "
        "in blue has the highest AUROC on val; it was chosen there, not on test.",
    ]
    if any(printed):
        notes.append(
            "What the paper printed was measured on the 624 original test images; compare it only "
            "with runs on those."
        )
    return Section(
        "What are the networks worth?",
        tables=[Table(head, rows, marked=names.index(study.chosen.config.name))],
        figures=[
            keep_figure(
                study.folder.path,
                "A",
                "AUROC of every run on test",
                "The dot with its 95% interval."
                if len(names) == 1
                else "Each dot with its 95% interval. Intervals that overlap do not mean that "
                "runs cannot be told apart: they were tested on the same images, see below.",
                forest,
            )
        ],
        notes=notes,
    )


def seeds_section(study: StudyResults) -> Section | None:
    """Does it depend on the seed? None where nothing was repeated with another one."""
    repeated: dict[str, list[RunResult]] = {}
    for run in study.runs:
        settings = replace(run.config, name="-").with_training(seed=0).to_dict()
        repeated.setdefault(canonical_json(settings), []).append(run)
    groups = [runs for runs in repeated.values() if len(runs) > 1]
    if not groups:
        return None
    rows = []
    for runs in groups:
        tests = [study.tests[run.config.name] for run in runs]
        found = (
            [test["auroc"].value for test in tests],
            [test["accuracy"].value for test in tests],
        )
        name = re.sub(r"_seed-?\d+$", "", runs[0].config.name)
        rows.append([name, str(len(runs)), *map(_mean_and_range, found)])
    return Section(
        "Does it depend on the seed?",
        text=[
            "The same network, trained the same way on the same split, once a seed. Under each "
            "mean: the smallest and the largest. That spread is the luck of training; it is not "
            "the 95% interval above, which is for other patients and knows of one seed only."
        ],
        tables=[Table(["Network and weighting", "seeds", "AUROC", "accuracy"], rows)],
    )


def _mean_and_range(values: Sequence[float]) -> str:
    mean = number(sum(values) / len(values))
    return f"{mean}\n{number(min(values))} to {number(max(values))}"


def pairs_section(study: StudyResults) -> Section | None:
    """Can the runs be told apart? None where there is one only."""
    if len(study.runs) < 2:
        return None
    tests = {run.config.name: run.test for run in study.runs}
    found = compare_all(tests, patients=study.patients(study.runs[0].test))
    rows = [
        [
            f"{first} - {second}",
            number(pair.difference, signed=True),
            f"{number(pair.low, signed=True)} to {number(pair.high, signed=True)}",
            number(pair.p_value),
            number(pair.p_holm),
        ]
        for (first, second), pair in found.items()
    ]
    method = next(iter(found.values())).method  # the number of classes decides, so it is one
    sure = sum(pair.p_holm is not None and pair.p_holm < 0.05 for pair in found.values())
    pairs = f"{len(rows)} pair{'' if len(rows) == 1 else 's'}"
    return Section(
        "Can the runs be told apart?",
        text=[
            f"Of {pairs} of runs, {sure or 'none'} can be told apart by AUROC (p below .05 after "
            "Holm's correction). What cannot may be luck; and one seed says nothing about the "
            "next."
        ],
        tables=[
            Table(
                ["Pair", "difference of AUROC", "95% interval", f"p ({method})", "p (Holm)"],
                rows,
                folded="" if len(rows) <= 3 else pairs,
            )
        ],
    )


def ensemble_section(study: StudyResults) -> Section | None:
    """Do the runs gain from being combined? None where there is one only."""
    if len(study.runs) < 2:
        return None
    vals = combine([run.val for run in study.runs], [run.val for run in study.runs])
    tests = combine([run.val for run in study.runs], [run.test for run in study.runs])
    aurocs = {way: compute_metrics(val)["auroc"] for way, val in vals.items()}
    best = max(aurocs, key=lambda way: (aurocs[way] == aurocs[way], aurocs[way]))  # nan last
    gain = compare(tests[best], study.chosen.test, patients=study.patients(tests[best]))
    rows = []
    for way, test in tests.items():
        found = study.evaluate(test)
        rows.append(
            [
                way,
                number(aurocs[way]),
                with_interval(found["auroc"]),
                with_interval(found["accuracy"]),
            ]
        )
    verdict = (
        "cannot be told apart from"
        if not (gain.low > 0 or gain.high < 0)
        else "is better than"
        if gain.low > 0
        else "is worse than"
    )
    interval = (
        f"no interval: {gain.reason}"
        if gain.reason
        else f"{number(gain.low, signed=True)} to {number(gain.high, signed=True)}"
    )
    return Section(
        "Do the runs gain from being combined?",
        text=[
            f"The {best} of all {len(study.runs)} runs, the best way to combine them on val, has "
            f"an AUROC of {gain.first:.3f} on test. It {verdict} {study.chosen.config.name} "
            f"alone (difference {number(gain.difference, signed=True)}, {interval})."
        ],
        tables=[
            Table(
                ["Way to combine", "AUROC\non val", "AUROC", "accuracy"],
                rows,
                marked=list(tests).index(best),
                folded=f"{len(rows)} ways",
            )
        ],
    )


def combine(vals: Sequence[Predictions], members: Sequence[Predictions]) -> dict[str, Predictions]:
    """Combine members in every way, with weights that come from their predictions on val."""
    ways = {
        "mean": average(members),
        "geometric mean": geometric_mean(members),
        "majority vote": majority_vote(members),
        "mean with weights fitted on val": average(
            members, ensemble_weights=fit_ensemble_weights(vals)
        ),
    }
    four = ("precision", "recall", "f1_positive", "auroc")
    metrics = [compute_metrics(val) for val in vals]
    # Kundu's weights need all four numbers of every member.
    if all(found[name] == found[name] for found in metrics for name in four):
        ways["mean with the weights of Kundu et al."] = average(
            members, ensemble_weights=kundu_weights(vals)
        )
    return ways


def _interval_sentence(study: StudyResults) -> str:
    start = "Under each number: 95% intervals for other images of the same kind"
    if study.patients_known:
        return f"{start}, with the images of one patient taken together."
    return (
        f"{start}. No patients are known, so each image was taken for a patient of its own; where "
        "patients repeat, the intervals are too narrow."
    )
