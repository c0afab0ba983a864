"""A grid of runs at once: in two processes, on a Dask cluster, with a run that fails."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib._parallel_backends import ThreadingBackend

from cxrtransfer.data import Record, Records
from cxrtransfer.errors import RunFolderError, RunsFailedError, UnreadableImagesError
from cxrtransfer.report import write_report
from cxrtransfer.study import RunConfig, RunFolder, load_run, load_study, run_study
from cxrtransfer.study.plan import Plan
from cxrtransfer.study.progress import StudyBar
from cxrtransfer.training import TrainConfig

CONFIG = RunConfig(
    name="a",
    model="squeezenet1_1",
    pretrained=False,
    image_size=32,
    training=TrainConfig(epochs=2, lr=1e-3, batch_size=8, precision="fp32"),
)
BROKEN = replace(CONFIG, name="broken").with_training(lr=1e30)
BOTH = [CONFIG, replace(CONFIG, name="b").with_training(class_weights="balanced")]


@pytest.fixture(scope="module")
def tree(draw_tree: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_tree(tmp_path_factory.mktemp("images"), train=16, test=6, brighter=True)


@pytest.fixture(scope="module")
def straight(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight")
    run_study(BOTH, tree, out, progress=False, metrics_only=True)
    return out


@pytest.fixture
def cluster() -> Iterator[None]:
    """Two Dask workers on this machine, in threads of this process: no port but this host's."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield


def assert_same(first: Path, second: Path) -> None:
    for config in BOTH:
        one, two = load_run(first / config.name), load_run(second / config.name)
        np.testing.assert_allclose(one.test.probabilities, two.test.probabilities, atol=1e-5)


