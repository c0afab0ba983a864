import json
import math
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from cxrtransfer.files import (
    atomic_path,
    canonical_json,
    file_digest,
    fresh_folder,
    read_json,
    read_table,
    write_arrays,
    write_json,
    write_table,
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


def test_tables_survive_any_text(tmp_path: Path) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    names = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=8
    )

    @settings(max_examples=150, deadline=None)
    @given(st.lists(names, min_size=1, max_size=3, unique=True), st.data())
    @example(["a;b"], None)
    @example(["a\tb;c", "d"], None)
    @example(["a\rb", "c"], None)
    @example(["a,b,c", "d"], None)
    def check(columns: list[str], data: st.DataObject | None) -> None:
        cells = st.tuples(*[texts] * len(columns))
        rows = [("x",) * len(columns)] if data is None else data.draw(st.lists(cells, max_size=4))
        for name in ("t.csv", "t.tsv", "t.csv.gz"):
            write_table(tmp_path / name, columns, rows)
            assert read_table(tmp_path / name) == (tuple(columns), rows)

    check()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_tables_with_a_mark_of_byte_order_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes("naïve,b\r\nü,2\r\n".encode(encoding))

    assert read_table(tmp_path / "t.csv") == (("naïve", "b"), [("ü", "2")])


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "latin-1"])
def test_tables_of_other_encodings_are_refused_by_name(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes("a,b\r\nü,2\r\n".encode(encoding))

    with pytest.raises(ValueError, match=r"t\.csv must be a text table in UTF-8"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ['a,b\n"1,2\n', "a,b\n1\n", "a,b\n1,2,3\n", "a,a\n1,2\n"])
def test_damaged_tables_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)

    with pytest.raises(ValueError, match=r"t\.csv"):
        read_table(tmp_path / "t.csv")


def test_a_cut_gzip_table_is_refused_by_name(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv.gz", ["a"], [["1"]] * 1000)
    data = (tmp_path / "t.csv.gz").read_bytes()
    (tmp_path / "t.csv.gz").write_bytes(data[: len(data) // 2])

    with pytest.raises(ValueError, match=r"t\.csv\.gz"):
        read_table(tmp_path / "t.csv.gz")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    write_json("~/a/b.json", 1)
    with fresh_folder("~/new") as folder:
        (folder / "x").touch()

    assert read_json("~/a/b.json") == 1
    assert file_digest("~/a/b.json") == file_digest(tmp_path / "a" / "b.json")
    assert (tmp_path / "new" / "x").exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
def test_the_header_shows_the_delimiter(tmp_path: Path, delimiter: str, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    lines = [["path", '"label; or, finding"', "patient"], ["a.png", "x", "p,1;2"]]
    cells = [[f'"{cell}"' if "1;2" in cell else cell for cell in line] for line in lines]
    path.write_text("\n".join(delimiter.join(line) for line in cells) + "\n", encoding="utf-8")

    assert read_table(path) == (
        ("path", "label; or, finding", "patient"),
        [("a.png", "x", "p,1;2")],
    )
