import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from cxrtransfer.cli import main
from cxrtransfer.cli.checks import check_networks
from cxrtransfer.cli.options import parse
from cxrtransfer.cli.outcome import print_outcome
from cxrtransfer.cli.printing import print_lines, shell_words
from cxrtransfer.cli.settings import run_configs
from cxrtransfer.config import RunConfig
from cxrtransfer.data import read_folder
from cxrtransfer.deploy import Classifier, predict_files
from cxrtransfer.files import read_json
from cxrtransfer.models import list_models
from cxrtransfer.study import RunFolder, load_run

# A network this small, hardly trained, may have empty heatmaps; a warning says so.
pytestmark = pytest.mark.filterwarnings("ignore::cxrtransfer.errors.EmptyHeatmapWarning")


def test_train_logs_its_settings_and_the_positive_class_first(
    image_tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (image_tree / "train" / "PNEUMONIA").rename(image_tree / "train" / "COVID")
    (image_tree / "test" / "PNEUMONIA").rename(image_tree / "test" / "COVID")
    (image_tree / "test" / "COVID" / "00.png").write_bytes(b"")  # ends it before the training
    caplog.set_level("INFO")

    with pytest.warns(UserWarning, match="the positive class is NORMAL, the second class by name"):
        assert main([
            "train", str(image_tree), "--models", "squeezenet1_1", "--random", "--image-size",
            "32", "--epochs", "1", "--ema-decay", "0.5", "--out", str(tmp_path / "out"),
        ]) == 1  # fmt: skip

    first, loading, second = caplog.messages[:3]
    assert loading == "loading PyTorch ..."
    assert first == (
        "squeezenet1_1: random initialization, all layers, epochs 1, learning rate 0.0001 "
        "(cosine), weight decay 0.01, batch size 32, class weights balanced, no augmentation, "
        "ema decay 0.5, seed 0"
    )
    assert second == "positive class: NORMAL (the second class by name; none was chosen)"


@pytest.mark.slow
def test_a_failed_run_leaves_a_report_on_the_others_with_their_settings_and_status_1(
    image_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train", str(image_tree), "--models", "inception_v3", "squeezenet1_1", "--random",
        "--image-size", "32", "--epochs", "1", "--class-weights", "100", "1", "--quiet",
        "--out", str(tmp_path / "out"), "--positive",
    ]  # fmt: skip

    assert main([*words, "NORMALL"]) == 1
    assert not (tmp_path / "out").exists()
    assert main([*words, "NORMAL"]) == 1

    output = capsys.readouterr()
    assert output.out.strip() == str(tmp_path / "out" / "report.html")
    assert "1 of 2 runs failed" in output.err
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Run inception_v3 failed and is not included (ValueError: " in page
    assert "Positive class: NORMAL" in page
    run = load_run(tmp_path / "out" / "squeezenet1_1")
    assert run.config.training.class_weights == (100.0, 1.0)
    assert (run.test.positive_index, run.val.positive_index) == (0, 0)


@pytest.fixture(scope="module")
def trained(
    draw_tree: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A folder of images and a run on it."""
    tree, out = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("out")
    draw_tree(tree, train=16, test=6, brighter=True)
    status = main([
        "train", str(tree), "--models", "squeezenet1_1", "--random", "--image-size", "32",
        "--epochs", "1", "--augment", "light", "--schedule", "one-cycle", "--out", str(out),
    ])  # fmt: skip
    assert status == 0
    return tree, out / "squeezenet1_1"


def test_the_report_can_be_written_again(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = shutil.copytree(trained[1].parent, tmp_path / "study")
    page = (study / "report.html").read_bytes()
    (study / "report.html").unlink()

    assert main(["report", str(study)]) == 0
    assert (study / "report.html").read_bytes() == page
    assert "report.html" in capsys.readouterr().out


def test_predict_gives_the_probabilities_of_the_runs_test_set(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, run = trained
    words = ["predict", str(run), str(tree / "test"), "--out", str(tmp_path / "p.csv")]
    words += ["--threshold", "0.5", "--calibration", "none"]

    assert main([*words, "--heatmaps", str(tmp_path / "maps")]) == 0

    with (tmp_path / "p.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    test = load_run(run).test
    assert ["test/" + name for name in rows] == list(test.ids)
    for name, probability in zip(test.ids, test.probabilities[:, 1], strict=True):
        predicted = rows[name.removeprefix("test/")]
        # The run may have been computed in half precision.
        assert float(predicted["PNEUMONIA"]) == pytest.approx(probability, abs=0.01)
        assert predicted["predicted"] == (
            "PNEUMONIA" if float(predicted["PNEUMONIA"]) >= 0.5 else "NORMAL"
        )
    assert {
        path.relative_to(tmp_path / "maps").as_posix() for path in tmp_path.rglob("*.png")
    } == {f"{name}.png" for name in rows}
    assert "12 images" in capsys.readouterr().out


def test_predict_names_every_unreadable_file(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")

    words = ["predict", str(trained[1]), str(tmp_path), "--out", str(tmp_path / "p.csv")]
    assert main(words) == 1
    message = capsys.readouterr().err
    assert "a.png" in message
    assert "b.png" in message


def test_predict_can_skip_unreadable_images_and_lists_them(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = shutil.copytree(trained[0] / "test" / "NORMAL", tmp_path / "images")
    (images / "02.png").write_bytes(b"no image")
    words = ["predict", str(trained[1]), str(images), "--out", str(tmp_path / "p.csv")]

    assert main([*words, "--skip-unreadable", "--heatmaps", str(tmp_path / "maps")]) == 0

    output = capsys.readouterr().out
    assert "5 images" in output
    assert "1 unreadable skipped" in output
    assert "02.png: " in output
    with (tmp_path / "p.csv").open(newline="") as file:
        *rows, last = csv.DictReader(file)
    assert [row["id"] for row in rows] == ["00.png", "01.png", "03.png", "04.png", "05.png"]
    assert all(row["predicted"] and not row["unreadable"] for row in rows)
    assert last["id"] == "02.png"
    assert last["predicted"] == last["NORMAL"] == ""
    assert last["unreadable"]
    assert len(list((tmp_path / "maps").iterdir())) == 5


@pytest.mark.filterwarnings("ignore:skipped 2 unreadable images:UserWarning")
def test_only_unreadable_images_are_an_error_even_when_skipped(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.png").write_bytes(b"no image")

    for command, out in (("predict", ["--out", str(tmp_path / "p.csv")]), ("external-test", [])):
        assert main([command, str(trained[1]), str(tmp_path), "--skip-unreadable", *out]) == 1
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

    with pytest.warns(
        UserWarning, match=r"6 of 6 heatmaps are empty.*: 00\.png, 01\.png"
    ) as caught:
        predict_files(
            Classifier.from_run(run, threshold=0.5, calibration="none"),
            images,
            out=tmp_path / "p.csv",
            heatmaps=tmp_path / "maps",
            batch_size=4,
        )
    assert len(caught) == 1


def test_predict_needs_images(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(trained[1]), str(tmp_path)]) == 1
    assert "at least one image" in capsys.readouterr().err


def test_an_exported_classifier_predicts_like_its_run(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, run = trained
    assert main(["export", str(run), "--out", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model")

    for name, source in (("run", run), ("model", tmp_path / "model")):
        out = str(tmp_path / f"{name}.csv")
        assert main(["predict", str(source), str(tree / "test"), "--out", out]) == 0

    assert (tmp_path / "run.csv").read_bytes() == (tmp_path / "model.csv").read_bytes()
    assert "on validation" in capsys.readouterr().out


def test_export_writes_graphs_of_a_run_and_of_an_exported_classifier(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    run, model = trained[1], tmp_path / "model"
    program, graph = tmp_path / "run.pt2", tmp_path / "model.onnx"

    assert main(["export", str(run), "--out", str(model), "--pt2", str(program)]) == 0
    assert main(["export", str(model), "--onnx", str(graph)]) == 0

    assert capsys.readouterr().out.split() == [str(program), str(model), str(graph)]
    assert program.is_file()
    assert graph.is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name what to write: --out FOLDER, --onnx FILE or --pt2 FILE"),
        (["--onnx", "m.pt"], "--onnx must name a file that ends in .onnx, got m.pt"),
        (["--pt2", "m.onnx"], "--pt2 must name a file that ends in .pt2, got m.onnx"),
        (["--onnx", "old.onnx"], "old.onnx exists; choose another name"),
        (["--out", "."], "--out must not exist or must be an empty folder, got ."),
        (["--out", "old.onnx"], "--out must not exist or must be an empty folder, got old.onnx"),
    ],
)
def test_export_checks_its_files_before_anything_is_loaded(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (tmp_path / "manifest.json").touch()
    (tmp_path / "old.onnx").touch()
    done = subprocess.run(  # noqa: S603  (our own interpreter)
        [sys.executable, "-c", _WITHOUT_TORCH, "export", ".", *words], cwd=tmp_path, check=False
    )

    assert done.returncode == 1
    assert f"cxrtransfer: {message}" in capfd.readouterr().err


_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # an import of it fails
from cxrtransfer.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_export_without_onnx_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").touch()
    monkeypatch.setattr("cxrtransfer.cli.checks.find_spec", lambda _name: None)

    assert main(["export", str(tmp_path), "--onnx", str(tmp_path / "m.onnx")]) == 1
    assert "pip install 'cxrtransfer[onnx]'" in capsys.readouterr().err


def test_audit_prints_the_leakage_report_of_a_folder_or_a_table(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = shutil.copytree(trained[0], tmp_path / "images")
    read_folder(tree).to_csv(tree / "table.csv")

    for source in (tree, tree / "table.csv"):
        assert main(["audit", str(source)]) == 0
        assert "Audit of 44 images" in capsys.readouterr().out


def test_audit_of_images_that_do_not_exist_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,label\na.png,NORMAL\nb.png,PNEUMONIA\n", encoding="utf-8")

    assert main(["audit", str(table)]) == 1
    assert "none of the 2 images" in capsys.readouterr().err


def test_external_test_evaluates_a_run_on_another_site(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away = shutil.copytree(trained[0] / "test", tmp_path / "away")

    assert main(["external-test", str(trained[1]), str(away)]) == 0
    assert "squeezenet1_1 on away" in capsys.readouterr().out
    assert main(["external-test", str(trained[1]), str(away), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values.items() <= read_json(trained[1] / "external" / "away" / "external.json").items()
    assert values["external"]["num_images"] == 12


def test_external_test_can_skip_unreadable_images_and_lists_them(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained[1], tmp_path / "run")
    away = shutil.copytree(trained[0] / "test", tmp_path / "away")
    (away / "NORMAL" / "02.png").write_bytes(b"no image")
    assert main(["external-test", str(run), str(away)]) == 1

    with pytest.warns(UserWarning, match="1 unreadable image"):
        assert main(["external-test", str(run), str(away), "--skip-unreadable"]) == 0

    output = capsys.readouterr().out
    assert "1 of 12 images are unreadable and were skipped." in output
    assert "skipped: NORMAL/02.png: " in output
    saved = read_json(run / "external" / "away" / "external.json")
    assert list(saved["skipped"]) == ["NORMAL/02.png"]


def test_without_options_the_command_trains_with_the_defaults_of_the_classes() -> None:
    assert run_configs(parse(["train", "."])) == (RunConfig(name="resnet18", model="resnet18"),)


def test_a_recipe_sets_the_defaults_and_other_options_apply_before_or_after_it() -> None:
    fast = RunConfig.fast("squeezenet1_1")
    changed = replace(fast.with_training(epochs=5, class_weights=None), image_size=96)
    words = ["--epochs", "5", "--recipe", "fast", "--image-size", "96", "--class-weights", "none"]

    assert run_configs(parse(["train", ".", "--recipe", "fast"])) == (fast,)
    assert run_configs(parse(["train", ".", *words])) == (changed,)
    assert [
        config.model
        for config in run_configs(
            parse(["train", "--recipe", "fast", "--models", "resnet18", "resnet50", "."])
        )
    ] == ["resnet18", "resnet50"]


def test_every_setting_has_an_option() -> None:
    words = [
        "train", ".", "--models", "timm:resnet10t", "--random", "--features", "--image-size", "64",
        "--fine-maps", "--zero-head", "--val-fraction", "0.2", "--test-fraction", "0.3",
        "--image-split", "--split-seed", "5",
        "--augment", "strong", "--augment-strengths", "scale=0.5", "blur=0",
        "--upsample", "--retrain-last-layer", "--positive", "COVID",
        "--class-weights", "2", "1", "--lr", "0.5", "--weight-decay", "0.25", "--batch-size", "4",
        "--epochs", "7", "--early-stopping", "2", "--seeds", "1", "3", "--precision", "fp32",
        "--optimizer", "sgd", "--momentum", "0.5", "--schedule", "constant", "--warmup-epochs",
        "1.5", "--accumulate", "2", "--max-grad-norm", "3", "--label-smoothing", "0.1",
        "--mixup", "0.2", "--cutmix", "1",
        "--ema-decay", "0.9", "--layer-decay", "0.8", "--unfreeze-every", "2", "--monitor",
        "val_f1", "--select", "last", "--loss-normalization", "batch",
        "--min-change", "0.01", "--reuse-features", "never", "--compile",
    ]  # fmt: skip
    config = run_configs(parse(words))[1]

    defaults = RunConfig(name="-", model="-")
    for changed, default in ((config, defaults), (config.training, defaults.training)):
        for name, value in vars(changed).items():
            if name in ("balance", "group_dro"):  # exclude other settings
                continue
            assert value != getattr(default, name), f"{name} has no option, or none in this test"
    (balanced,) = run_configs(
        parse(["train", ".", "--class-weights", "none", "--balance", "acquisition"])
    )
    assert balanced.balance == "acquisition"
    (robust,) = run_configs(
        parse(["train", ".", "--class-weights", "none", "--group-dro", "0.01"])
    )
    assert robust.training.group_dro == 0.01
    assert config.name == "timm-resnet10t_seed3"
    assert config.group_by is None
    assert config.augment_strengths == {"scale": 0.5, "blur": 0.0}
    assert config.training.class_weights == (2.0, 1.0)


def test_equal_class_weights_are_none() -> None:
    (config,) = run_configs(parse(["train", ".", "--class-weights", "none"]))

    assert config.training.class_weights is None


def test_the_help_of_an_option_is_the_settings_description(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])

    text = " ".join(capsys.readouterr().out.split())
    assert "--label-smoothing X fraction of each label that is spread evenly over" in text
    assert (
        "--max-grad-norm X maximum L2 norm of the gradient (gradient clipping) (default: no"
        in text
    )
    assert "--augment {none,light,strong} random augmentation of training images" in text
    assert "``" not in text


def test_the_folder_may_follow_the_models(tmp_path: Path) -> None:
    options = parse(["train", "--models", "resnet18", "resnet50", str(tmp_path)])

    assert (options.data, options.models) == (tmp_path, ["resnet18", "resnet50"])


def test_the_folder_may_follow_the_class_weights_or_seeds(tmp_path: Path) -> None:
    for words in (["--class-weights", "2", "1"], ["--seeds", "1", "2"]):
        options = parse(["train", *words, str(tmp_path)])

        assert options.data == tmp_path
        assert len(run_configs(options)) == (2 if words[0] == "--seeds" else 1)


@pytest.mark.slow
def test_without_a_test_split_a_fifth_is_held_out_and_the_end_names_results_and_next_steps(
    image_tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    words = [
        "train", str(image_tree / "train"), "--models", "squeezenet1_1", "--random",
        "--image-size", "32", "--epochs", "1", "--out", str(tmp_path / "my out"),
        "--tensorboard", "--workers", "1",
    ]  # fmt: skip

    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    run = load_run(tmp_path / "my out" / "squeezenet1_1")
    assert len(run.test) == 8
    assert len(list(run.folder.tensorboard.iterdir())) == 1
    assert any("20% of the images are held out" in message for message in caplog.messages)
    row = next(line for line in lines if line.startswith("squeezenet1_1"))
    assert f"{run.test_metrics['auroc']:.3f} (" in row
    assert f"{run.val_metrics['auroc']:.3f}" in row
    assert f"  cxrtransfer predict '{run.folder.path}' NEW_IMAGES --heatmaps heatmaps" in lines

    print_outcome(parse([*words, "--json"]), run.folder.path.parent / "report.html")
    printed = json.loads(capsys.readouterr().out)
    assert printed["runs"]["squeezenet1_1"]["auroc"]["value"] == run.test_metrics["auroc"]


def test_evaluate_gives_the_metrics_of_a_table(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    table = trained[1] / "predictions_test.csv"

    assert main(["evaluate", str(table), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["auroc"]["value"] == load_run(trained[1]).test_metrics["auroc"]
    assert main(["evaluate", str(table), "--positive", "COVID"]) == 1


def test_evaluate_treats_an_image_of_unknown_patient_as_a_patient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{name}.png,{label},0.5,0.5" for name, label in zip("abcd", "ABAB", strict=True)]
    (tmp_path / "predictions.csv").write_text("\n".join(["id,label,A,B", *rows]))
    (tmp_path / "split.csv").write_text(
        "path,label,patient_id,split\na.png,A,p,test\nb.png,B,p,test\nc.png,A,,test\nd.png,B,,test"
    )
    words = ["evaluate", str(tmp_path / "predictions.csv")]

    assert main([*words, "--patients", str(tmp_path / "split.csv")]) == 0
    assert capsys.readouterr().out.startswith("4 images of 3 patients; ")


def test_split_writes_a_table_without_shared_patients(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "split.csv"
    for index, path in enumerate(sorted((trained[0] / "train").rglob("*.png"))):
        copy = tmp_path / "images" / path.parent.name / f"P{index // 2}_{path.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    words = ["split", str(tmp_path / "images"), "--val-fraction", "0.25", "--out", str(out)]

    assert main([*words, "--patient-regex", r"^(P\d+)_"]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows} == {"train", "val", "test"}
    splits_of = {row["patient_id"]: set() for row in rows}
    for row in rows:
        splits_of[row["patient_id"]].add(row["split"])
    assert len(splits_of) == 16
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert main(words) == 1  # it exists
    assert main([*words, "--overwrite", "--patient-regex", "(X)"]) == 1
    capsys.readouterr()
    assert main([*words, "--overwrite", "--json"]) == 0
    images = json.loads(capsys.readouterr().out)["images"]
    assert sum(sum(of.values()) for of in images.values()) == len(rows)


def test_strict_audit_exits_with_3_and_names_duplicates(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = shutil.copytree(trained[0], tmp_path / "images")
    shutil.copy(tree / "train" / "NORMAL" / "00.png", tree / "train" / "NORMAL" / "copy.png")

    assert main(["audit", str(tree), "--strict"]) == 3
    assert "train/NORMAL/00.png, train/NORMAL/copy.png" in capsys.readouterr().out
    assert main(["audit", str(tree), "--json"]) == 0
    ids = json.loads(capsys.readouterr().out)["duplicates"][0]["ids"]
    assert ids == ["train/NORMAL/00.png", "train/NORMAL/copy.png"]


def test_columns_of_a_table_can_be_named(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "other.csv"
    images = shutil.copytree(trained[0] / "train", tmp_path / "train")
    lines = [
        f"{path.relative_to(tmp_path)},{path.parent.name}"
        for path in sorted(images.rglob("*.png"))
    ]
    table.write_text("file,finding\n" + "\n".join(lines) + "\n", encoding="utf-8")
    words = ["audit", str(table), "--label-column", "finding"]

    assert main([*words, "--path-column", "file"]) == 0
    assert "Audit of 32 images" in capsys.readouterr().out
    assert main(words) == 1
    assert "missing columns ['path']" in capsys.readouterr().err


def test_embed_and_explain_write_files(trained: tuple[Path, Path], tmp_path: Path) -> None:
    run, images = str(trained[1]), str(trained[0] / "test")

    assert main(["embed", run, images, "--out", str(tmp_path / "e.csv")]) == 0
    with (tmp_path / "e.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["label"] for row in rows} == {"NORMAL", "PNEUMONIA"}
    assert main(["explain", run, images, "--out", str(tmp_path / "maps")]) == 0
    assert len(list((tmp_path / "maps").rglob("*.png"))) == 12


def test_a_file_below_the_home_folder_is_not_replaced_unasked(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bash leaves the ~ of --out=~/x to the program."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("x.csv", "x.pt2"):
        (tmp_path / name).write_text("mine")
    images, run = str(trained[0]), str(trained[1])

    assert main(["split", images, "--out=~/x.csv"]) == 1
    assert main(["embed", run, images, "--out=~/x.csv"]) == 1
    assert main(["export", run, "--pt2=~/x.pt2"]) == 1

    assert [(tmp_path / name).read_text() for name in ("x.csv", "x.pt2")] == ["mine"] * 2


def test_completion_scripts_name_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    assert "external-test" in capsys.readouterr().out


def test_messages_use_the_words_of_the_shell() -> None:
    message = "batch_size=8 is too large; pass pretrained=False, or set test_fraction"

    assert (
        shell_words(message)
        == "--batch-size 8 is too large; pass --random, or set --test-fraction"
    )


def test_names_that_the_output_cannot_hold_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {"utf-8": "\u00e4 \\udcff.png\n", "ascii": "\\xe4 \\udcff.png\n"}
    for encoding, expected in cases.items():
        output = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding=encoding))
        print_lines("\u00e4 \udcff.png")  # a file name that is not UTF-8
        sys.stdout.flush()
        assert output.getvalue().decode(encoding) == expected


def test_models_are_listed_by_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "squeezenet*"]) == 0
    assert "squeezenet1_1" in capsys.readouterr().out


def test_every_network_that_can_be_built_passes_the_quick_check_of_names() -> None:
    check_networks([*list_models(), "resnet50.a1_in1k", "timm:resnet50"])

    with pytest.raises(ValueError, match="got 'resnet5O'; did you mean resnet50 or"):
        check_networks(["resnet50", "resnet5O"])


def test_a_mistake_is_reported_before_anything_slow_is_imported() -> None:
    code = """
import contextlib, sys
from cxrtransfer.cli import main
for words in (["train", ".", "--nonsense"], ["--help"], ["train", "/nowhere"],
              ["train", ".", "--class-weights", "even"], ["predict", "/nowhere", "x.png"],
              ["train", ".", "--lr", "0"], ["train", "--help"], ["predict", ".", "."],
              ["train", "src", "--positive", "cxr"], ["train", ".", "--device", "gpu"],
              ["train", ".", "--models", "resnet5"]):
    with contextlib.suppress(SystemExit):
        main(words)
print(*sys.modules)
"""
    done = subprocess.run(  # noqa: S603  (our own interpreter and text)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "no such file or directory: /nowhere" in done.stderr
    assert "lr must be positive and finite, got 0.0" in done.stderr
    assert ". must be the folder of a finished run" in done.stderr
    assert "--positive must be one of the classes cxrtransfer, got 'cxr'" in done.stderr
    assert "must be auto, cpu, cuda, cuda:1 or mps, got 'gpu'" in done.stderr
    assert "got 'resnet5'; did you mean resnet50 or " in done.stderr
    assert not {"torch", "numpy", "matplotlib", "PIL"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "/no/such/folder"], "/no/such/folder"),
        (["models", "no_such_net"], "no available model matches 'no_such_net'"),
        (["report", "/no/such/folder"], "no such file or directory: /no/such/folder"),
        (["train"], "train needs images"),
        (["train", ".", "--epochs", "0"], "epochs must be a positive integer, got 0"),
        (["report", "."], "must hold a finished study"),
        (["train", ".", "--class-weights", "even"], "got 'even'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    assert message in capsys.readouterr().err