@pytest.mark.slow
def test_two_processes_make_what_one_makes_and_name_the_run_that_fails(
    straight: Path, tree: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunsFailedError, match=r"1 of 3 runs failed.*\n  broken: NonFiniteLoss"):
        run_study([BROKEN, *BOTH], tree, tmp_path, progress=False, n_jobs=2, metrics_only=True)

    assert_same(straight, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_dask_cluster_makes_what_one_process_makes(
    straight: Path, tree: Path, tmp_path: Path
) -> None:
    with joblib.parallel_config(backend="dask"):
        run_study(BOTH, tree, tmp_path, progress=False, metrics_only=True)

    assert_same(straight, tmp_path)


class AtTheEnd(ThreadingBackend):
    """A backend that cannot return runs one by one, like Ray's."""

    supports_return_generator = False


def test_a_backend_that_returns_all_runs_at_the_end_makes_them(
    straight: Path, tree: Path, tmp_path: Path
) -> None:
    joblib.register_parallel_backend("at the end", AtTheEnd)

    with joblib.parallel_config(backend="at the end", n_jobs=2):
        run_study(BOTH, tree, tmp_path, progress=False, metrics_only=True)

    assert_same(straight, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no signals")
@pytest.mark.filterwarnings("ignore")  # of dask, about the worker that is killed
def test_a_run_whose_dask_worker_is_killed_is_made_by_another(tree: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    first = CONFIG.with_training(epochs=1)
    long = replace(CONFIG, name="long").with_training(epochs=40)
    run_study([first], tree, tmp_path, progress=False, metrics_only=True)
    before = (tmp_path / "a" / "manifest.json").stat().st_mtime_ns
    killed: list[int] = []

    def kill_during_the_long_run(client: Any) -> None:
        while not (tmp_path / "long" / "history.csv").exists():  # its first epoch
            if ended.wait(0.1):
                return
        pids = client.run(os.getpid)
        busy = [worker for worker, tasks in client.processing().items() if tasks]
        killed.extend(pids[worker] for worker in busy)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    ended = threading.Event()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        killer = threading.Thread(target=kill_during_the_long_run, args=(client,))
        killer.start()
        try:
            run_study([first, long], tree, tmp_path, progress=False, metrics_only=True)
        finally:
            ended.set()
            killer.join()

    assert len(killed) == 1
    assert (tmp_path / "a" / "manifest.json").stat().st_mtime_ns == before  # not made again
    assert len(load_run(tmp_path / "long").rows) == 40
    assert [run.name for run in load_study(tmp_path).runs] == ["a", "long"]
    assert "long" in write_report(tmp_path).read_text(encoding="utf-8")


def test_a_run_that_fails_names_itself_and_the_others_are_made(
    straight: Path, tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RunsFailedError, match=r"1 of 2 runs failed.*\n  broken: NonFiniteLoss"):
        run_study([BROKEN, CONFIG], tree, tmp_path, progress=False, metrics_only=True)
    assert "run 'broken' failed: " in caplog.text
    assert "Traceback" not in caplog.text  # the error says what is wrong
    study = load_study(tmp_path)
    assert [run.name for run in study.runs] == ["a"]
    assert study.failed["broken"].startswith("NonFiniteLossError: ")
    before = (tmp_path / "a" / "manifest.json").stat().st_mtime_ns
    run_study(BOTH, tree, tmp_path, progress=False, metrics_only=True)

    assert (tmp_path / "a" / "manifest.json").stat().st_mtime_ns == before
    assert_same(straight, tmp_path)
    assert load_study(tmp_path).failed == {}


def test_where_every_run_fails_there_is_no_study(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(RunsFailedError, match=r"all \d runs failed"):
        run_study([BROKEN], tree, tmp_path, progress=False)

    with pytest.raises(RunFolderError, match="must hold a finished study"):
        load_study(tmp_path)


def test_without_a_terminal_every_stage_and_epoch_is_a_line(
    tree: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")

    run_study([CONFIG.with_training(epochs=3)], tree, tmp_path)

    messages = "\n".join(caplog.messages)
    stages = ("audit of", ": training", "epoch 3/3", ": embedding", ": heatmaps")
    positions = [messages.index(stage) for stage in stages]
    assert positions == sorted(positions)
    assert f"run 1/1 {CONFIG.name}: training" in messages
    assert "\r" not in capsys.readouterr().err


def test_a_failed_run_does_not_fill_the_bar() -> None:
    records = Records(
        tuple(
            Record(Path(f"{split}{i}"), i % 2, f"{split}{i}", split)
            for split in ("train", "val", "test")
            for i in range(4)
        ),
        ("A", "B"),
    )
    plans = [
        Plan(replace(CONFIG, name=name), records, "", "", RunFolder(Path(name)))
        for name in ("a", "b")
    ]
    bar = StudyBar(plans, shown=False)

    bar.begin("a")
    bar.end("a", failed=True)
    assert bar.fraction == 0
    bar.begin("b")
    bar.end("b", failed=False)
    assert bar.fraction == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no signals")
def test_a_worker_ends_with_the_study_that_started_it() -> None:
    code = (
        "import os, sys; from cxrtransfer.study.study import _exit_with; parent = os.getppid(); "
        "print('ready', flush=True); _exit_with(parent)"
    )
    study = subprocess.Popen(  # noqa: S603  (our own interpreter and text)
        ["/bin/sh", "-c", '"$0" -c "$1" & wait', sys.executable, code],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert study.stdout is not None
    assert study.stdout.readline() == "ready\n"

    study.kill()

    assert study.communicate(timeout=60)[0] == ""  # the pipe ends with the worker that holds it


KILLED = [replace(run, name=f"long {run.name}").with_training(epochs=40) for run in BOTH]
STUDY = """
import multiprocessing, os, runpy, signal, sys, threading, time
from cxrtransfer.study import run_study

def kill_while_processes_start():
    while len(multiprocessing.active_children()) < 2:
        time.sleep(0.01)
    time.sleep(0.3)  # they import for seconds, and have received their runs
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    _, tests, tree, out, moment = sys.argv
    configs = runpy.run_path(tests)["KILLED"]
    if moment == "start":
        threading.Thread(target=kill_while_processes_start, daemon=True).start()
    run_study(configs, tree, out, progress=False, n_jobs=2, metrics_only=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no signals")
@pytest.mark.parametrize("moment", ["start", "training"])
def test_a_killed_study_of_two_processes_ends_both_and_is_resumed(
    tree: Path, tmp_path: Path, moment: str
) -> None:
    script, out = tmp_path / "study.py", tmp_path / "out"
    script.write_text(STUDY, encoding="utf-8")
    study = subprocess.Popen(  # noqa: S603  (our own interpreter and text)
        [sys.executable, str(script), __file__, str(tree), str(out), moment],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if moment == "training":
        while not any(out.glob("*/checkpoint.pt")):
            with pytest.raises(subprocess.TimeoutExpired):  # else it ended too soon
                study.wait(timeout=0.02)
        study.kill()
    output = study.communicate(timeout=120)[0]  # the pipe ends with the workers that hold it

    assert study.returncode == -signal.SIGKILL, output
    assert not any(out.glob("*/manifest.json")), output
    results = run_study(KILLED, tree, out, progress=False, metrics_only=True)  # no lock is left
    assert [len(result.rows) for result in results] == [40, 40]


def test_the_list_of_unreadable_images_travels_between_processes() -> None:
    error = UnreadableImagesError({Path("a.png"): "torn"})

    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)

    assert again.reasons == error.reasons
    assert str(again) == str(error)
