"""The ledger counts every evaluation on a test set."""

from pathlib import Path

import pytest

from cxrtransfer.evaluation import count_test_openings, record_test_opening


def test_openings_are_counted_per_test_set(tmp_path: Path) -> None:
    ledger = tmp_path / "new" / "test-openings.csv"
    assert count_test_openings(ledger, ["a", "b"]) == 0

    record_test_opening(ledger, ["a", "b"], run="first, seed 0")
    record_test_opening(ledger, ["b", "a"], run="second", purpose="stress tests")
    record_test_opening(ledger, ["a", "b", "c"], run="other test set")

    assert count_test_openings(ledger, ["a", "b"]) == 2
    assert count_test_openings(ledger, ["c", "a", "b"]) == 1
    assert count_test_openings(ledger, ["ab"]) == 0
    header, *lines = ledger.read_text(encoding="utf-8").splitlines()
    assert header == "time,run,purpose,test_set,num_images"
    assert [line.endswith((",2", ",3")) for line in lines] == [True] * 3
    assert '"first, seed 0"' in lines[0]


def test_a_ledger_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    record_test_opening("~/new/ledger.csv", ["a"], run="first")

    assert count_test_openings(tmp_path / "home" / "new" / "ledger.csv", ["a"]) == 1
    assert count_test_openings("~/new/ledger.csv", ["a"]) == 1
