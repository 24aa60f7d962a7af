"""mypy, beside pyright of `make types`: users have either."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISTAKES = "tests/typing/mistakes.py"
EXAMPLES = [
    str(path.relative_to(ROOT))
    for path in sorted(ROOT.glob("examples/**/*.py"))
    if path.parent.name != "programs"  # a program that knows nothing of dama
]
OPTIONS = [
    "--config-file=", "--python-version=3.11", "--strict", "--no-warn-return-any",
    "--follow-imports=silent",
]  # fmt: skip


@pytest.mark.timeout(300)
def test_mypy_reports_each_mistake_and_nothing_in_the_examples(tmp_path):
    cache = f"--cache-dir={tmp_path}"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", cache, *OPTIONS, *EXAMPLES, MISTAKES],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = (ROOT / MISTAKES).read_text().splitlines()
    marked = {
        (MISTAKES, number) for number, line in enumerate(lines, 1) if "# pyright: ignore[" in line
    }
    reported = re.findall(r"^(\S+?):(\d+): error", done.stdout, re.MULTILINE)

    assert len(EXAMPLES) > 10
    assert {(path, int(line)) for path, line in reported} == marked, done.stdout + done.stderr
