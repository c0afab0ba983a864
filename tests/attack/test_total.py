"""The sums over all attacks; the last test of the folder."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Outcomes

pytestmark = pytest.mark.attack

TARGETS = {
    *("image", "table", "predictions", "zip", "medmnist", "weights", "run", "bundle"),
    *("command", "small set", "kill"),
}


def test_over_a_thousand_inputs_have_no_silent_error_crash_or_hang(outcomes: "Outcomes") -> None:
    missing = TARGETS - {target for target, _ in outcomes.counts}
    if missing:
        pytest.skip(f"only a part of the attacks was run, without {', '.join(sorted(missing))}")

    assert outcomes.total.total() >= 1000
    assert outcomes.total["silent"] == outcomes.total["crash"] == outcomes.total["hang"] == 0
