"""One task for each row of the table of docs/concepts/tasks.md, which comes to a place and stays.

What happens at that place is the column: the run is parked there, its worker is killed, it is
cancelled, it times out, or it fails and is tried again.
"""

import asyncio
from pathlib import Path

from dama import Service, Slice, Task

contract = Service("contract")
position = Slice("test_contract_position", initial=0)


@position.on("moved")
def _(state: int, event: object) -> int:
    return state + 1


def note(folder: str, row: str) -> None:
    """Happen: it is seen whichever process it was in."""
    with (Path(folder) / row).open("a") as file:
        file.write("once\n")


def insert(connection, row: str) -> int:
    connection.execute("INSERT INTO public.contract VALUES (%s)", [row])
    return 1


@contract.task
async def gated(task: Task) -> str:
    """A subtask that ends when it is told to."""
    return str(await task.wait_for("go"))


@contract.task
async def clean(task: Task, row: str, column: str, folder: str) -> None:
    """Clean up after a task."""
    await task.transaction("clean", insert, "clean-up")


async def stay(task: Task, column: str) -> None:
    """Be at the place."""
    if column in {"parked", "killed", "cancelled"}:
        await task.wait_for("go")
    elif column == "timed out" and task.attempt == 1:
        await asyncio.sleep(3600)
    elif column == "failed" and task.attempt == 1:
        raise OSError("failed")


async def step(task: Task, column: str, folder: str) -> object:
    await task.step("note", note, folder, "a step")
    await stay(task, column)


async def transaction(task: Task, column: str, folder: str) -> object:
    await task.transaction("insert", insert, "a transaction")
    await stay(task, column)


async def event(task: Task, column: str, folder: str) -> object:
    await task.dispatch("moved")
    await stay(task, column)


async def read(task: Task, column: str, folder: str) -> object:
    found = [await task.state(position), str(await task.now()), await task.random()]
    first = await task.step("first", lambda: found)
    await task.dispatch("moved")
    await stay(task, column)
    return found == first


async def subtask(task: Task, column: str, folder: str) -> object:
    found = await task.run(gated)
    if column == "failed":
        await stay(task, column)
    return found


async def started(task: Task, column: str, folder: str) -> object:
    handle = await task.start(gated)
    await stay(task, column)
    return await handle.result()


async def wait(task: Task, column: str, folder: str) -> object:
    found = await task.wait_for("go")
    if column == "failed":
        await stay(task, column)
    return found


async def plain(task: Task, column: str, folder: str) -> object:
    note(folder, "plain code")
    await stay(task, column)


async def ending(task: Task, column: str, folder: str) -> object:
    """Does something by itself at its end, and something by its task."""
    try:
        await stay(task, column)
    finally:
        note(folder, "finally")
        await task.transaction("at the end", insert, "finally")


async def clean_up(task: Task, column: str, folder: str) -> object:
    await stay(task, column)


ROWS = {
    "a step": step,
    "a transaction": transaction,
    "an event": event,
    "a read": read,
    "an awaited subtask": subtask,
    "a started subtask": started,
    "a wait": wait,
    "plain code": plain,
    "finally": ending,
    "a clean-up": clean_up,
}
COLUMNS = ("parked", "killed", "cancelled", "timed out", "failed")


async def perform(task: Task, row: str, column: str, folder: str) -> object:
    """What a row of the table does, at the place of a column."""
    return await ROWS[row](task, column, folder)


lasting = contract.task(name="lasting", retries=1, backoff=0.01, on_failure=clean, on_cancel=clean)(
    perform
)
limited = contract.task(
    name="limited", retries=1, backoff=0.01, timeout=4, on_failure=clean, on_cancel=clean
)(perform)
