import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from cxrtransfer import Classifier, build_finetune_model
from cxrtransfer.errors import BundleError
from cxrtransfer.files import file_digest
from cxrtransfer.study import load_run
from cxrtransfer.types import InputSpec


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "elsewhere")


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file of JSON, and let its digest be right."""
    values = json.loads((folder / name).read_text())
    change(values)
    (folder / name).write_text(json.dumps(values))
    if name != "config.json":
        digest = file_digest(folder / name)
        edit(folder, "config.json", lambda c: c["cxrtransfer"]["sha256"].update({name: digest}))


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "preprocessor.json",
        "decision.json",
        "model.safetensors",
        "statistics.safetensors",
        "README.md",
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(FileNotFoundError, match=rf"has no {name}"):
        Classifier.from_pretrained(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder of a classifier: .*nowhere"):
        Classifier.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_weights_of_another_architecture_are_refused(folder: Path, name: str) -> None:
    edit(folder, "config.json", lambda c: c.update(architecture=f"torchvision:{name}"))

    with pytest.raises(BundleError, match=f"does not fit the architecture 'torchvision:{name}'"):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize(
    "name", ["local-dir:/tmp/x", "hf-hub:user/name", "../../etc/passwd", "torchvision:../x", 3]
)
def test_an_architecture_that_is_no_name_of_a_network_is_refused(folder: Path, name: str) -> None:
    edit(folder, "config.json", lambda c: c.update(architecture=name))

    with pytest.raises(BundleError, match=r"config\.json.*(must|unknown model)"):
        Classifier.from_pretrained(folder)


def test_an_unknown_network_is_named(folder: Path) -> None:
    edit(folder, "config.json", lambda c: c.update(architecture="nonet"))

    with pytest.raises(BundleError, match="unknown model 'timm:nonet'"):
        Classifier.from_pretrained(folder)


def test_a_newer_format_is_refused_by_its_version(folder: Path) -> None:
    edit(folder, "config.json", lambda c: c["cxrtransfer"].update(format=7, version="9.1"))

    with pytest.raises(BundleError, match=r"has format 7, written by cxrtransfer 9\.1"):
        Classifier.from_pretrained(folder)


def test_pixels_of_another_decoder_are_refused(folder: Path) -> None:
    edit(folder, "preprocessor.json", lambda c: c.update(decoder_version=99))

    with pytest.raises(BundleError, match="needs version 99 of the image decoder"):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "statistics.safetensors"])
def test_truncated_weights_are_refused(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])

    with pytest.raises(BundleError, match=f"{name} truncated or changed"):
        Classifier.from_pretrained(folder)

    digest = file_digest(folder / name)  # and also if somebody corrects the digest
    edit(folder, "config.json", lambda c: c["cxrtransfer"]["sha256"].update({name: digest}))
    with pytest.raises(BundleError, match="is damaged"):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..\\x", "a/b"])
def test_a_path_that_points_outside_is_refused(folder: Path, name: str) -> None:
    edit(folder, "config.json", lambda c: c["cxrtransfer"]["sha256"].update({name: "0"}))

    with pytest.raises(BundleError, match="must name files in its own folder"):
        Classifier.from_pretrained(folder)


def test_a_wrong_number_of_channels_is_refused(folder: Path) -> None:
    gray = {"channels": 1, "mean": [0.5], "std": [0.5]}
    edit(folder, "preprocessor.json", lambda c: c.update(gray))
    with pytest.raises(BundleError, match=r"does not fit the architecture .* with 1 channels"):
        Classifier.from_pretrained(folder)

    built = {"input_size": [1, 32, 32], "mean": [0.5], "std": [0.5]}
    edit(folder, "config.json", lambda c: c["pretrained_cfg"].update(built))
    with pytest.raises(BundleError, match=r"does not fit the architecture .* with 1 channels"):
        Classifier.from_pretrained(folder)

    four = {"channels": 4, "mean": [0.5] * 4, "std": [0.5] * 4}
    edit(folder, "preprocessor.json", lambda c: c.update(four))
    with pytest.raises(BundleError, match="channels must be 1 or 3, got 4"):
        Classifier.from_pretrained(folder)


def test_two_sizes_are_refused(folder: Path) -> None:
    edit(folder, "preprocessor.json", lambda c: c.update(size=64))

    with pytest.raises(BundleError, match=r"same size, got \[32, 32\] and \[64, 64\]"):
        Classifier.from_pretrained(folder)


def test_an_argument_that_would_load_another_file_is_refused(folder: Path) -> None:
    arguments = {"checkpoint_path": "/etc/passwd"}
    edit(folder, "config.json", lambda c: c.update(model_args=arguments))

    with pytest.raises(BundleError, match=r"must not set \['checkpoint_path'\]"):
        Classifier.from_pretrained(folder)


def test_an_unknown_precision_is_refused(folder: Path) -> None:
    edit(folder, "preprocessor.json", lambda c: c.update(precision="fp8"))

    with pytest.raises(BundleError, match=r"precision must be one of .* got 'fp8'"):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("threshold"),
        lambda c: c.update(positive="MALIGNANT"),
        lambda c: c.update(calibration={"method": "magic", "values": {}}),
        lambda c: c.update(num_conformal=3),
    ],
)
def test_a_decision_without_its_parts_is_damaged(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(folder, "decision.json", change)

    with pytest.raises(BundleError, match="is damaged"):
        Classifier.from_pretrained(folder)


def test_a_file_that_is_no_json_is_damaged(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"{")

    with pytest.raises(BundleError, match=r"config\.json is damaged"):
        Classifier.from_pretrained(folder)


def test_a_folder_with_files_is_not_overwritten(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()

    with pytest.raises(FileExistsError, match="must not exist or must be empty"):
        classifier.save_pretrained(tmp_path)


def test_no_patient_file_name_or_image_is_in_the_folder(saved: Path, kermany_study: Path) -> None:
    run = load_run(kermany_study / "plain")
    records = run.records()
    content = b"".join(path.read_bytes() for path in sorted(saved.iterdir()))
    names = {part for row in records for part in (row.path.name, row.path.stem, row.patient_id)}
    names |= {str(row.path.parent) for row in records} | {str(kermany_study)}

    assert len(names) > 50
    assert [name for name in names if name.encode() in content] == []
    assert not any(magic in content for magic in (b"\x89PNG", b"\xff\xd8\xff", b"DICM"))
    assert sorted(path.name for path in saved.iterdir()) == sorted([
        "README.md", "config.json", "decision.json", "model.safetensors", "preprocessor.json",
        "statistics.safetensors",
    ])  # fmt: skip


@pytest.mark.parametrize(("name", "size"), [("resnet10t", 64), ("vit_tiny_patch16_224", 32)])
@pytest.mark.filterwarnings("ignore::UserWarning:timm")
def test_timm_loads_the_folder(name: str, size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_finetune_model(f"timm:{name}", 2, pretrained=False, image_size=size).eval()
    folder = Classifier.from_model(model, class_names=("a", "b")).save_pretrained(tmp_path / "m")

    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()

    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert loaded.pretrained_cfg["input_size"] == (3, size, size) or list(
        loaded.pretrained_cfg["input_size"]
    ) == [3, size, size]
    assert list(loaded.pretrained_cfg["label_names"]) == ["a", "b"]


def test_a_gray_network_and_one_logit_survive(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_finetune_model("resnet18", 1, pretrained=False, in_chans=1, image_size=32).eval()
    classifier = Classifier.from_model(model, class_names=("a", "b"), positive="a")

    loaded = Classifier.from_pretrained(classifier.save_pretrained(tmp_path / "m"))

    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.network(images), model(images))
    assert (loaded.positive_index, loaded.input_spec) == (0, classifier.input_spec)


def test_a_network_that_cannot_be_rebuilt_is_refused_before_anything_is_written(
    tiny_net: nn.Module, tmp_path: Path
) -> None:
    spec = InputSpec(size=32)
    unnamed = Classifier.from_model(tiny_net, class_names=("a", "b"), input_spec=spec)
    misnamed = Classifier.from_model(
        tiny_net, class_names=("a", "b"), input_spec=spec, architecture="torchvision:resnet18"
    )
    changed = build_finetune_model("resnet18", 2, pretrained=False, image_size=32)
    changed.relu = nn.Tanh()

    with pytest.raises(ValueError, match="can be used but not saved"):
        unnamed.save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="not of the architecture 'torchvision:resnet18'"):
        misnamed.save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="but other outputs"):
        Classifier.from_model(changed, class_names=("a", "b")).save_pretrained(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
