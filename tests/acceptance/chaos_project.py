"""What `make chaos` runs: subtasks in a worker, subtasks in processes of their own, programs.

Each of them writes who performed it into a file of its own, which no transaction takes back.
"""

import os
import sys
from pathlib import Path

from dama import Service, SyncTask, Task

TICKS = 5
# Nothing that the chaos does is the task's own fault: it is tried until it is done.
STUBBORN = {"retries": 100_000, "backoff": 0.2, "max_backoff": 2.0}
ENVIRONMENT = {"LEDGER": os.environ.get("LEDGER", ".")}

chaos = Service("chaos")
ticks = chaos.program(
    "ticks",
    command=[sys.executable, "chaos_program.py", str(TICKS)],
    env=ENVIRONMENT,
    **STUBBORN,
)


def note(context_id: int, epoch: int) -> int:
    """Write down that a context is performed."""
    with Path(ENVIRONMENT["LEDGER"], str(context_id)).open("a") as ledger:
        ledger.write(f"{epoch}\n")
    return epoch


def stored(connection, context_id: int) -> int:
    """A row, in the transaction of its step."""
    connection.execute("INSERT INTO rows_of_steps VALUES (%s)", [context_id])
    return context_id


@chaos.task(crashes=1000, **STUBBORN)
async def loop(task: Task, number: int) -> int:
    """Two steps in the loop of the worker, one of them with a row."""
    await task.step("note", note, task.context_id, 0)
    await task.step("stored", stored, task.context_id, transactional=True)
    return number * number


@chaos.task(crashes=1000, **STUBBORN)
def thread(task: SyncTask, number: int) -> int:
    """The same in a thread."""
    task.step("note", note, task.context_id, 0)
    task.step("stored", stored, task.context_id, transactional=True)
    return number * number


@chaos.task(isolation="process", crashes=1000, **STUBBORN)
def apart(task: SyncTask, number: int) -> int:
    """The same in a process of its own."""
    task.step("note", note, task.context_id, 0)
    task.step("stored", stored, task.context_id, transactional=True)
    return number * number


@chaos.task(crashes=1000, **STUBBORN)
async def wave(task: Task, size: int) -> dict[str, int]:
    """Some of each kind; the sums are known."""
    numbers = [{"number": number} for number in range(1, size + 1)]
    return {
        "loop": sum(await task.map(loop, numbers)),
        "apart": sum(await task.map(apart, numbers[: size // 4])),
        "ticks": sum(end["ticks"] for end in await task.map(ticks, [{}] * (size // 4))),
        "thread": sum(await task.map(thread, numbers)),
    }


def result_of_wave(size: int) -> dict[str, int]:
    """What a wave must return."""
    squares = sum(number * number for number in range(1, size + 1))
    some = sum(number * number for number in range(1, size // 4 + 1))
    return {"loop": squares, "apart": some, "ticks": TICKS * (size // 4), "thread": squares}


def contexts_of_wave(size: int) -> int:
    """How many contexts it has, itself included."""
    return 1 + 2 * size + 2 * (size // 4)
