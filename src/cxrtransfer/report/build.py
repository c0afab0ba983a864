"""Run folders in, one page out: tables and figures, with nothing to fetch from anywhere."""

import math
from collections.abc import Sequence
from pathlib import Path

from cxrtransfer.evaluation import OperatingResult, metric_drop
from cxrtransfer.files import atomic_path, read_json
from cxrtransfer.runtime import current_world
from cxrtransfer.study.results import StudyResults, load_study
from cxrtransfer.study.runs import MANIFEST_NAME, RunResult, positive_doubt
from cxrtransfer.types import StrPath

from .page import Section, Table, render_page, share
from .sections.comparison import ensemble_section, pairs_section, runs_section, seeds_section
from .sections.figures import figure_sections
from .sections.trusting import (
    chance_error,
    groups_section,
    operating_points,
    probabilities_section,
    threshold_section,
)
from .sections.validation import (
    elsewhere_section,
    external_tests,
    find_folds,
    folds_section,
    foretold_section,
    split_section,
)

__all__ = ["write_report"]

PAGE_NAME = "report.html"


def write_report(folder: StrPath) -> Path:
    """Turn the folder of a finished study into one self-contained page.

    The answer comes first, then what it rests on. Cross-validations that stand in the folder and
    external tests of its runs have their sections. The figures are also written on their own, as
    ``figures/*.png``.

    Args:
        folder: What :func:`cxrtransfer.study.run_study` was given as ``out``.

    Returns:
        The path of ``report.html`` in that folder.

    Raises:
        RunFolderError: If the folder holds no finished study.
    """
    if not current_world().is_main:
        return Path(folder) / PAGE_NAME  # the first process writes it
    study = load_study(folder)
    points, folds = operating_points(study), find_folds(study)
    sections = (
        answer_section(study, points),
        runs_section(study),
        seeds_section(study),
        pairs_section(study),
        ensemble_section(study),
        groups_section(study),
        threshold_section(study, points),
        probabilities_section(study),
        foretold_section(study, folds),
        folds_section(folds),
        elsewhere_section(study),
        split_section(study),
        *figure_sections(study),
        _settings_section(study),
    )
    page = render_page(
        title=study.about["title"],
        note=study.about["note"],
        subtitle=_subtitle(study),
        sections=[section for section in sections if section is not None],
        versions=study.manifest["versions"],
        digest=study.manifest["data"]["digest"],
    )
    with atomic_path(study.folder / PAGE_NAME) as path:
        path.write_text(page, encoding="utf-8")
    return study.folder / PAGE_NAME


def answer_section(study: StudyResults, points: Sequence[OperatingResult]) -> Section:
    """What is the network worth, may it be believed, what not?"""
    name, test = study.chosen.config.name, study.chosen_test
    found = []
    by_chance = test["auroc"].low <= 0.5 <= test["auroc"].high
    if by_chance:
        found.append(
            f"As far as these images can tell, {name} is no better than chance: the 95% interval "
            "of its AUROC on test holds one half."
        )
    runs = len(study.runs)
    alone = "The only run that ended is" if study.failed else "The only run is"
    choice = f"Chosen on val, the best of {runs} runs is" if runs > 1 else alone
    owners = f" of {test.num_patients:,} patients" if study.patients_known else ""
    found.append(
        f"{choice} {name}. Its AUROC on test is {test['auroc']}{_auroc_in_words(study)}. Tested on "
        f"{test.num_images:,} images{owners}."
    )
    found += [
        f"At {_where(result)} it finds {share(result.test['recall'].value)} of {study.positive} and "
        f"clears {share(result.test['specificity'].value)} of the others; {_right(result)} of all "
        "answers are right."
        for result in points[:2]
    ]
    drop = metric_drop("auroc", study.chosen_val["auroc"], test["auroc"])
    if drop.excludes_zero:
        kind = "optimistic" if drop.drop > 0 else "pessimistic"
        found.append(
            f"Validation was {kind}: AUROC {drop.reference.value:.3f} on val, "
            f"{drop.other.value:.3f} on test."
        )
    if test["ece"].value > chance_error(study):
        order = "" if by_chance else ", only their order"
        found.append(f"Its probabilities must not be read as such{order}.")
    elif not by_chance:
        found.append(
            f"With {test.num_images:,} images it could not be shown that its probabilities are "
            "off; that does not make them right."
        )
    doubt = positive_doubt(study.chosen.config, study.chosen.test.class_names)
    found += [f"Beware: {words}." for words in (study.about.get("warning"), doubt) if words]
    found += [
        f"The run {name} failed and is not on this page ({why.splitlines()[0]})."
        for name, why in study.failed.items()
    ]
    elsewhere = [
        f"{test['run']} on {test['place']}: {' '.join(test['sentences'][:-2])}"
        for test in external_tests(study)
    ]
    found += elsewhere or [
        "It was not tested on images from elsewhere, so nothing is known of them."
    ]
    return Section("In short", points=found)


def _auroc_in_words(study: StudyResults) -> str:
    auroc = study.chosen_test["auroc"].value
    if math.isnan(auroc):
        return ""
    if study.chosen.test.num_classes > 2:
        return ", the mean over the classes, one against the rest"
    return (
        f": of an image with {study.positive} and one without, it gives the right one the higher "
        f"score {share(auroc)} of the time"
    )


def _where(result: OperatingResult) -> str:
    if result.point.threshold == 0.5:
        return "threshold one half"
    return f"threshold {result.point.threshold:.3f} ({result.point.rule})"


def _right(result: OperatingResult) -> str:
    found = result.test["accuracy"]
    return f"{share(found.value)} ({share(found.low)} to {share(found.high)})"


def _subtitle(study: StudyResults) -> str:
    counts = study.manifest["data"]["counts"]
    images = ", ".join(
        f"{sum(counts[split].values()):,} {split}" for split in ("train", "val", "test")
    )
    minutes = sum(run.seconds for run in study.runs) / 60
    runs = f"{len(study.runs)} run{'' if len(study.runs) == 1 else 's'}"
    return f"{runs} on {images} images, in {minutes:.1f} minutes on {study.manifest['device']}."


def _settings_section(study: StudyResults) -> Section:
    head = ["Run", "network", "start", "input", "class weights", "lr", "decay", "batch", "epochs"]
    head += ["kept", "seed", "minutes"]
    rows = [_settings(run) for run in study.runs]
    return Section("How it was made", tables=[Table(head, rows)], folded=True)


def _settings(run: RunResult) -> tuple[str, ...]:
    config, training = run.config, run.config.training
    weights = training.class_weights
    size = read_json(run.folder / MANIFEST_NAME)["input"]["size"]
    stop = f" (patience {training.early_stopping})" if training.early_stopping else ""
    return (
        config.name,
        config.model,
        "ImageNet" if config.pretrained else "random",
        f"{size} px",
        "none" if weights is None else str(weights if isinstance(weights, str) else list(weights)),
        f"{training.lr:g}",
        f"{training.weight_decay:g}",
        str(training.batch_size),
        f"{len(run.rows)} of {training.epochs}{stop}",
        str(run.best_epoch),
        str(training.seed),
        f"{run.seconds / 60:.1f}",
    )
