"""A loop that is late is no reason to take another way in a replay."""

import asyncio
import time
from contextlib import suppress
from contextvars import copy_context

import anyio
import pytest

from dama.contained import contain_tasks
from dama.run import branch, replay
from dama.run.asking import asking
from dama.run.branch import Branches
from dama.run.replay import Replay

STALL = 0.6


class Looked(Branches):
    """Something happens while these are looked at for the nth time."""

    def __init__(self, look: int, happens) -> None:
        super().__init__()
        self.look = look
        self.happens = happens

    def can_move(self) -> bool:
        self.look -= 1
        if self.look == 0:
            self.happens()
        return super().can_move()


@pytest.fixture(autouse=True)
def _watched(monkeypatch):
    """The loop is held up for longer than what is set in motion takes at other times."""
    monkeypatch.setattr(branch, "LATEST_SECONDS", STALL / 10)


async def stuck(branches: Branches) -> str:
    try:
        with asking(), branches.at_rest():
            await Replay([], branches).stuck()
    except asyncio.CancelledError:
        return "cancelled"
    return "stuck"


@pytest.mark.parametrize("look", range(1, replay.LOOKS + 1))
async def test_a_timer_that_came_due_while_the_loop_was_held_up_is_waited_for(look):
    """What it ends would continue otherwise, with the end of a subtask that nobody awaits."""
    contain_tasks(asyncio.get_running_loop())
    branches, body = Looked(look, lambda: time.sleep(STALL)), asyncio.current_task()

    with branches.body(is_threaded=False):
        timer = asyncio.get_running_loop().call_later(STALL / 2, body.cancel)
        found = await stuck(branches)

    timer.cancel()
    assert (found, body.uncancel()) == ("cancelled", 0)


async def test_what_a_timer_has_set_in_motion_is_waited_for():
    """The loop may be held up between a timer and what is woken by it."""
    loop, body = asyncio.get_running_loop(), asyncio.current_task()
    contain_tasks(loop)
    branches = Branches()

    def come() -> None:
        loop.call_soon(loop.call_soon, body.cancel)  # some turns later
        time.sleep(STALL)

    with branches.body(is_threaded=False):
        loop.call_later(replay.PAUSE / 2, come)
        found = await stuck(branches)

    assert (found, body.uncancel()) == ("cancelled", 0)


async def test_a_scope_whose_time_comes_as_the_last_look_begins_is_waited_for():
    """anyio forgets its timer then, and cancels whom it finds awake only a turn later."""
    loop, outside = asyncio.get_running_loop(), None
    contain_tasks(loop)

    def come_together() -> None:  # the next look, and right after it the time of the scope
        now = loop.time()
        loop.call_at(now + replay.PAUSE / 2, time.sleep, STALL)
        outside.run(setattr, scope, "deadline", now + replay.PAUSE * 3)

    branches = Looked(replay.LOOKS - 1, come_together)
    with branches.body(is_threaded=False), anyio.CancelScope() as scope:
        outside = copy_context()
        with asking(), branches.at_rest():
            await Replay([], branches).stuck()

    assert scope.cancelled_caught


async def test_nothing_is_waited_for_when_no_timer_is_set():
    contain_tasks(asyncio.get_running_loop())
    branches = Branches()

    with branches.body(is_threaded=False):
        assert await stuck(branches) == "stuck"


async def test_a_timer_that_has_come_is_forgotten_at_once():
    """One that lived on would have the end of a subtask recorded as if something ran beside it."""
    contain_tasks(asyncio.get_running_loop())
    branches = Branches()

    with branches.body(is_threaded=False):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        await asyncio.sleep(0)
        assert branches.are_alone
