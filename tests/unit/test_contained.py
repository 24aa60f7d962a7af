"""Tasks of a loop that contains its user code."""

import asyncio
import gc
import warnings

import pytest

from dama.contained import ExitError, contain_tasks


async def nothing():
    """End at once."""


async def leave():
    """Try to end the process."""
    raise SystemExit(3)


async def test_a_task_that_is_cancelled_before_its_first_step_leaves_nothing_behind():
    """As the loop's own tasks: no coroutine that was never awaited is told of later."""
    contain_tasks(asyncio.get_running_loop())

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            asyncio.get_running_loop().create_task(nothing()).cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()

    assert not told


async def test_a_task_gives_what_its_coroutine_gives_and_stays_in_the_process():
    contain_tasks(asyncio.get_running_loop())

    assert await asyncio.get_running_loop().create_task(nothing()) is None
    with pytest.raises(ExitError, match=r"sys\.exit\(3\)"):
        await asyncio.get_running_loop().create_task(leave())
