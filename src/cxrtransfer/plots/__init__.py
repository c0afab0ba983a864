"""Figures: one function per figure, which returns its Axes and changes no global state."""

from .curves import (
    plot_precision_recall_curves,
    plot_reliability,
    plot_roc_curves,
    plot_threshold_sweep,
)
from .dataset import plot_class_balance, plot_image_statistics
from .embedding import plot_embedding
from .embedding_layers import plot_embedding_layers
from .embedding_page import write_embedding_page
from .estimates import plot_forest, plot_subgroup_bars
from .explain_checks import plot_border_fractions, plot_perturbation_curves, plot_randomization
from .explain_overlay import plot_overlay
from .images import plot_heatmap_grid, plot_samples
from .results import plot_confusion_matrix, plot_metric_bars, plot_results_table
from .training import plot_loss_curves, plot_metric_curves

__all__ = [
    "plot_border_fractions",
    "plot_class_balance",
    "plot_confusion_matrix",
    "plot_embedding",
    "plot_embedding_layers",
    "plot_forest",
    "plot_heatmap_grid",
    "plot_image_statistics",
    "plot_loss_curves",
    "plot_metric_bars",
    "plot_metric_curves",
    "plot_overlay",
    "plot_perturbation_curves",
    "plot_precision_recall_curves",
    "plot_randomization",
    "plot_reliability",
    "plot_results_table",
    "plot_roc_curves",
    "plot_samples",
    "plot_subgroup_bars",
    "plot_threshold_sweep",
    "write_embedding_page",
]
