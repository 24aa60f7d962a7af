"""One outage of PostgreSQL, at each moment of a run, in each mode: it ends once, as if nothing was.

The moment is a message on the wire: it is lost on its way to the server, or the server does what it
says and its answer is lost; and from then on nobody answers for a while. Here that while and all
that measures it are a twentieth of what they are elsewhere; `make outages` takes 35, 70 and 120 s.

When the wire of one worker is cut and that of another is not, the other takes the run over.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager
from itertools import cycle
from typing import TYPE_CHECKING

import psycopg
import pytest

from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.run.starts import start_of
from dama.store import Store
from dama.worker.membership import LEASE
from dama.worker.worker import Worker
from tests.acceptance.wire import Wire
from tests.conftest import fresh_database
from tests.integration import outage_jobs as jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = [float(seconds) for seconds in os.environ.get("OUTAGES", "").split()]
SECONDS = LONG or [1.8]  # longer than a connection and a statement are waited for
PATIENCE = 60.0
# What is in the message of a moment. The run is parked in the wait for its signal.
OF_ALL = {
    "claim": b"claim_runs",
    "begin": b":STARTED",
    "retry": b"THEN 'retrying' ELSE 'queued'",
    "retrying": b":RETRYING",
    "settle": b":FINAL",
}
OF_PYTHON = {
    "step": b"/first:DONE",
    "spawn": b":SPAWNED",
    "row": b"INSERT INTO rows_of_steps",
    "commit": b"COMMIT\0",
    "park": b"park_run",
    "step after replay": b"/last:DONE",
}
OF_PROCESSES = {"bind": b"SET host = coalesce(w.place"}
OF_PROGRAMS = {"ship": b'"tick"'}
MOMENTS = {
    jobs.loop: OF_ALL | OF_PYTHON,
    jobs.thread: OF_ALL | OF_PYTHON,
    jobs.process: OF_ALL | OF_PYTHON | OF_PROCESSES,
    jobs.program: OF_ALL | OF_PROCESSES | OF_PROGRAMS,
}
EVENTS = """
SELECT type, meta ->> 'idempotency_key', payload FROM _data_manager_admin.event_store_prototype
 WHERE etl_context_id = %s ORDER BY version
