import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from cxrtransfer.data import StratifiedResplit, decode_image
from cxrtransfer.data.images.cache import decode_once
from cxrtransfer.errors import UnreadableImagesError
from cxrtransfer.types import InputSpec

SPEC = InputSpec(size=24)


@pytest.fixture
def paths(image_tree: Path) -> list[Path]:
    return sorted(image_tree.rglob("*.png"))


def stored(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def build(paths: list[Path], folder: Path) -> np.ndarray:
    images, rows, _ = decode_once(paths, 24, folder=folder)
    return images[rows].numpy()


BUILD = """
import sys
from pathlib import Path
from cxrtransfer.data.images.cache import decode_once

folder, *paths = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
decode_once([Path(path) for path in paths], 24, folder=folder)
"""


def build_elsewhere(paths: list[Path], folder: Path, *, num_processes: int) -> list[int]:
    """Build a cache in other processes at once, and return how they ended."""
    command = [sys.executable, "-c", BUILD, str(folder), *map(str, paths)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(num_processes)]  # noqa: S603
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate() and process.returncode for process in processes]


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Let no file grow further: the nearest thing to a full disk that needs no disk."""
    resource = pytest.importorskip("resource", reason="limits of file size are POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_it_holds_what_decoding_gives(paths: list[Path], tmp_path: Path) -> None:
    images = build(paths, tmp_path / "cache")

    np.testing.assert_array_equal(images, [decode_image(path, 24) for path in paths])


def test_it_is_built_once(paths: list[Path], tmp_path: Path) -> None:
    build(paths, tmp_path / "cache")
    before = [path.stat().st_mtime_ns for path in stored(tmp_path / "cache")]

    build(paths[::-1], tmp_path / "cache")

    assert [path.stat().st_mtime_ns for path in stored(tmp_path / "cache")] == before


def test_a_process_reads_each_file_once(
    image_tree: Path, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    read_bytes = Path.read_bytes

    def count(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    build(paths, tmp_path / "cache")
    monkeypatch.setattr(Path, "read_bytes", count)
    for split in ("train", "val", "test"):
        StratifiedResplit(image_tree, split, input_spec=SPEC, cache=tmp_path / "cache")
    assert not set(read) & set(paths)

    paths[0].write_bytes(paths[0].read_bytes() + b"more")
    read.clear()
    StratifiedResplit(image_tree, "val", input_spec=SPEC, cache=tmp_path / "other")
    assert read.count(paths[0]) == 2  # for its digest, and to decode it
    assert read.count(paths[1]) == 1


def test_a_cache_torn_after_it_was_opened_is_built_again(
    paths: list[Path], tmp_path: Path
) -> None:
    before = build(paths, tmp_path / "cache").copy()
    _, pixels = stored(tmp_path / "cache")
    build(paths, tmp_path / "cache")
    with pixels.open("r+b") as file:
        file.write(b"torn")

    np.testing.assert_array_equal(build(paths, tmp_path / "cache"), before)


def test_other_content_under_the_same_name_is_seen(paths: list[Path], tmp_path: Path) -> None:
    before = build(paths, tmp_path / "cache")
    paths[0].write_bytes(paths[-1].read_bytes())

    after = build(paths, tmp_path / "cache")

    np.testing.assert_array_equal(after[0], before[-1])
    np.testing.assert_array_equal(after[1:], before[1:])


@pytest.mark.parametrize("what", ["cut", "flip", "index", "no index"])
def test_a_torn_cache_is_built_again(paths: list[Path], tmp_path: Path, what: str) -> None:
    before = build(paths, tmp_path / "cache").copy()
    index, pixels = stored(tmp_path / "cache")
    data = pixels.read_bytes()
    if what == "cut":
        pixels.write_bytes(data[:-100])
    elif what == "flip":
        pixels.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    elif what == "index":
        index.write_text("{")
    else:
        index.unlink()

    np.testing.assert_array_equal(build(paths, tmp_path / "cache"), before)
    assert pixels.read_bytes() == data


def test_size_and_fit_have_their_own(paths: list[Path], tmp_path: Path) -> None:
    decode_once(paths, 24, folder=tmp_path / "cache")
    decode_once(paths, 16, folder=tmp_path / "cache")
    decode_once(paths, 16, folder=tmp_path / "cache", fit="pad")

    assert len(stored(tmp_path / "cache")) == 6


def test_unreadable_files_have_no_row_and_a_reason(paths: list[Path], tmp_path: Path) -> None:
    paths[2].write_bytes(b"")
    paths[5].unlink()

    for _ in ("built", "opened"):
        images, rows, unreadable = decode_once(paths, 24, folder=tmp_path / "cache")

        assert unreadable == {
            paths[2]: "the file is empty",
            paths[5]: "No such file or directory",
        }
        assert np.flatnonzero(rows < 0).tolist() == [2, 5]
        assert len(images) == len(paths) - 2


def test_two_processes_may_build_it_at_once(paths: list[Path], tmp_path: Path) -> None:
    ended = build_elsewhere(paths, tmp_path / "cache", num_processes=2)

    assert ended == [0, 0]
    assert len(stored(tmp_path / "cache")) == 2
    np.testing.assert_array_equal(
        build(paths, tmp_path / "cache"), [decode_image(p, 24) for p in paths]
    )


@pytest.mark.parametrize(("size", "limit"), [(24, 10_000), (1, 1000)])  # pixels, then their index
def test_a_full_disk_is_said_and_leaves_nothing(
    paths: list[Path], tmp_path: Path, size: int, limit: int
) -> None:
    with files_of_at_most(limit), pytest.raises(OSError, match="choose another cache folder"):
        decode_once(paths, size, folder=tmp_path / "cache")

    assert stored(tmp_path / "cache") == []


def test_pickling_passes_the_file_and_not_the_pixels(paths: list[Path], tmp_path: Path) -> None:
    images, rows, _ = decode_once(paths, 24, folder=tmp_path / "cache")

    pickled = pickle.dumps(images)

    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled)[rows], images[rows])  # noqa: S301


def test_a_dataset_from_the_cache_equals_one_from_memory(image_tree: Path, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        mapped = StratifiedResplit(image_tree, split, input_spec=SPEC, cache=tmp_path / "cache")
        memory = StratifiedResplit(image_tree, split, input_spec=SPEC)
        batches = zip(DataLoader(mapped, 7), DataLoader(memory, 7), strict=True)
        assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in batches)
    assert len(stored(tmp_path / "cache")) == 2  # one for all three splits


@pytest.mark.parametrize("cached", [False, True])
def test_a_skipped_image_is_counted_listed_and_stored(
    image_tree: Path, tmp_path: Path, cached: bool
) -> None:
    broken = "test/NORMAL/01.png"
    (image_tree / broken).write_bytes(b"not an image")
    cache = tmp_path / "cache" if cached else None

    with pytest.warns(UserWarning, match="skipped 1 unreadable images of the test split"):
        dataset = StratifiedResplit(
            image_tree, "test", input_spec=SPEC, on_error="skip", cache=cache
        )

    assert dataset.skipped == {broken: "not an image of a supported format"}
    assert len(dataset) == len(dataset.labels) == 11
    assert broken not in dataset.ids
    assert "1 unreadable skipped" in repr(dataset)
    for index, row in enumerate(dataset.records):
        np.testing.assert_array_equal(dataset.image(index), decode_image(row.path, 24))
    with pytest.raises(UnreadableImagesError, match=r"NORMAL.01\.png"):
        StratifiedResplit(image_tree, "test", input_spec=SPEC, cache=cache)
