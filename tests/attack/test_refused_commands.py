"""Every command that refuses its arguments or images leaves every file as it was.

One folder holds images, a finished study, and results of other commands. Each command is called
with one mistake, and the digests of all files are compared.
"""

import csv
import os
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from PIL import Image

from cxrtransfer.cli import main
from cxrtransfer.files import file_digest

if TYPE_CHECKING:
    from conftest import Outcomes

pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm"),
]

TIME_LIMIT_S = 120
TRAIN = "--models squeezenet1_1 --random --image-size 32 --epochs 1 --quiet --device cpu"
ON = "--out study"  # the folder of a finished study

COMMANDS = {
    "train": [
        *(f"nowhere {ON}", f"one_class {ON}", f"empty {ON}", f"broken {ON}", "broken --out new"),
        *(f"bad.csv {ON}", f"missing.csv {ON}", f"changed {ON}", f"replaced {ON}"),
        *(f"tree {ON} --lr 0.5", f"tree {ON} --seed 1 --lr 0.5", f"tree {ON} --positive TB"),
        *(f"tree {ON} --class-weights 1 2 3", f"tree {ON} --models no_such_network"),
        *(f"tree {ON} --models squeezenet1_1 densenet121 --lr 0.5", f"tree {ON} --epochs 0"),
        *(f"tree {ON} --image-size 0", f"tree {ON} --val-fraction 2", f"tree {ON} --lr -1"),
        *(f"tree {ON} --test-fraction 0.5", f"tree {ON} --device cuda:77", f"tree {ON} --folds 1"),
        *(
            f"tree {ON} --batch-size 0",
            f"tree {ON} --jobs x",
            f"tree {ON} --no-such-option",
        ),
        *("tree --out notes.txt", "tree --out notes.txt/new", f"table.csv {ON} --label-column x"),
        f"tree {ON} --patient-regex ^(Q[0-9]+)",
    ],
    "split": [
        *("tree --out split.csv", "nowhere --out new.csv", "one_class --out new.csv"),
        *("tree --out new.csv --val-fraction 2", "tree --out new.csv --test-fraction 0.5"),
        *("tree --out study --overwrite", "tree --out notes.txt/new.csv", "bad.csv --out new.csv"),
        *("tree --out split.csv --overwrite --val-fraction 0.999", "empty --out new.csv"),
        *("tree --out new.csv --patient-regex (", "tree --out new.csv --patient-regex x"),
        *("table.csv --out new.csv --label-column x", "missing_label.csv --out new.csv"),
    ],
    "predict": [
        *("RUN tree/test --out predictions.csv", "study tree/test --out new.csv"),
        *("RUN nowhere --out new.csv", "RUN empty --out new.csv", "RUN broken --out new.csv"),
        *("RUN broken --out predictions.csv --overwrite --heatmaps maps --html sheet.html",),
        *("RUN tree --out new.csv --heatmaps tree/maps", "RUN tree --out new.csv --json new.csv"),
        *("RUN tree --out new.csv --threshold banana", "RUN tree --out new.csv --coverage 2"),
        *("RUN tree --out new.csv --threshold 2", "RUN tree --out new.csv --false-alarm-rate 0"),
        *("RUN tree --out new.csv --device cuda:77", "RUN tree --out study"),
        *("RUN tree --out notes.txt/new.csv", "RUN notes.txt --out new.csv"),
        *("damaged/squeezenet1_1 tree --out new.csv", "tree tree --out new.csv"),
        *("RUN tree --out new.csv --html sheet.html", "RUN tree --out new.csv --calibration x"),
        "RUN tree/test --out new.csv --heatmaps notes.txt",
    ],
    "explain": [
        *("RUN tree/test --out maps", "RUN nowhere --out new", "RUN broken --out new"),
        *("study tree --out new", "damaged/squeezenet1_1 tree --out new", "RUN empty --out new"),
        *("RUN tree --out notes.txt", "RUN tree --out tree/new", "RUN tree --out new --device x"),
    ],
    "embed": [
        *("RUN tree --out embedding.csv", "RUN nowhere --out new.csv", "RUN broken --out new.csv"),
        *("study tree --out new.csv", "damaged/squeezenet1_1 tree --out new.csv"),
        *("RUN bad.csv --out new.csv", "RUN missing.csv --out new.csv", "RUN tree --out study"),
        "RUN tree --out notes.txt/new.csv",
    ],
    "export": [
        *("RUN --out study", "study --out new", "nowhere --out new", "RUN --out notes.txt"),
        *("damaged/squeezenet1_1 --out new", "RUN --out new --threshold banana", "RUN"),
        *("RUN --out notes.txt/new", "RUN --out new --threshold sensitivity:2"),
    ],
    "external-test": [
        *("RUN nowhere", "RUN other --site site", "RUN broken --site site", "study tree"),
        *("RUN tree --site a/b", "damaged/squeezenet1_1 tree --site site", "RUN bad.csv"),
        *("RUN missing.csv --site site", "RUN empty --site site", "RUN one_class --site .."),
    ],
    "evaluate": [
        *("nowhere", "bad.csv", "notes.txt", "table.csv", "predictions_test.csv --positive TB"),
        *("predictions_test.csv --threshold 2", "predictions_test.csv --patients notes.txt"),
        "predictions_test.csv --patients table.csv",
    ],
    "audit": [
        *("nowhere --json", "empty --json", "bad.csv --json", "missing.csv --json"),
        *("one_class --json", "notes.txt --json", "broken --json --strict"),
    ],
    "report": ["nowhere", "empty", "tree", "damaged_study", "damaged", "RUN"],
    "demo": ["--out notes.txt", "--out notes.txt/new", "--out occupied"],
    "download": [
        *("kermany --out study", "pneumoniamnist --out study", "kermany --out notes.txt"),
        *("pneumoniamnist --out notes.txt/new", "pneumoniamnist --out new --size 5", "mnist"),
    ],
}


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def place(kermany_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, tables, a finished study, and results of other commands."""
    place = tmp_path_factory.mktemp("place")
    for name in ("tree", "broken", "changed", "replaced"):
        shutil.copytree(kermany_tree, place / name)
    image = next((place / "tree" / "train" / "NORMAL").iterdir())
    (place / "broken" / "test" / "NORMAL" / "IM-9000-0000.png").write_bytes(b"no image")
    (place / "changed" / "train" / "NORMAL" / image.name).unlink()
    Image.new("L", (32, 32), 9).save(place / "replaced" / "train" / "NORMAL" / image.name)
    for name in ("one_class/NORMAL", "other/COVID", "other/NORMAL", "occupied/drawn", "empty"):
        (place / name).mkdir(parents=True)
        if name != "empty":
            shutil.copy(image, place / name / "a.png")
    rows = [[f"{name}.png", "NP"[index % 2]] for index, name in enumerate("abcdefgh")]
    for name, table in {
        "table.csv": [["path", "label", "patient_id"], *[[*row, "p"] for row in rows]],
        "missing.csv": [["path", "label"], *rows],
        "missing_label.csv": [["path", "label"], *rows, ["i.png", ""]],
        "bad.csv": [["path", "label"], *rows, ["i.png", "N", "three"]],
    }.items():
        with (place / name).open("w", newline="") as file:
            csv.writer(file).writerows(table)
    for name in ("notes.txt", "split.csv", "predictions.csv", "embedding.csv", "sheet.html"):
        (place / name).write_text("written before\n")
    (place / "maps").mkdir()
    (place / "maps" / "predictions.csv").write_text("written before\n")
    assert call(place, "train", f"tree {ON}")[0] == "silent"  # that is, no error
    run = place / "study" / "squeezenet1_1"
    shutil.copy(run / "predictions_test.csv", place)
    for name, damaged in (
        ("damaged", "squeezenet1_1/model.safetensors"),
        ("damaged_study", "study.json"),
    ):
        shutil.copytree(place / "study", place / name)
        flip_bit(place / name / damaged)
    return place


class TooLongError(BaseException):
    """The time limit has passed."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> NoReturn:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def call(place: Path, command: str, words: str) -> tuple[str, str]:
    """Run a command inside the folder; return its outcome and what happened."""
    settings = TRAIN.split() if command == "train" else []  # the words may repeat options
    arguments = [command, *settings, *words.replace("RUN", "study/squeezenet1_1").split()]
    before = Path.cwd()
    try:
        os.chdir(place)
        with time_limit(TIME_LIMIT_S), warnings.catch_warnings(action="ignore"):
            status = main(arguments)
    except SystemExit as error:  # of argparse
        status = int(error.code or 0)
    except TooLongError:
        return "hang", f"no end within {TIME_LIMIT_S} s"
    except Exception as error:  # noqa: BLE001  (which is what is examined)
        return "crash", repr(error)
    finally:
        os.chdir(before)
    return ("refused" if status else "silent"), f"status {status}"


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): file_digest(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_refused_command_changes_no_file(
    place: Path, outcomes: "Outcomes", command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = []
    before = digests(place)
    for words in COMMANDS[command]:
        capsys.readouterr()
        outcome, what = call(place, command, words)
        message = capsys.readouterr().err.strip()
        after = digests(place)
        changed = {name for name in before | after if before.get(name) != after.get(name)}
        if outcome == "refused" and (changed or not message or "Traceback" in message):
            outcome, what = "silent", f"changed {sorted(changed)}, said {message[-300:]!r}"
        if outcomes.add("command", command, outcome):
            failures.append(f"{outcome}: {command} {words}: {what}")
        before = after

    assert not failures, "\n".join(failures)
