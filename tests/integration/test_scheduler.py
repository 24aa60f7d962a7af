"""The scheduler: each firing is started once, whoever looks and however often."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from dama import Service, Task
from dama.app import App
from dama.definitions.errors import InvalidParamsError
from dama.definitions.registry import Registry
from dama.domain.schedule import Schedule
from dama.operations import schedules
from dama.store import Store
from dama.store.errors import ScheduleExistsError, UnknownScheduleError
from dama.worker.scheduler import Scheduler
from dama.worker.worker import Worker

jobs = Service("jobs")
registry = Registry([jobs])


@jobs.task
async def report(task: Task, day: str) -> str:
    """Give the day."""
    return day


@jobs.task(concurrency=2)
async def limited(task: Task) -> None:
    """Do nothing."""


def nightly(**changes):
    """A schedule that fires each hour, three of whose firings were missed."""
    settings = {
        "params": {"day": "{time:%dT%H}"},
        "overlap": "allow",
        "catch_up": "all",
    } | changes
    return Schedule("nightly", "jobs.report", "0 * * * *", **settings)


@pytest.fixture
async def missed(store):
    """Keep a schedule whose next firing was two hours before the last full hour."""

    async def keep(schedule):
        hour = (await store.now()).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        await store.schedules.add(schedule, hour - timedelta(hours=2))
        return [hour - timedelta(hours=back) for back in (2, 1, 0)]

    return keep


def scheduler(store):
    """A scheduler of its own."""
    return Scheduler(store, registry, lambda: None)


async def days(store):
    """What the contexts were started with, the oldest first."""
    contexts = reversed(await store.contexts())
    return [(await store.events(row.context_id))[0].payload["day"] for row in contexts]


async def done(store, count, status="DONE"):
    """Wait until so many contexts are."""
    async with asyncio.timeout(50):
        while len(await store.contexts(status=status)) < count:  # noqa: ASYNC110 - in a database
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("catch_up", "made_up_for"), [("one", 1), ("all", 3)])
async def test_two_schedulers_start_each_missed_firing_once(
    store, database_url, missed, catch_up, made_up_for
):
    """They look at the same moment, on connections of their own, again and again."""
    firings = await missed(nightly(catch_up=catch_up))
    async with Store.opened(database_url) as other:
        for _ in range(3):
            await asyncio.gather(*(scheduler(s).fire() for s in (store, other) * 4))

    expected = [f"{firing:%dT%H}" for firing in firings[-made_up_for:]]
    assert await days(store) == expected
    row = await store.schedules.get("nightly")
    assert (row.started, row.skipped) == (made_up_for, 3 - made_up_for)
    assert row.last_at == firings[-1]
    assert row.next_at == firings[-1] + timedelta(hours=1)


async def test_a_firing_is_skipped_while_an_earlier_run_is_open(store, missed):
    """And counted, so that one can see it."""
    await missed(nightly(overlap="skip"))

    await scheduler(store).fire()

    row = await store.schedules.get("nightly")
    assert (len(await days(store)), row.started, row.skipped) == (1, 1, 2)


async def test_a_firing_is_queued_behind_an_earlier_run(store, missed):
    """They run one after the other."""
    firings = await missed(nightly(overlap="queue"))
    await scheduler(store).fire()

    async with Worker(store, registry).working():
        await done(store, 3)

    assert await days(store) == [f"{firing:%dT%H}" for firing in firings]


async def test_a_worker_fires_what_is_due(store, missed):
    """Without being asked; the runs say which firing they are."""
    firings = await missed(nightly())

    async with Worker(store, registry).working():
        await done(store, 3)

    oldest = (await store.contexts())[-1]
    meta = (await store.events(oldest.context_id))[0].meta
    assert meta["schedule"] == "nightly"
    assert datetime.fromisoformat(meta["scheduled_for"]) == firings[0]


async def test_a_paused_schedule_fires_nothing(store, missed):
    """What passed meanwhile is not made up for when it continues."""
    await missed(nightly())
    await store.schedules.set("nightly", paused=True)
    assert await scheduler(store).fire() == []

    following = await schedules.resume(App(store, registry), "nightly")

    assert following > await store.now()
    assert await scheduler(store).fire() == []


async def test_a_schedule_that_can_not_start_is_paused_and_says_why(store, missed):
    """Its task takes other params than it has; nothing else is held up."""
    await missed(nightly(params={"dya": "x"}))

    assert await scheduler(store).fire() == []

    row = await store.schedules.get("nightly")
    assert row.paused
    assert "dya" in row.failure


async def test_an_error_that_nobody_foresaw_pauses_its_schedule_only(store, missed, monkeypatch):
    """The one behind it is fired in the same look."""
    await missed(nightly())
    hour = (await store.schedules.get("nightly")).next_at
    await store.schedules.add(replace(nightly(), name="broken"), hour - timedelta(hours=1))
    due = Schedule.due

    def broken(schedule, first, now):
        if schedule.name == "broken":
            raise ZeroDivisionError
        return due(schedule, first, now)

    monkeypatch.setattr(Schedule, "due", broken)

    assert len(await scheduler(store).fire()) == 3
    assert (await store.schedules.get("broken")).failure == "ZeroDivisionError"


PASSING = ["57014", "55P03", "53100", "42883", "XX000", "25P03"]


@pytest.mark.parametrize("sqlstate", PASSING)
async def test_what_passes_by_itself_pauses_no_schedule(store, database_url, missed, sqlstate):
    """It is fired at the next look that meets no such error; others are fired at once."""
    await missed(nightly())
    hour = (await store.schedules.get("nightly")).next_at
    await store.schedules.add(replace(nightly(), name="other"), hour)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END $$;"
            "CREATE TRIGGER failing BEFORE UPDATE ON _data_manager_admin.schedule"
            " FOR EACH ROW WHEN (OLD.name = 'nightly' AND OLD.next_at <> NEW.next_at)"
            " EXECUTE FUNCTION fail()"
        )
        first = await scheduler(store).fire()
        row = await store.schedules.get("nightly")
        assert (row.paused, row.failure) == (False, None)
        connection.execute("DROP TRIGGER failing ON _data_manager_admin.schedule")

    assert len(first) == 3
    assert len(await scheduler(store).fire()) == 3


async def test_a_schedule_that_is_gone_does_not_end_the_scheduler(store, missed):
    """Somebody removes it while it fails; the others continue."""
    await missed(nightly(params={"dya": "x"}))
    watched = scheduler(store)
    fire = watched._fire

    async def removed_meanwhile(row):
        await store.schedules.remove(row.schedule.name)
        return await fire(row)

    watched._fire = removed_meanwhile
    duty = asyncio.create_task(watched.fire_always())
    watched.look()
    async with asyncio.timeout(50):
        while await store.schedules.all():  # noqa: ASYNC110 - in a database
            await asyncio.sleep(0.01)
    watched._fire = fire
    await missed(replace(nightly(), name="other"))  # one of that name might be paused instead
    watched.look()

    await done(store, 3, status="OPEN")
    duty.cancel()


async def test_a_schedule_that_was_replaced_is_not_paused_for_the_fault_of_the_first(store, missed):
    """Somebody mends it while its firing fails."""
    await missed(nightly(params={"dya": "x"}))
    watched = scheduler(store)
    (row,) = await store.schedules.due(["jobs.report"])
    await store.schedules.remove(row.schedule.name)
    await store.schedules.fail(row, "gone")
    await missed(nightly())
    await store.schedules.fail(row, "wrong params")

    assert len(await watched.fire()) == 3


async def test_a_wrong_schedule_is_refused_when_it_is_added(store):
    """Wrong params, a name that is taken, a limit that cannot be added to the task's."""
    app = App(store, registry)
    with pytest.raises(InvalidParamsError):
        await schedules.add(app, nightly(params={}))
    with pytest.raises(Exception, match=r"jobs\.limited has a concurrency of its own"):
        await schedules.add(app, Schedule("other", "jobs.limited", "0 0 * * *"))
    first = await schedules.add(app, nightly())
    with pytest.raises(ScheduleExistsError):
        await schedules.add(app, nightly())

    assert timedelta() < first - await store.now() <= timedelta(hours=1)
    with pytest.raises(UnknownScheduleError):
        await store.schedules.get("other")


async def test_a_backfill_starts_what_has_no_run_and_can_be_repeated(store):
    """Over the spring gap in Berlin: 23 hours, and twice the same contexts."""
    app = App(store, registry)
    await schedules.add(app, nightly(zone="Europe/Berlin"))
    plan = (await store.schedules.get("nightly")).schedule
    begin = datetime.fromisoformat("2026-03-29T00:00+01:00")
    end = datetime.fromisoformat("2026-03-30T00:00+02:00")

    first = (await schedules.backfill(app, "nightly", begin, end)).contexts
    again = (await schedules.backfill(app, "nightly", begin, end)).contexts

    assert again == first
    assert plan.zone == "Europe/Berlin"
    assert await days(store) == [f"29T{hour:02}" for hour in range(24) if hour != 2]
