#!/usr/bin/env python3
"""Check each day of the weather. Needs Python and nothing else, not dama either.

Exit code 65: a day has too few hours, and another attempt would find the same.
"""

import argparse
import csv
import json
import os
import sys
from pathlib import Path


def main() -> int:
    """Check the days that no earlier attempt has checked; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--least-hours", type=int, default=5)
    options = parser.parse_args()
    days = hours_of_days(Path("data/weather.csv"))
    bad = sorted(day for day, hours in days.items() if hours < options.least_hours)
    for number, (day, hours) in enumerate(sorted(days.items()), 1):
        if day not in done_before():
            if day in bad:
                emit(":WARN", {"message": f"{day} has {hours} hours"})
            emit(f"/{day}:DONE", {"hours": hours})
        emit(":PROGRESS", {"done": number, "total": len(days), "unit": "days"})
    emit(":METRIC", {"name": "bad_days", "value": len(bad)})
    write("DAMA_ARTIFACTS", "days.json", dict(sorted(days.items())))
    write("DAMA_RESULT", "", {"days": len(days), "bad": bad})
    return 65 if bad else 0


def hours_of_days(file: Path) -> dict[str, int]:
    """Hours by airport and day, such as `EWR 2013-01-01`."""
    days: dict[str, int] = {}
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            day = f"{row['origin']} {row['time_hour'][:10]}"
            days[day] = days.get(day, 0) + 1
    return days


def done_before() -> list[str]:
    """The steps that the state has."""
    file = os.environ.get("DAMA_STATE")
    return json.loads(Path(file).read_text(encoding="utf-8")).get("steps", []) if file else []


def emit(type_: str, payload: object) -> None:
    """Append an event; on paper when nobody reads events."""
    line = json.dumps({"type": type_, "payload": payload})
    if file := os.environ.get("DAMA_EVENTS"):
        with Path(file).open("a", encoding="utf-8") as events:
            events.write(f"{line}\n")
    else:
        sys.stdout.write(f"{line}\n")


def write(variable: str, name: str, value: object) -> None:
    """Write JSON where a variable says, if it does."""
    if place := os.environ.get(variable):
        Path(place, name).write_text(json.dumps(value), encoding="utf-8")
        if name:
            emit(":ARTIFACT", {"path": name})


if __name__ == "__main__":
    sys.exit(main())
