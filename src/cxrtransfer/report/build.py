"""The report of a study: its sections in order."""

from collections.abc import Callable
from pathlib import Path

from cxrtransfer.runtime import current_world
from cxrtransfer.study import StudyFolder, StudyResults, load_study
from cxrtransfer.types import StrPath

from .page import Section, save_page
from .sections.calibration import calibration_section
from .sections.comparison import ensemble_section, pairs_section, seeds_section
from .sections.embedding import embedding_section
from .sections.external import external_section
from .sections.heatmaps import heatmaps_section
from .sections.images import images_section
from .sections.performance import curves_section, performance_section
from .sections.prevalence import prevalence_section
from .sections.settings import settings_section, versions_section
from .sections.shortcuts import shortcuts_section
from .sections.split import split_section
from .sections.subgroups import subgroups_section
from .sections.summary import summary_section
from .sections.thresholds import thresholds_section
from .sections.training import training_section
from .sections.validation import folds_section, validation_section
from .wording import counted

__all__ = ["SECTIONS", "write_report"]

SECTIONS: tuple[Callable[[StudyResults], Section | None], ...] = (
    summary_section,
    performance_section,
    seeds_section,
    pairs_section,
    ensemble_section,
    subgroups_section,
    thresholds_section,
    calibration_section,
    prevalence_section,
    validation_section,
    shortcuts_section,
    folds_section,
    external_section,
    split_section,
    heatmaps_section,
    embedding_section,
    curves_section,
    training_section,
    images_section,
    settings_section,
    versions_section,
)


def write_report(folder: StrPath) -> Path:
    """Write the report of a finished study as one self-contained HTML file.

    A summary comes first, then the evidence. Cross-validations in the folder and external tests
    of its runs have sections of their own. Each figure is also saved as ``figures/*.png``.

    Args:
        folder: The folder given to :func:`cxrtransfer.study.run_study` as ``out``.

    Returns:
        The path of ``report.html`` in that folder.

    Raises:
        RunFolderError: If the folder does not hold a finished study.
    """
    if not current_world().is_main:
        return StudyFolder(Path(folder)).report  # the main process writes it
    study = load_study(folder)
    sections = [section for build in SECTIONS if (section := build(study)) is not None]
    return save_page(
        study.folder, sections, title=study.title, note=study.note, subtitle=_subtitle(study)
    )


def _subtitle(study: StudyResults) -> str:
    counts = study.chosen.manifest.counts
    train, val, test = (sum(counts[split].values()) for split in ("train", "val", "test"))
    minutes = sum(run.seconds for run in study.runs) / 60
    return (
        f"{counted(len(study.runs), 'run')}; {train:,} training, {val:,} validation and "
        f"{test:,} test images; {minutes:.1f} minutes on {study.chosen.manifest.device}."
    )
