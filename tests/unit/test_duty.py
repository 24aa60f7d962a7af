"""Duties: started again when they fail, and the end of their process when they continue failing."""

import asyncio

import pytest

from dama import duty as module
from dama.duty import Duty, DutyError, on_duty
from dama.errors import UnavailableError


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.0)


class Failing:
    """Work that fails some times before it does its part."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.reached = asyncio.Event()

    async def work(self):
        if self.errors:
            raise self.errors.pop(0)
        self.reached.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "error",
    [ValueError("broken"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_a_duty_that_dies_is_started_again(error):
    """Whatever it dies of: nobody else would do its part, and nobody would miss it."""
    failing = Failing(error)
    changes = []
    duty = Duty("counting", failing.work, lambda duty: changes.append(duty.trouble))
    async with on_duty(duty), asyncio.timeout(60):
        await failing.reached.wait()
        duty.well()
    assert type(error).__name__ in changes[0]
    assert changes[1] is None


async def test_an_outage_is_waited_for_however_long_it_lasts():
    failing = Failing(*(UnavailableError("away") for _ in range(module.MOST_FAILURES * 3)))
    async with on_duty(Duty("counting", failing.work)), asyncio.timeout(60):
        await failing.reached.wait()


async def test_what_goes_on_failing_ends_the_block_with_the_reason():
    """The process ends, so that its supervisor can act."""
    failing = Failing(*(ValueError("broken") for _ in range(module.MOST_FAILURES)))
    with pytest.raises(DutyError, match=r"counting failed 10 times in a row.*ValueError: broken"):
        async with on_duty(Duty("counting", failing.work)), asyncio.timeout(60):
            await asyncio.Event().wait()


async def test_what_fails_now_and_then_is_no_reason_to_end():
    duty = None

    async def work():
        duty.well()
        raise ValueError("now and then")

    duty = Duty("counting", work)
    async with on_duty(duty):
        for _ in range(module.MOST_FAILURES * 5):
            await asyncio.sleep(0)


def test_the_end_of_a_loop_ends_the_duties_of_a_block_that_was_never_left():
    """As of a client that a program has connected and not closed."""
    kept = []

    async def leave():
        failing = Failing()
        kept.append(on_duty(Duty("counting", failing.work)))
        await kept[0].__aenter__()
        await failing.reached.wait()

    asyncio.run(leave())
