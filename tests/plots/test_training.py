import pytest

from cxrtransfer.plots import plot_loss_curves, plot_metric_curves

HISTORIES = {
    "plain": [
        {"epoch": 1, "train_loss": 0.7, "val_loss": 0.8, "val_f1": 0.5},
        {"epoch": 2, "train_loss": 0.5, "val_loss": 0.6, "val_f1": 0.9},
    ],
    "weighted": [{"epoch": 1, "train_loss": 0.2, "val_loss": 0.3, "val_f1": 0.6}],
}


def test_every_run_has_its_two_losses_in_one_color():
    lines = plot_loss_curves(HISTORIES).lines

    assert [line.get_ydata().tolist() for line in lines[:4]] == [
        [0.7, 0.5],
        [0.8, 0.6],
        [0.2],
        [0.3],
    ]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert lines[0].get_linestyle() != lines[1].get_linestyle()


def test_the_legend_names_runs_once_and_both_kinds_of_line():
    texts = [text.get_text() for text in plot_loss_curves(HISTORIES).get_legend().get_texts()]

    assert texts == ["plain", "weighted", "Training", "Validation"]


def test_epochs_are_marked_by_whole_numbers():
    ax = plot_loss_curves(HISTORIES)

    assert all(tick == int(tick) for tick in ax.get_xticks())


def test_a_metric_is_drawn_by_epoch_and_named():
    ax = plot_metric_curves(HISTORIES, "val_f1")

    assert [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in ax.lines] == [
        ([1, 2], [0.5, 0.9]),
        ([1], [0.6]),
    ]
    assert ax.get_ylabel() == "Macro F1 (validation)"


def test_a_column_that_is_missing_is_named():
    with pytest.raises(ValueError, match="'val_auroc'; run 'plain'"):
        plot_metric_curves(HISTORIES, "val_auroc")
    with pytest.raises(ValueError, match="no rows"):
        plot_loss_curves({"empty": []})
    with pytest.raises(ValueError, match="got no runs"):
        plot_loss_curves({})
