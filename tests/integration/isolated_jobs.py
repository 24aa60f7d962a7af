"""Tasks with a process of their own, as a project would have them: at the top level of a module."""

import asyncio
import math
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dama import Service, Task

jobs = Service("isolated")


@jobs.task(isolation="process")
def where(task) -> dict[str, object]:
    """Say which process it is."""
    print("printed by", task.name)  # noqa: T201 - it is what is shown
    is_main = threading.current_thread() is threading.main_thread()
    return {"pid": os.getpid(), "is_main": is_main, "context": os.environ["DAMA_CONTEXT_ID"]}


@jobs.task(isolation="process")
async def looping(task) -> int:
    """Await."""
    await asyncio.sleep(0)
    return os.getpid()


@jobs.task(isolation="process", retries=1, backoff=0.01)
def twice(task, folder: Path) -> list[int]:
    """Fail once, after a step."""

    def count() -> int:
        with (folder / "counted").open("a") as file:
            file.write("x")
        return 7

    number = task.step("count", count)
    if task.attempt == 1:
        raise OSError("the first time")
    return [number, task.attempt]


@jobs.task(isolation="process", retries=3, retry_on=OSError)
def wrong(task) -> None:
    """Fail with something that another attempt does not mend."""
    raise ValueError("it is wrong")


@jobs.task(isolation="process")
def square(task, number: int) -> int:
    """A small subtask."""
    return number * number


@jobs.task(isolation="process")
def squares(task, count: int) -> list[int]:
    """Wait for subtasks."""
    return task.map(square, [{"number": number} for number in range(count)])


@jobs.task(isolation="process")
def hinder(task, names: list[str]) -> int:
    """Put folders in the place of its own files, or remove them all; then wait for a subtask."""
    folder = Path(os.environ["DAMA_EVENTS"]).parent
    for name in names:
        (folder / name / "x").mkdir(parents=True)
    if not names:
        shutil.rmtree(folder)
    return task.run(square, {"number": 3})


@jobs.task(isolation="process", queue="narrow")
def nest(task, depth: int) -> int:
    """Wait below itself, in a queue that may have a place for one."""
    return 1 + (task.run(nest, {"depth": depth - 1}) if depth else 0)


@jobs.task(isolation="process")
def crash(task) -> None:
    """Die."""
    os.kill(os.getpid(), signal.SIGSEGV)


@jobs.task(isolation="process")
def leave(task) -> None:
    """End the process."""
    sys.exit(3)


@jobs.task(isolation="process", timeout=0.3)
def slow(task) -> None:
    """Take too long."""
    time.sleep(60)


@jobs.task(isolation="process")
def tidy(task, folder: Path) -> None:
    """Clean up when it is told to end."""
    try:
        (folder / "begun").touch()
        time.sleep(60)
    finally:
        (folder / "cleaned").touch()


@jobs.task(isolation="process")
async def tidy_loop(task, folder: Path) -> None:
    """Clean up when it is told to end, in a loop."""
    try:
        (folder / "begun").touch()
        await asyncio.sleep(60)
    finally:
        (folder / "cleaned").touch()


@jobs.task(isolation="process")
def patient(task, folder: Path) -> list[int]:
    """Do steps, each when it is let."""

    def part(number: int) -> int:
        while not (folder / f"go{number}").exists():
            time.sleep(0.01)
        return os.getpid()

    return [task.step(f"part{number}", part, number) for number in range(3)]


@jobs.task(isolation="process")
async def echo(task: Task, value: Any) -> Any:
    """Return what was given."""
    return value


@jobs.task(isolation="process")
async def not_a_number(task: Task) -> Any:
    """Return what JSON does not have."""
    return {"rows": [{"price": math.nan}]}


def dig(depth: int) -> int:
    """Recurse until it breaks."""
    return dig(depth + 1) + 1


@jobs.task(isolation="process")
def deep(task, limit: int) -> int:
    """Recurse as deep as the limit lets it."""
    sys.setrecursionlimit(limit)
    return dig(0)


@jobs.task(isolation="process")
async def deep_loop(task, limit: int) -> int:
    """The same in a loop."""
    sys.setrecursionlimit(limit)
    return dig(0)


@jobs.task(isolation="process")
async def cancels(task) -> None:
    """Cancel itself."""
    raise asyncio.CancelledError


@jobs.task(isolation="process")
def interrupts(task) -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


@jobs.task(isolation="process")
async def pools(task) -> list[int]:
    """Fork."""
    return await asyncio.to_thread(pool_of_two)


def pool_of_two() -> list[int]:
    """Two forks, ended with SIGTERM."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, 2])


@jobs.task(isolation="process")
def gated(task, gate: str) -> str:
    """Wait for a file."""
    print("waits")  # noqa: T201 - it is what is shown
    while not Path(gate).exists():
        time.sleep(0.01)
    return "passed"
