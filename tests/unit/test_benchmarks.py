"""`make bench`: all of it is measured, whatever one of them finds."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNNER = """
import sys
from benchmarks import __main__ as runner
runner.ALL = ("missing", "breaking", "good")
sys.exit(runner.main(sys.argv[1:]))
"""
BENCHMARKS = {
    "missing": 'print("0.3 (target: 0.5)"); import sys; sys.exit(3)',
    "breaking": "raise ValueError('no')",
    "good": 'print("0.7 (target: 0.5)")',
}


def run(tmp_path, *names):
    """With benchmarks of the test's own, in a copy of the runner's package."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name in ("__init__.py", "__main__.py"):
        (package / name).write_text((ROOT / "benchmarks" / name).read_text())
    for name, text in BENCHMARKS.items():
        (package / f"{name}.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-c", RUNNER, *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_missed_target_and_a_broken_benchmark_stop_none_of_the_others(tmp_path):
    """One table at the end says how each of them ended."""
    done = run(tmp_path)

    table = done.stdout.rpartition("benchmark ")[2]
    assert [line.split(maxsplit=2)[2] for line in table.splitlines() if "." in line[12:21]] == [
        "target missed",
        "broke, exit code 1",
        "done",
    ]
    assert "0.3 (target: 0.5)" in table
    assert done.returncode == 1


def test_good_ones_are_a_success_and_an_unknown_one_is_named(tmp_path):
    """Before anything is measured."""
    assert run(tmp_path, "good").returncode == 0
    (tmp_path / "other").mkdir()
    done = run(tmp_path / "other", "good", "typo")
    assert done.returncode == 2
    assert "typo" in done.stdout
    assert "==" not in done.stdout
