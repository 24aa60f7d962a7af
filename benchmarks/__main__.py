"""All benchmarks, or those that are named: `python -m benchmarks [append fold ...]`.

Each prints its ratio and the target. None asserts: a shared machine is no judge.
"""

import subprocess
import sys

ALL = (
    "append",
    "fold",
    "cli_start",
    "flights",
    "full_store",
    "worker",
    "programs",
    "calls",
    "http",
    "peers",
)


def main(names: list[str]) -> int:
    """Run them one after the other, each in a process of its own."""
    for name in names or ALL:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
