"""All benchmarks, or those that are named: `python -m benchmarks [append fold ...]`.

Each prints its ratio and the target. A missed target or a benchmark that breaks stops none of the
others; a table at the end has them all, and the exit code is 1. None asserts more than that: a
shared machine is no judge.
"""

import subprocess
import sys
import time

from benchmarks import MISSED

ALL = (
    "append",
    "fold",
    "cli_start",
    "flights",
    "history",
    "adopt",
    "full_store",
    "worker",
    "client",
    "programs",
    "placed",
    "calls",
    "http",
    "pages",
    "blocks",
    "peers",
)
OUTCOMES = {0: "done", MISSED: "target missed"}


def main(names: list[str]) -> int:
    """Run them one after the other, each in a process of its own."""
    if unknown := sorted(set(names) - set(ALL)):
        print(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(ALL)}.")
        return 2
    rows = [_run(name) for name in names or ALL]
    print(f"\n{'benchmark':12}{'seconds':>9}  outcome")
    for name, seconds, code, targets in rows:
        print(f"{name:12}{seconds:9.1f}  {OUTCOMES.get(code, f'broke, exit code {code}')}")
        for line in targets:
            print(f"{'':23}{line}")
    return int(any(code for _, _, code, _ in rows))


def _run(name: str) -> tuple[str, float, int, list[str]]:
    print(f"\n== {name}", flush=True)
    begun, targets = time.monotonic(), []
    command = [sys.executable, "-u", "-m", f"benchmarks.{name}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout  # noqa: S101 - PIPE makes it
        for line in process.stdout:
            print(line, end="", flush=True)
            if "target" in line:
                targets.append(" ".join(line.split()))
    return name, time.monotonic() - begun, process.returncode, targets


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
