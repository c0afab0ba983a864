"""Outcomes of all attacks: counted, printed at the end, and saved with ``--outcomes FILE``."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

FAILURES = ("silent", "crash", "hang")


class Outcomes:
    """How many inputs of each target ended in which way."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, target: str, name: str, outcome: str) -> bool:
        """Count an outcome; return whether it must not occur."""
        self.counts[target, name][outcome] += 1
        return outcome in FAILURES

    @property
    def total(self) -> Counter[str]:
        """The outcomes of all inputs."""
        return sum(self.counts.values(), Counter())

    def table(self) -> str:
        """Return a line per target, and the sums."""
        lines = [
            f"{target:12} {name:24} {_text(counts)}"
            for (target, name), counts in self.counts.items()
        ]
        zeros = Counter(dict.fromkeys(FAILURES, 0))
        zeros.update(self.total)
        lines.append(f"{'all':12} {f'{self.total.total():,} inputs':24} {_text(zeros)}")
        return "\n".join(lines) + "\n"


def _text(counts: Counter[str]) -> str:
    return ", ".join(f"{outcome} {counts[outcome]}" for outcome in sorted(counts))


OUTCOMES = Outcomes()


@pytest.fixture(scope="session")
def outcomes() -> Iterator[Outcomes]:
    return OUTCOMES


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, help="file for the table of outcomes")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not OUTCOMES.counts:
        return
    terminalreporter.write_line(f"\n{OUTCOMES.table()}")
    path = config.getoption("--outcomes", default=None)
    if path is not None:
        path.write_text(OUTCOMES.table(), encoding="utf-8")