"""
CHILDREN = "SELECT count(*) FROM _data_manager_admin.etl_context WHERE parent_id = %s"
LEFT = "SELECT count(*) FROM _data_manager_admin.run_queue WHERE root_context_id = %s"


class Cell:
    """A run, its worker, and the wire between that and the server.

    Args:
        folder: Of its own.
        url: Of a database of its own: others would declare its worker dead.
        task: What runs.
        moment: When the outage begins; `waiting` is while it waits for its signal.
        what: What becomes of the message.
        others: How many more workers there are: they feel the outage as well, or none of it.
    """

    def __init__(
        self, folder: Path, url: str, task, moment: str, what: str, *, others: str = "none"
    ) -> None:
        self.folder = folder
        self.url = url
        self.task = task
        self.moment = moment
        self.what = what
        self.others = others
        folder.mkdir()
        self.wire = Wire(folder / "wire", url)

    async def check(self, seconds: float) -> None:
        """Run it with an outage, and see that it ends as without."""
        try:
            context = await self._run(seconds)
        finally:
            await asyncio.to_thread(self.wire.close)
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            await self._check(connection, context)

    async def _run(self, seconds: float) -> int:
        async with AsyncExitStack() as stack:
            near = await stack.enter_async_context(Store.opened(self.url))
            store = await stack.enter_async_context(Store.opened(self.wire.url))
            for _ in range(2 if self.others == "with it" else 1):
                await self._work(stack, store)
            if not LONG:  # from now on: a busy machine may take longer to begin
                store.database._patience = jobs.SHORTENED["dama.store.database.PATIENCE"]
                store.database._pool.timeout = store.database._patience / 2
            context = await self._start(near)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(self._outage(near, context, seconds))
            if self.others == "without it":
                group.create_task(self._take_over(stack, near))
            await self._let_go_on(near, context)
            await until(lambda: self._has_ended(near, context), "the end")

        return context

    async def _start(self, near: Store) -> int:
        if (word := MOMENTS[self.task].get(self.moment)) is not None:
            self.wire.cut(word, self.what, stays_away=True)
        (context,) = await near.start([start_of(self.task, {"folder": str(self.folder)})])
        return context

    async def _take_over(self, stack: AsyncExitStack, near: Store) -> None:
        await until(lambda: self.wire.is_away, "the moment")
        await self._work(stack, near)

    async def _work(self, stack: AsyncExitStack, store: Store) -> None:
        worker = Worker(store, Registry([jobs.jobs]), park_after=0)
        await stack.enter_async_context(worker.working())

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.task.name}, {self.moment}, {self.what} lost"

    async def _outage(self, near: Store, context: int, seconds: float) -> None:
        if self.moment == "waiting":
            await until(lambda: self._waits(near, context), "the wait")
            self.wire.leave()
        else:
            await until(lambda: self.wire.cuts, "the moment")
        await asyncio.sleep(seconds)
        self.wire.come_back()

    async def _let_go_on(self, near: Store, context: int) -> None:
        """The signal comes when the run waits for it, in the middle of the outage if it is then."""
        if self.task is jobs.program:
            await until((self.folder / "first").exists, "the program")
            (self.folder / "go").touch()
            return
        await until(lambda: self._waits(near, context), "the wait")
        if self.moment == "waiting":
            await until(lambda: self.wire.is_away, "the outage")
        await near.append(context, [Event("go")])

    async def _waits(self, near: Store, context: int) -> bool:
        found = await near.context(context)
        kinds = [event.type.rpartition(":")[2] for event in await near.events(context)]
        return found.run is not None and found.run.state == "waiting" and "WAITING" in kinds

    async def _has_ended(self, near: Store, context: int) -> bool:
        return (await near.context(context)).status != "OPEN"

    async def _check(self, connection, context: int) -> None:
        async def rows(query: str, *values: object) -> list[tuple]:
            return await (await connection.execute(query, values)).fetchall()

        events = await rows(EVENTS, context)
        kinds = [type_.removeprefix(self.task.name) for type_, _, _ in events]
        told = " ".join(kinds)
        assert events[-1][0] == f"{self.task.name}:FINAL", told
        assert events[-1][2] == [7, 42], told
        assert [kinds.count(kind) for kind in (":INITIAL", ":RETRYING", ":FINAL", ":ERROR")] == [
            1, 1, 1, 0
        ], told  # fmt: skip
        assert await rows(LEFT, context) == [(0,)], told
        keys = [key for _, key, _ in events if key]
        assert len(set(keys)) == len(keys), told
        if self.task is jobs.program:
            assert (self.folder / "first").read_text() == "xx", told  # one of each attempt
            assert [payload for type_, _, payload in events if type_ == "tick"] == [1, 2, 3] * 2
            return
        done = [kinds.count(f"/{name}:DONE") for name in ("first", "row", "last")]
        assert done == [1, 1, 1], told
        if self.others != "without it":  # what was not recorded is done again by another
            assert (self.folder / "first").read_text() == "x", told
            assert (self.folder / "last").read_text() == "x", told
        assert await rows(CHILDREN, context) == [(1,)], told
        stored = "SELECT count(*) FROM rows_of_steps WHERE name = %s"
        assert await rows(stored, self.folder.name) == [(1,)], told


async def until(condition, what: str) -> None:
    """Ask until it is so, longer than any outage."""
    deadline = time.monotonic() + PATIENCE + 3 * max(SECONDS)
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, f"{what} never came"
        await asyncio.sleep(0.05)


@pytest.fixture
def limits(monkeypatch) -> None:
    """What an outage is compared with is as much shorter as the outage."""
    if not LONG:
        monkeypatch.setenv(jobs.IS_SHORTENED, "yes")
        for name, value in jobs.SHORTENED.items():
            if not name.startswith("dama.store.database"):  # those of the workers' stores alone
                monkeypatch.setattr(name, value)


@pytest.fixture
def databases(server, template) -> Iterator[Iterator[str]]:
    """As many as are asked for, each with a table of rows."""
    with ExitStack() as stack:

        def made() -> Iterator[str]:
            while True:
                url = stack.enter_context(contextmanager(fresh_database)(server, template))
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("CREATE TABLE rows_of_steps (name text)")
                yield url

        yield made()


def cells() -> list[object]:
    """The table: both fates of each message in a long run, one or the other in a short one."""
    fates = ("request", "answer") if LONG else ("in turn",)
    return [
        pytest.param(task, seconds, fate, id=f"{task.name}-{seconds:g}-{fate}")
        for seconds in SECONDS
        for task in MOMENTS
        for fate in fates
    ]


def moments_of(task) -> list[str]:
    """Those of a mode; a short run has what is the worker's alone in one or two modes."""
    moments = [*MOMENTS[task], *([] if task is jobs.program else ["waiting"])]
    if task in {jobs.thread, jobs.process} and not LONG:
        return [moment for moment in moments if moment not in OF_ALL]
    return moments


async def check_all(table: list[Cell], seconds: float) -> None:
    """All cells at once."""
    ends = await asyncio.gather(*(cell.check(seconds) for cell in table), return_exceptions=True)
    faults = [
        f"{cell.name}: {end!r}" for cell, end in zip(table, ends, strict=True) if end is not None
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.timeout(120 + 6 * max(SECONDS))
@pytest.mark.parametrize(("task", "seconds", "fate"), cells())
async def test_an_outage_at_any_moment_is_survived(
    databases, tmp_path, limits, task, seconds, fate
):
    """The moments of one mode at once; in a long run with two workers, whose leases have lapsed."""
    fates = cycle(["request", "answer"] if fate == "in turn" else [fate])
    others = "with it" if LONG else "none"
    table = [
        Cell(tmp_path / str(n), next(databases), task, moment, next(fates), others=others)
        for n, moment in enumerate(moments_of(task))
    ]
    await check_all(table, seconds)


# Of a worker that nobody hears for so long another one takes the runs: longer than its lease.
SILENCE = 2 * LEASE.total_seconds()
TAKEN_OVER = [
    (jobs.loop, "retrying", "request"),
    (jobs.process, "bind", "answer"),
    (jobs.process, "retry", "request"),
    (jobs.program, "claim", "answer"),
    (jobs.program, "begin", "request"),
    (jobs.program, "retry", "request"),
]


@pytest.mark.timeout(180)
async def test_a_run_of_a_worker_that_nobody_hears_is_taken_over(databases, tmp_path, limits):
    """No failure is counted twice, and none that was none: each run may fail once."""
    table = [
        Cell(tmp_path / str(n), next(databases), *each, others="without it")
        for n, each in enumerate(TAKEN_OVER)
    ]
    await check_all(table, SILENCE)
