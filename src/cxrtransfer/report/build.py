"""The report of a study: its sections in the order of a reader's questions."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl

from cxrtransfer.files import atomic_path
from cxrtransfer.runtime import current_world
from cxrtransfer.study import StudyFolder, StudyResults, load_study
from cxrtransfer.types import StrPath

from .drawing import font_families
from .metrics import metrics_csv, metrics_json
from .names import network_label
from .page import Page, Section
from .save import save_page
from .sections.calibration import calibration_section
from .sections.comparison import ensemble_section, pairs_section, seeds_section
from .sections.embedding import embedding_section
from .sections.errors import errors_section
from .sections.external import external_section
from .sections.heatmaps import heatmaps_section
from .sections.images import images_section
from .sections.localization import localization_section
from .sections.paper import paper_results_section, paper_settings_section
from .sections.paper_claims import claims_section
from .sections.paper_figures import paper_figures_section
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
from .wording import joined

__all__ = ["FOLDED", "SECTIONS", "write_report"]

_logger = logging.getLogger(__name__)

Builder = Callable[[StudyResults], Section | None]

SECTIONS: tuple[Builder, ...] = (
    summary_section,
    curves_section,
    split_section,
    external_section,
    errors_section,
)
FOLDED: tuple[Builder, ...] = (
    paper_settings_section,
    paper_results_section,
    claims_section,
    paper_figures_section,
    performance_section,
    pairs_section,
    seeds_section,
    ensemble_section,
    validation_section,
    folds_section,
    shortcuts_section,
    subgroups_section,
    thresholds_section,
    calibration_section,
    prevalence_section,
    heatmaps_section,
    localization_section,
    embedding_section,
    training_section,
    images_section,
    settings_section,
    versions_section,
)


def write_report(folder: StrPath, *, explained: str | None = None) -> Path:
    """Write the report of a finished study as one self-contained HTML file.

    A summary comes first, then the evidence. Cross-validations in the folder and external tests
    of its runs have sections of their own. Beside it are the report as Markdown, the metrics as
    CSV and JSON, the tables as LaTeX, each figure as SVG and PDF, and the interactive embedding;
    ``README.txt`` lists them.

    Args:
        folder: The folder given to :func:`cxrtransfer.study.run_study` as ``out``.
        explained: Name of the run whose examples, heatmaps and embedding the figures of the paper
            show, in a study of its design. By default the weighted ResNet-50, as in the paper, or
            else the weighted run with the highest validation AUROC.

    Returns:
        The path of ``report.html`` in that folder.

    Raises:
        ValueError: If no complete run has the name ``explained``.
        RunFolderError: If the folder does not hold a finished study.
    """
    if not current_world().is_main:
        return StudyFolder(Path(folder)).report  # the main process writes it
    study = load_study(folder)
    run_names = [run.name for run in study.runs]
    if explained is not None and explained not in run_names:
        raise ValueError(f"explained must be one of the runs {run_names}, got {explained!r}")
    study = replace(study, explained=explained)
    names = (
        *study.chosen.test.class_names,
        *(run.name for run in study.runs),
        *(test.site for test in study.external_tests),
    )
    with mpl.rc_context({"font.family": font_families("".join(names))}):
        return _write(study)


def _write(study: StudyResults) -> Path:
    shown, folded = build_sections(SECTIONS, study), build_sections(FOLDED, study)
    page = Page(
        title=study.title,
        note=f"Research only; not a medical device. {study.note}",
        facts=_facts(study),
        sections=[*shown, *(replace(section, folded=True) for section in folded)],
    )
    downloads = {
        study.folder.metrics_csv.name: metrics_csv(study),
        study.folder.metrics_json.name: metrics_json(study),
    }
    if study.chosen.folder.embedding_page.exists():
        with atomic_path(study.folder.embedding_page) as path:
            shutil.copyfile(study.chosen.folder.embedding_page, path)
    return save_page(study.folder, page, downloads)


def build_sections(builders: Sequence[Builder], study: StudyResults) -> list[Section]:
    """Build sections; one that fails is replaced by its reason, so that the others are written."""
    sections = []
    for build in builders:
        try:
            section = build(study)
        except Exception as error:
            name = build.__name__.removesuffix("_section")
            _logger.warning("the section on %s is missing from the report: %s", name, error)
            _logger.debug("", exc_info=True)
            text = f"This section is missing, as it cannot be computed: {error}."
            section = Section(name.capitalize(), text=[text])
        if section is not None:
            sections.append(section)
    return sections


def _facts(study: StudyResults) -> dict[str, str]:
    manifest = study.chosen.manifest
    counts = {split: sum(classes.values()) for split, classes in manifest.counts.items()}
    networks = list(dict.fromkeys(network_label(run.config.model) for run in study.runs))
    minutes = sum(run.seconds for run in study.runs) / 60
    return {
        "Images": f"{counts['train']:,} training, {counts['val']:,} validation, "
        f"{counts['test']:,} test",
        "Classes": joined(study.chosen.test.class_names),
        "Networks" if len(networks) > 1 else "Network": joined(networks),
        "Runs": f"{len(study.runs):,}, in {minutes:.1f} minutes (device {manifest.device})",
        "Date": study.finished,
        "Version": f"cxrtransfer {manifest.versions['cxrtransfer']}",
    }
