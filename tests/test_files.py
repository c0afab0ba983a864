import json
import math
import stat
from pathlib import Path

import numpy as np
import pytest

from cxrtransfer.files import (
    atomic_path,
    canonical_json,
    file_digest,
    read_json,
    write_arrays,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")

    with pytest.raises(RuntimeError, match="half way"), atomic_path(target) as temporary:
        temporary.write_text("new, but")
        raise RuntimeError("half way")

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_written_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("x")

    with atomic_path(tmp_path / "deep" / "ours") as temporary:
        temporary.write_text("x")

    ordinary, ours = tmp_path / "ordinary", tmp_path / "deep" / "ours"
    assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_json_is_the_same_for_the_same_value_and_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None, "é"]})

    assert (tmp_path / "a.json").read_text("utf-8") == canonical_json(
        {"a": [1.5, None, "é"], "b": 1}
    )
    assert read_json(tmp_path / "a.json") == {"a": [1.5, None, "é"], "b": 1}


def test_json_refuses_what_other_readers_cannot_read() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"auroc": math.nan})


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")

    # The SHA-256 of no bytes, as published in FIPS 180 examples.
    assert file_digest(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")
    assert len(file_digest(tmp_path / "empty")) == 64
    assert json.dumps(file_digest(tmp_path / "empty")).isascii()


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_come_back_by_name_and_replace_the_old_ones(
    tmp_path: Path, *, compressed: bool
) -> None:
    path = tmp_path / "deep" / "arrays.npz"
    write_arrays(path, {"old": np.zeros(3)})
    arrays = {"layer/1": np.arange(4000, dtype=np.float32), "names": np.array(["a", "bc"])}
    write_arrays(path, arrays, compressed=compressed)

    with np.load(path, allow_pickle=False) as found:
        assert set(arrays) <= set(found.files)
        assert "old" not in found.files
        for name, values in arrays.items():
            np.testing.assert_array_equal(found[name], values)
    assert (path.stat().st_size < arrays["layer/1"].nbytes) is compressed
    assert list(path.parent.iterdir()) == [path]
