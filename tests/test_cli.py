import ast
import csv
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from cxrtransfer.cli import main
from cxrtransfer.cli.options import parser
from cxrtransfer.data import read_folder
from cxrtransfer.files import read_json
from cxrtransfer.study import RunFolder, load_run, predict_images
from cxrtransfer.training import TrainConfig

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
    assert load_run(tmp_path / "out" / "squeezenet1_1").config.training.class_weights == (
        100.0,
        1.0,
    )


def test_train_says_first_how_it_trains_and_what_counts_as_disease(
    image_tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (image_tree / "train" / "PNEUMONIA").rename(image_tree / "train" / "COVID")
    (image_tree / "test" / "PNEUMONIA").rename(image_tree / "test" / "COVID")
    caplog.set_level("INFO")

    with pytest.warns(UserWarning, match="the positive class is NORMAL, the second class by name"):
        assert main([
            "train", str(image_tree), "--models", "squeezenet1_1", "--random", "--image-size",
            "32", "--epochs", "1", "--out", str(tmp_path / "out"),
        ]) == 0  # fmt: skip

    first, second = caplog.messages[:2]
    assert first.startswith("squeezenet1_1: all layers from random parameters, lr 0.0001 (cosine)")
    assert "class weights balanced, no augmentation, seed 0" in first
    assert second == ("positive class: NORMAL (the second class by name; none was chosen)")


def test_a_run_that_fails_leaves_a_page_of_the_others_and_status_1(
    image_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([
        "train", str(image_tree), "--models", "inception_v3", "squeezenet1_1", "--random",
        "--image-size", "32", "--epochs", "1", "--out", str(tmp_path / "out"),
    ])  # fmt: skip

    assert status == 1
    said = capsys.readouterr()
    assert said.out.strip() == str(tmp_path / "out" / "report.html")
    assert "1 of 2 runs failed" in said.err
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "The run inception_v3 failed and is not on this page (ValueError: " in page


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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of images and a run on it."""
    tree, out = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("out")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 6)):
        for label, name in enumerate(("NORMAL", "PNEUMONIA")):
            (tree / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(60 + 60 * label, 140 + 60 * label, (32, 32), dtype=np.uint8)
                Image.fromarray(pixels).save(tree / split / name / f"{index:02d}.png")
    status = main([
        "train", str(tree), "--models", "squeezenet1_1", "--random", "--image-size", "32",
        "--epochs", "1", "--augment", "--schedule", "one-cycle", "--out", str(out),
    ])  # fmt: skip
    assert status == 0
    return tree, out / "squeezenet1_1"


def test_predict_says_of_unlabeled_images_what_the_run_said_of_its_test(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, run = trained
    words = ["predict", str(run), str(tree / "test"), "--out", str(tmp_path / "p.csv")]

    assert main([*words, "--heatmaps", str(tmp_path / "maps")]) == 0

    with (tmp_path / "p.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    test = load_run(run).test
    assert ["test/" + name for name in rows] == list(test.ids)
    for name, row, label in zip(test.ids, test.probabilities, test.predicted, strict=True):
        found = rows[name.removeprefix("test/")]
        assert float(found["PNEUMONIA"]) == pytest.approx(row[1], abs=1e-6)
        assert found["predicted"] == test.class_names[label]
    assert {
        path.relative_to(tmp_path / "maps").as_posix() for path in tmp_path.rglob("*.png")
    } == {f"{name}.png" for name in rows}
    assert "12 images" in capsys.readouterr().out


def test_predict_names_every_file_that_is_no_image(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")

    assert main(["predict", str(trained[1]), str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "a.png" in said
    assert "b.png" in said


def test_predict_can_leave_out_what_is_unreadable_and_says_so(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = shutil.copytree(trained[0] / "test" / "NORMAL", tmp_path / "images")
    (images / "02.png").write_bytes(b"no image")
    words = ["predict", str(trained[1]), str(images), "--out", str(tmp_path / "p.csv")]

    assert main([*words, "--skip-unreadable", "--heatmaps", str(tmp_path / "maps")]) == 0

    said = capsys.readouterr().out
    assert "5 images" in said
    assert "1 unreadable skipped" in said
    assert "02.png: " in said
    with (tmp_path / "p.csv").open(newline="") as file:
        *rows, last = csv.DictReader(file)
    assert [row["id"] for row in rows] == ["00.png", "01.png", "03.png", "04.png", "05.png"]
    assert all(row["predicted"] and not row["unreadable"] for row in rows)
    assert last["id"] == "02.png"
    assert last["predicted"] == last["NORMAL"] == ""
    assert last["unreadable"]
    assert len(list((tmp_path / "maps").iterdir())) == 5


@pytest.mark.filterwarnings("ignore:2 unreadable images:UserWarning")
def test_nothing_but_unreadable_images_is_an_error_even_then(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes(b"no image")

    for command in ("predict", "test"):
        assert main([command, str(trained[1]), str(tmp_path), "--skip-unreadable"]) == 1
        assert "2 image(s) cannot be read" in capsys.readouterr().err


def test_files_of_one_name_from_two_folders_have_a_heatmap_each(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = trained[0] / "test" / "NORMAL" / "00.png"
    here = tmp_path / "one" / "two"
    here.mkdir(parents=True)
    files = ["../00.png", "../../00.png", "00.png"]
    monkeypatch.chdir(here)
    for file in files:
        shutil.copy(image, file)

    assert main(["predict", str(trained[1]), *files, "--heatmaps", "maps"]) == 0
    assert sorted(path.relative_to("maps").as_posix() for path in Path("maps").rglob("*.*")) == [
        "00.png.png",
        "one/00.png.png",
        "one/two/00.png.png",
    ]


def test_empty_heatmaps_are_named_by_their_images(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    run = shutil.copytree(trained[1], tmp_path / "run")
    manifest, folder = load_run(run).manifest, RunFolder(run)
    weights = load_file(run / "model.safetensors")
    weights["classifier.1.weight"] = -weights["classifier.1.weight"].abs()
    save_file(weights, run / "model.safetensors")
    folder.write_manifest(replace(manifest, files=folder.file_digests()))
    images = trained[0] / "test" / "NORMAL"

    with pytest.warns(UserWarning, match=r"6 of 6 heatmaps are empty.*: 00\.png, 01\.png") as said:
        predict_images(run, images, heatmaps=tmp_path / "maps", batch_size=4)
    assert len(said) == 1


def test_the_class_counted_as_disease_can_be_named(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    words = [
        "train", str(trained[0]), "--models", "squeezenet1_1", "--random", "--image-size", "32",
        "--epochs", "1", "--out", str(tmp_path), "--positive",
    ]  # fmt: skip

    assert main([*words, "NORMALL"]) == 1
    assert main([*words, "NORMAL"]) == 0
    run = load_run(tmp_path / "squeezenet1_1")
    assert (run.test.positive_index, run.val.positive_index) == (0, 0)
    assert "Positive class: NORMAL" in (tmp_path / "report.html").read_text("utf-8")


def test_predict_without_images_says_so(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(trained[1]), str(tmp_path)]) == 1
    assert "at least one image" in capsys.readouterr().err


def test_audit_prints_the_leakage_report_of_a_folder_or_a_table(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = shutil.copytree(trained[0], tmp_path / "images")
    read_folder(tree).to_csv(tree / "table.csv")

    for source in (tree, tree / "table.csv"):
        assert main(["audit", str(source)]) == 0
        assert "Leakage report on 44 images" in capsys.readouterr().out


def test_test_puts_a_run_on_images_elsewhere(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = shutil.copytree(trained[0] / "test", tmp_path / "away")

    assert main(["test", str(trained[1]), str(away)]) == 0
    assert "squeezenet1_1 on away" in capsys.readouterr().out


def test_test_can_leave_out_what_is_unreadable_and_says_so(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained[1], tmp_path / "run")
    away = shutil.copytree(trained[0] / "test", tmp_path / "away")
    (away / "NORMAL" / "02.png").write_bytes(b"no image")
    assert main(["test", str(run), str(away)]) == 1

    with pytest.warns(UserWarning, match="1 unreadable image"):
        assert main(["test", str(run), str(away), "--skip-unreadable"]) == 0

    said = capsys.readouterr().out
    assert "1 of 12 images are unreadable and were skipped." in said
    assert "NORMAL/02.png: " in said
    kept = read_json(run / "external" / "away" / "external.json")
    assert list(kept["skipped"]) == ["NORMAL/02.png"]


def test_the_settings_that_the_docs_set_side_by_side_are_the_defaults() -> None:
    page = Path(__file__).parents[1] / "docs" / "how-to" / "command-line.rst"
    here = re.findall(r"^     - ``--(\S+) (\S+)``$", page.read_text("utf-8"), re.MULTILINE)
    there = re.findall(r"^     - ``(\w+)=(\S+)``$", page.read_text("utf-8"), re.MULTILINE)
    command = vars(parser().parse_args(["train", "."]))
    assert len(here) == 6
    assert len(there) == 5

    for name, value in here:
        default = command[name.replace("-", "_")]
        assert default == type(default)(value) if name != "class-weights" else default == [value]
    for name, value in there:
        assert getattr(TrainConfig(), name) == ast.literal_eval(value)


def test_models_are_listed_by_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "squeezenet*"]) == 0
    assert "squeezenet1_1" in capsys.readouterr().out


def test_a_mistake_is_told_before_anything_slow_is_imported() -> None:
    code = """
import contextlib, sys
from cxrtransfer.cli import main
for words in (["train", ".", "--nonsense"], ["--help"], ["train", "/nowhere"],
              ["train", ".", "--class-weights", "even"], ["predict", "/nowhere", "x.png"]):
    with contextlib.suppress(SystemExit):
        main(words)
print(*sys.modules)
"""
    done = subprocess.run(  # noqa: S603  (our own interpreter and text)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "there is no file or folder /nowhere" in done.stderr
    assert not {"torch", "numpy", "matplotlib", "PIL"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "/no/such/folder"], "/no/such/folder"),
        (["models", "no_such_net"], "no network matches"),
        (["report", "/no/such/folder"], "there is no file or folder /no/such/folder"),
        (["report", "."], "must hold a finished study"),
        (["train", ".", "--class-weights", "even"], "got 'even'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    assert message in capsys.readouterr().err
