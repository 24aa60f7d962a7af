"""A launcher and an engine that does as it likes: three commands and a folder of jobs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.launchers.launcher import LauncherSettings
from dama.launchers.placing import Placing
from dama.store import Start, Store
from dama.store.queue_rows import WorkerIdentity

SCRIPTS = {
    "submit": """cat > /dev/null
[ -e away ] || echo "id-$DAMA_JOB|$DAMA_JOB|pending|busy||" > "jobs/$DAMA_JOB"
echo "$DAMA_JOB" >> asked
[ ! -e away ] && echo "id-$DAMA_JOB\"""",
    "list": "echo >> looked; cat jobs/* 2> /dev/null || true",
    "cancel": 'for id; do rm -f "jobs/${id#id-}"; echo "$id" >> cancelled; done',
}


class Engine:
    """An engine of three scripts.

    Args:
        folder: Its jobs, and what it was asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "jobs").mkdir(parents=True)
        for name, script in SCRIPTS.items():
            (folder / name).write_text(f"cd {folder}\n{script}\n")

    def settings(self, **changed: float) -> LauncherSettings:
        """A launcher for it that looks often."""
        commands = {name: ("sh", str(self.folder / name)) for name in SCRIPTS}
        times = {"look": 0.02, "timeout": 30.0, **changed}
        return LauncherSettings("there", "command", files=self.folder, **times, **commands)

    def lines(self, name: str) -> list[str]:
        """The lines of a file."""
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    def set(self, name: str, *, to: bool = True) -> None:
        """Let it behave in a way, or no longer."""
        (self.folder / name).touch() if to else (self.folder / name).unlink()

    def end(self, state: str, **words: str) -> None:
        """All its jobs end in a way."""
        for job in (self.folder / "jobs").iterdir():
            fields = {"reason": "", "node": "", "exit": "0", **words}
            job.write_text("|".join([f"id-{job.name}", job.name, state, *fields.values()]) + "\n")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine that takes jobs and begins none."""
    return Engine(tmp_path / "engine")


@pytest.fixture
def registry() -> Registry:
    """One task that asks for the launcher."""
    work = Service("work")

    @work.task(launcher="there")
    async def fit(task: Task) -> None:
        """Nothing: it is placed only."""

    return Registry([work])


async def worker_of(store: Store) -> int:
    identity = WorkerIdentity("host", "boot", 1, "0", "0")
    return await store.queue.register(
        identity, queues=["default"], root=None, slots=9, lease=timedelta(hours=1), tasks=()
    )


@asynccontextmanager
async def placing(
    store: Store, registry: Registry, settings: LauncherSettings
) -> AsyncIterator[Placing]:
    """A worker that looks after the launcher."""
    worker = await worker_of(store)
    placing = Placing(store, registry, settings, lambda: worker, ["default"], [])
    task = asyncio.create_task(placing.always())
    try:
        yield placing
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool], *placings: Placing) -> None:
    """Let them take turns until something is true."""
    async with asyncio.timeout(60):
        while not condition():
            for each in placings:
                each.wake()
            await asyncio.sleep(0.01)


async def started(store: Store, count: int) -> list[int]:
    """So many runs that ask for the launcher."""
    return await store.start([Start("work.fit", {}, labels=["launcher:there"])] * count)


def runs(url: str) -> list[str]:
    """The states of the runs."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT state FROM _data_manager_admin.run_queue ORDER BY 1")
        return [state for (state,) in found]


def is_placed(url: str) -> bool:
    """Whether a run is placed; what is due is queued, as any worker does it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT _data_manager_admin.uphold(9)")
    return "placed" in runs(url)


async def test_an_engine_that_is_away_is_asked_once_and_given_no_more(
    engine, store, registry, database_url
):
    """The rest stays queued, where any other launcher may take it."""
    engine.set("away")
    await started(store, 3)

    async with placing(store, registry, engine.settings()) as it:
        await until(lambda: len(engine.lines("looked")) >= 5, it)

    assert len(engine.lines("asked")) == 1
    assert runs(database_url) == ["placed", "queued", "queued"]


async def test_it_is_asked_again_under_the_same_name(engine, store, registry, database_url):
    """As soon as the engine has had time to show what it was asked for, and does not."""
    engine.set("away")
    await started(store, 2)

    async with placing(store, registry, engine.settings(timeout=0.5)) as it:
        await until(lambda: len(engine.lines("asked")) == 1, it)
        engine.set("away", to=False)
        await until(lambda: len(engine.lines("asked")) == 3, it)

    first, again, other = engine.lines("asked")
    assert first in {again, other}
    assert again != other
    assert runs(database_url) == ["placed", "placed"]


async def test_a_run_whose_job_was_lost_waits_longer_each_time(
    engine, store, registry, database_url
):
    """Three in a row are an error; a node that loses all jobs at once has no use of three."""
    (context,) = await started(store, 1)

    async with placing(store, registry, engine.settings(look=0.1)) as it:
        for losses in (1, 2, 3):
            await until(
                lambda losses=losses: (
                    is_placed(database_url) and len(engine.lines("asked")) == losses
                ),
                it,
            )
            engine.end("lost", reason="NODE_FAIL", node="n1")
        await until(lambda: not runs(database_url), it)

    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT split_part(type, ':', 2), extract(epoch FROM created_at)::float "
            "FROM _data_manager_admin.event_store_prototype "
            "WHERE etl_context_id = %s ORDER BY version",
            [context],
        ).fetchall()
    kinds = [kind for kind, _ in found]
    assert kinds == ["INITIAL", *["PLACED", "UNPLACED"] * 2, "PLACED", "ERROR"]
    first, second = found[3][1] - found[2][1], found[5][1] - found[4][1]
    assert (first >= 0.3, second >= 0.9) == (True, True)
