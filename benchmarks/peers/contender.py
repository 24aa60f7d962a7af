"""What all contenders have in common: how they are called and what they answer.

`python -m benchmarks.peers.NAME JOB COUNT URL` does one job once in an empty database and prints
the seconds it took as its last line. A contender's module must be able to run in the environment
of the peers, where dama is not installed.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Job = Callable[[str, int], Awaitable[float]]

STEPS = 10
IN_FLIGHT = 50


def main(jobs: Mapping[str, Job]) -> None:
    """Do the job that the command line names."""
    job, count, url = sys.argv[1:]
    print(asyncio.run(jobs[job](url, int(count))))


async def timed(work: Awaitable[Any]) -> float:
    """Seconds until it is done."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something has come about; looks so seldom that it costs nothing."""
    while not await done():  # noqa: ASYNC110 - it comes about in the database
        await asyncio.sleep(0.5)
