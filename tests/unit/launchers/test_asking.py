"""Commands of an engine: what becomes of those that do not answer."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from dama.launchers.asking import ask
from dama.launchers.launcher import AwayError

HANGING = {
    "it waits": "sleep 1000 & echo $! > {file}.new; mv {file}.new {file}; wait",
    "it is told to end and does not": "trap '' TERM; echo $$ > {file}; while :; do sleep 0.1; done",
}


def is_running(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("script", HANGING.values(), ids=HANGING)
@pytest.mark.parametrize("how", ["in time", "by who asked"])
async def test_a_command_is_ended_with_all_that_it_started(
    tmp_path: Path, script: str, how: str
) -> None:
    """A command that hangs is asked for again at each look: what it leaves would add up."""
    file = tmp_path / "pid"
    command = ["sh", "-c", script.format(file=file)]
    asking = asyncio.create_task(ask(command, timeout=0.5 if how == "in time" else 60))
    await until(lambda: file.exists() and file.read_text())
    if how == "by who asked":
        asking.cancel()

    with pytest.raises(AwayError if how == "in time" else asyncio.CancelledError):
        await asking

    await until(lambda: not is_running(int(file.read_text())))


async def test_a_script_that_is_over_has_answered() -> None:
    """What it has left behind may hold its output open for longer than anybody waits."""
    script = "cat; echo no >&2; sleep 1000 & echo $!; exit 3"

    code, out, err = await ask(["sh", "-c", script], timeout=60, text="given\n")

    given, pid = out.split()
    os.kill(int(pid), signal.SIGKILL)
    assert (code, given, err) == (3, "given", "no\n")
