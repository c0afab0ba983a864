from pathlib import Path

import pytest

from cxrtransfer.cli import main
from cxrtransfer.study import load_run

# A network this small, hardly trained, may have nothing to show; that is said by a warning.
pytestmark = pytest.mark.filterwarnings("ignore:the heatmaps of images")


def test_train_writes_a_run_and_a_page(
    image_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([
        "train", str(image_tree), "--models", "squeezenet1_1", "--random", "--image-size", "32",
        "--epochs", "1", "--class-weights", "100", "1", "--out", str(tmp_path / "out"),
    ])  # fmt: skip

    assert status == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "report.html")
    assert (tmp_path / "out" / "report.html").exists()
    assert load_run(tmp_path / "out" / "squeezenet1_1").config.class_weights == (100.0, 1.0)


def test_the_page_can_be_written_again(
    image_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([
        "train", str(image_tree), "--models", "squeezenet1_1", "--random", "--image-size", "32",
        "--epochs", "1", "--out", str(tmp_path),
    ])  # fmt: skip
    page = (tmp_path / "report.html").read_bytes()
    (tmp_path / "report.html").unlink()

    assert main(["report", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_bytes() == page
    assert "report.html" in capsys.readouterr().out


def test_models_are_listed_by_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "squeezenet*"]) == 0
    assert "squeezenet1_1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "/no/such/folder"], "/no/such/folder"),
        (["models", "no_such_net"], "no network matches"),
        (["report", "/no/such/folder"], "must hold a finished study"),
        (["train", ".", "--class-weights", "even"], "got 'even'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    assert message in capsys.readouterr().err
