from cxrtransfer.training import History


def test_a_history_says_its_best_epoch_in_a_line() -> None:
    row = {"epoch": 1, "val_loss": 0.5, "val_accuracy": 0.8, "val_f1": 0.7, "val_auroc": 0.9}
    better = {**row, "epoch": 2, "val_loss": 0.25, "val_auroc": float("nan"), "lr": 1e-5}

    assert str(History((row,), 1)) == (
        "History(1 epoch; best 1: val_loss 0.500, val_auroc 0.900, val_accuracy 0.800, "
        "val_f1 0.700)"
    )
    assert repr(History((row, better, row), 2, stopped_early=True)) == (
        "History(3 epochs, stopped early; best 2: val_loss 0.250, val_auroc nan, "
        "val_accuracy 0.800, val_f1 0.700)"
    )
