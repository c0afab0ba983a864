"""What holds for every figure."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrtransfer import plots
from cxrtransfer.evaluation import Estimate, Predictions, reliability
from cxrtransfer.explain import PerturbationCurve, RandomizationCheck
from cxrtransfer.plots.style import plain

ROWS = [{"epoch": 1, "train_loss": 0.7, "val_loss": 0.6, "val_accuracy": 0.8}]
ESTIMATE = Estimate(0.9, 0.8, 0.95, "Wilson")
CURVE = PerturbationCurve(torch.tensor([0.0, 1.0]), torch.tensor([[0.9, 0.1]]))
CHECK = RandomizationCheck(("fc",), (1,), torch.tensor([[0.1]]), torch.tensor([[0.2]]))
IMAGE = np.zeros((4, 4), np.uint8)


@pytest.fixture
def arguments(predictions):
    """Arguments that every function takes, by its name."""
    labels = predictions.labels
    return {
        "plot_border_fractions": (np.array([0.2, 0.4]), np.array([True, False])),
        "plot_class_balance": ({"train": labels}, ("NORMAL", "PNEUMONIA")),
        "plot_confusion_matrix": (predictions,),
        "plot_embedding": (np.zeros((8, 2)), labels, predictions.predicted, ("A", "B")),
        "plot_forest": ({"run": ESTIMATE},),
        "plot_heatmap_grid": ({"TN": [IMAGE]},),
        "plot_image_statistics": ({"NORMAL": np.array([1.0, 2.0])},),
        "plot_loss_curves": ({"run": ROWS},),
        "plot_metric_bars": ({"run": {"accuracy": 0.9, "f1_macro": 0.8, "auroc": 0.7}},),
        "plot_metric_curves": ({"run": ROWS},),
        "plot_overlay": (IMAGE, np.ones((2, 2), np.float32)),
        "plot_perturbation_curves": ({"Grad-CAM": CURVE},),
        "plot_precision_recall_curves": ({"run": predictions},),
        "plot_randomization": ({"Grad-CAM": CHECK},),
        "plot_reliability": (reliability(predictions),),
        "plot_results_table": ([{"model": "run", "accuracy": 0.9}],),
        "plot_roc_curves": ({"run": predictions},),
        "plot_samples": ([IMAGE], [0], ("NORMAL",)),
        "plot_subgroup_bars": ({"run": {"viral": ESTIMATE}},),
        "plot_threshold_sweep": (predictions,),
    }


FUNCTIONS = sorted(
    name
    for name in plots.__all__
    if name.startswith("plot_") and name != "plot_embedding_layers"  # takes several Axes
)


def test_every_figure_of_every_module_is_exported():
    modules = [
        importlib.import_module(f"cxrtransfer.plots.{found.name}")
        for found in pkgutil.iter_modules(plots.__path__)
    ]
    figures = {
        name
        for module in modules
        for name in module.__all__
        if name.startswith(("plot_", "write_"))
    }

    assert figures == set(plots.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_draws_on_the_axes_it_is_given(name, arguments):
    ax = Figure().subplots()

    assert getattr(plots, name)(*arguments[name], ax=ax) is ax
    assert ax.get_children() != Figure().subplots().get_children()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_touches_nothing_global(name, arguments):
    before = dict(mpl.rcParams)

    ax = getattr(plots, name)(*arguments[name])

    assert isinstance(ax, Axes)
    assert dict(mpl.rcParams) == before
    assert ax.figure.canvas.manager is None  # pyplot does not know the figure


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_figure_can_be_saved(name, arguments, tmp_path):
    ax = getattr(plots, name)(*arguments[name])

    ax.figure.savefig(tmp_path / "figure.png", dpi=40)

    assert (tmp_path / "figure.png").stat().st_size > 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_axes_come_last_and_are_optional(name):
    *_, last = inspect.signature(getattr(plots, name)).parameters.values()

    assert (last.name, last.default) == ("ax", None)


def test_plotting_does_not_load_pyplot():
    command = (
        "import sys, cxrtransfer.plots as p; p.plot_class_balance({'a': [0]}, ('x',)); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0  # noqa: S603


NAMES = ("$x_{$", "_" + "very long " * 500 + "end", "NUL \0 and \r", "50$ or 60$")


def test_any_name_can_be_drawn_and_read():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 6)
    predictions = Predictions(
        ids=tuple(map(str, range(24))),
        labels=labels,
        probabilities=rng.dirichlet(np.ones(4), 24),
        class_names=NAMES,
    )
    runs = dict.fromkeys(NAMES, predictions)
    scores = {name: {"accuracy": 0.5} for name in NAMES}
    drawn = [
        plots.plot_confusion_matrix(predictions),
        plots.plot_roc_curves(runs),
        plots.plot_class_balance(dict.fromkeys(NAMES, labels), NAMES),
        plots.plot_embedding(rng.normal(size=(24, 2)), labels, labels, NAMES),
        plots.plot_metric_bars(scores, metrics=("accuracy",)),
        plots.plot_forest(dict.fromkeys(NAMES, ESTIMATE)),
        plots.plot_loss_curves(dict.fromkeys(NAMES, ROWS)),
        plots.plot_results_table([dict.fromkeys(NAMES, name) for name in NAMES]),
        plots.plot_heatmap_grid({"TN": [IMAGE]}, NAMES[1:3]),
        plots.plot_samples([IMAGE] * 4, range(4), NAMES),
    ]
    for ax in drawn:
        with warnings.catch_warnings(action="ignore"):  # a layout may be too narrow
            ax.figure.canvas.draw()
        texts = [text.get_text() for text in ax.findobj(mpl.text.Text)]
        assert max(map(len, texts)) < 200
        assert not any("\0" in text for text in texts)
    assert [len(ax.get_legend().get_texts()) for ax in drawn[1:4]] == [4, 4, 4]


def test_letters_without_a_glyph_are_code_points_and_named():
    with pytest.warns(UserWarning, match="no font of sans-serif has the letters 常正.*install"):
        assert plain("正常 1") == r"\u6b63\u5e38 1"


def test_letters_of_another_font_are_drawn_if_it_is_set():
    letter = "\N{ARC}"  # in DejaVu Sans Mono, which matplotlib contains, not in DejaVu Sans
    with mpl.rc_context({"font.family": ["sans-serif", "DejaVu Sans Mono"]}):
        assert plain(letter) == letter
    with pytest.warns(UserWarning, match="no font"):
        assert plain(letter) == r"\u2312"
