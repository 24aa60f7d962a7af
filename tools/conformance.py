"""Run the cases that each kind of launcher must pass, and print one table: kind by case.

What has no test of a kind is shown as `-`, what could not run here as `skip`.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from typing import Any

import pytest

KINDS = ("slurm", "kubernetes", "command")
CASES = {
    1: "events, result and exit code as local",
    2: "worker killed between PLACED and submit",
    3: "killed between submit and its record",
    4: "submit fails, the job appears later",
    5: "two workers place at once",
    6: "two jobs of one epoch",
    7: "engine restarted, a job ends meanwhile",
    8: "engine away",
    9: "node lost",
    10: "cancelled while pending",
    11: "cancelled while running",
    12: "log followed, and read afterwards",
    13: "137, memory and a killed payload apart",
    14: "time limit",
    15: "record expired",
    16: "a map, one fails, the limit holds",
    17: "no secret",
}
ORDER = ("FAIL", "ok", "skip", "-")  # of several tests of one case the first of these


class Table:
    """What was seen of each kind and case."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, str], set[str]] = defaultdict(set)
        self._cases: dict[str, tuple[tuple[int, ...], str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note whose cases the tests are."""
        for item in items:
            for mark in item.iter_markers("case"):
                params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
                self._cases[item.nodeid] = (mark.args, str(params.get("place", "kubernetes")))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how one went."""
        numbers, kind = self._cases.get(report.nodeid, ((), ""))
        if report.failed or report.skipped or report.when == "call":
            word = "FAIL" if report.failed else "skip" if report.skipped else "ok"
            for number in numbers:
                self.seen[number, kind].add(word)

    def lines(self) -> list[str]:
        """The table."""
        found = ["", f"{'case':44}{''.join(f'{kind:>12}' for kind in KINDS)}"]
        for number, what in CASES.items():
            words = (self.seen.get((number, kind), {"-"}) for kind in KINDS)
            cells = (min(each, key=ORDER.index) for each in words)
            found.append(f"{number:2} {what:41}{''.join(f'{cell:>12}' for cell in cells)}")
        return found


def main() -> int:
    """Run the suite; return its exit code."""
    table = Table()
    os.environ.setdefault("DAMA_TEST_PARTS", "100")
    code = pytest.main(["-q", "-m", "case", "tests/engines", *sys.argv[1:]], plugins=[table])
    print("\n".join(table.lines()))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
