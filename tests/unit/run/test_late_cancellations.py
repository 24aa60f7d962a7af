"""A replay concludes nothing while a cancellation is on its way: a timer may just have fired."""

import asyncio

import pytest

from dama.domain.journal import Entry
from dama.run.branch import Branches
from dama.run.errors import DivergedError
from dama.run.records import Asked
from dama.run.replay import Replay


class Fired(Branches):
    """Branches whose only timer fired in this turn: who waits for it is cancelled some turns later.

    As anyio does it, where the task is awake when its scope ends.
    """

    def __init__(self, turns):
        super().__init__()
        self.turns = turns
        self.task = asyncio.current_task()

    def pass_time(self):
        """Nothing is left to let pass."""
        task, self.task = self.task, None
        if task is not None:
            self._later(task, self.turns)
        return False

    def can_move(self):
        """Nobody asks for anything."""
        return False

    def _later(self, task, turns):
        loop = asyncio.get_running_loop()
        if turns:
            loop.call_soon(self._later, task, turns - 1)
        else:
            task.cancel()


@pytest.mark.parametrize("turns", [1, 3, 8])
async def test_who_is_about_to_be_cancelled_is_not_stuck(turns):
    async def waits():
        await Replay([], Fired(turns)).stuck()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(waits())


@pytest.mark.parametrize("turns", [1, 3, 8])
async def test_who_is_about_to_be_cancelled_has_not_diverged(turns):
    async def asks():
        branches = Fired(turns)
        replay = Replay([Entry("load", "DONE", 1, 1)], branches)
        await replay.turn("other", Asked("other", "step"))

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(asks())


async def test_what_is_stuck_is_found_all_the_same():
    """The check above would pass, too, if nothing were ever concluded."""
    branches = Fired(0)
    branches.task = None
    await Replay([], branches).stuck()
    replay = Replay([Entry("load", "DONE", 1, 1)], branches)
    with pytest.raises(DivergedError):
        await replay.turn("other", Asked("other", "step"))
