"""The start of the command line: `dama --help` against `python -c pass`.

Both are started in turns, as a shell would, and the medians compared. Target: the first page is
there within half a second. `python -m benchmarks.cli_start [--rounds N]`.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import MISSED

TARGET_SECONDS = 0.5
DAMA = str(Path(sys.executable).with_name("dama"))
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "dama --help": (DAMA, "--help"),
    "dama ls --help": (DAMA, "ls", "--help"),
}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 0 when the target is met."""
    parser = argparse.ArgumentParser(prog="benchmarks.cli_start", description="start of dama")
    parser.add_argument("--rounds", type=int, default=15, help="how often each is started")
    rounds = parser.parse_args(argv).rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for name in [*COMMANDS, *list(COMMANDS) * rounds]:  # the first of each warms the caches
        times[name].append(_seconds(COMMANDS[name]))
    medians = {name: statistics.median(seconds[1:]) for name, seconds in times.items()}
    bare = medians["python -c pass"]
    for name, median in medians.items():
        print(f"{name:16}{median * 1000:6.0f} ms  {median / bare:5.1f} x python")
    print(f"{'target':16}{TARGET_SECONDS * 1000:6.0f} ms  for dama --help")
    return 0 if medians["dama --help"] <= TARGET_SECONDS else MISSED


def _seconds(command: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
