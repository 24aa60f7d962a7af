"""What runs while PostgreSQL goes away: in the loop, in a thread, in a process, as a program."""

import os
import sys
from pathlib import Path

from dama import Service, SyncTask, Task

# What decides how long an outage is a short one, with the values for outages of about two seconds.
SHORTENED = {
    "dama.store.database.PATIENCE": 1.0,
    "dama.store.database.CONNECTION_SECONDS": 0.5,
    "dama.store.database.LONGEST_PAUSE": 0.2,
    "dama.run.patience.LONGEST_PAUSE": 0.5,
    "dama.run.group_commit.LONGEST_PAUSE": 0.5,
    "dama.worker.performance.FIRST_PAUSE": 0.1,
    "dama.worker.performance.LONGEST_PAUSE": 1.0,
    "dama.worker.claiming.RECONCILE_SECONDS": 1.0,
    "dama.worker.lease.RENEW_SECONDS": 0.2,
    "dama.duty.LONGEST_PAUSE": 0.5,
    "dama.store.hints.RECONNECT_SECONDS": 0.2,
}
IS_SHORTENED = "OUTAGES_ARE_SHORTENED"  # in the environment, for processes that only import this

if IS_SHORTENED in os.environ:
    for name, value in SHORTENED.items():
        module, _, constant = name.rpartition(".")
        __import__(module)
        setattr(sys.modules[module], constant, value)

jobs = Service("outages")


def note(folder: Path, name: str) -> int:
    """Write down that it was done; no outage takes that back."""
    with (folder / name).open("a") as file:
        file.write("x")
    return 7


def stored(connection, folder: Path) -> None:
    """A row, in the transaction of its step."""
    connection.execute("INSERT INTO rows_of_steps VALUES (%s)", [folder.name])


@jobs.task
async def small(task: Task) -> int:
    """A subtask."""
    return 42


@jobs.task(retries=1, backoff=0.01)
async def loop(task: Task, folder: Path) -> list[int]:
    """All that a run may ask of the database."""
    first = await task.step("first", note, folder, "first")
    child = await task.run(small)
    await task.step("row", stored, folder, transactional=True)
    await task.wait_for("go")
    if task.attempt == 1:
        raise OSError("once")
    await task.step("last", note, folder, "last")
    return [first, child]


def blocking(task: SyncTask, folder: Path) -> list[int]:
    """The same."""
    first = task.step("first", note, folder, "first")
    child = task.run(small)
    task.step("row", stored, folder, transactional=True)
    task.wait_for("go")
    if task.attempt == 1:
        raise OSError("once")
    task.step("last", note, folder, "last")
    return [first, child]


@jobs.task(retries=1, backoff=0.01)
def thread(task: SyncTask, folder: Path) -> list[int]:
    """In a thread."""
    return blocking(task, folder)


@jobs.task(isolation="process", retries=1, backoff=0.01)
def process(task: SyncTask, folder: Path) -> list[int]:
    """In a process of its own."""
    return blocking(task, folder)


PROGRAM = """
printf x >> "$1/first"
for n in 1 2 3; do echo "{\\"type\\": \\"tick\\", \\"payload\\": $n}" >> "$DAMA_EVENTS"; done
until test -e "$1/go"; do sleep 0.05; done
test -e "$1/failed" || { touch "$1/failed"; exit 1; }
echo '[7, 42]' > "$DAMA_RESULT"
"""

program = jobs.program(
    "program",
    command=["sh", "-c", PROGRAM, "sh", "{folder}"],
    params={"folder": {}},
    retries=1,
    backoff=0.01,
)
