"""A launcher and an engine that does as it likes: three commands and a folder of jobs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.launchers.launcher import LauncherSettings
from dama.launchers.placing import Placing
from dama.store import Start, Store
from dama.store.placements import Demand
from dama.store.queue_rows import WorkerIdentity

SCRIPTS = {
    "submit": """cat > /dev/null
[ -e away ] || echo "id-$DAMA_JOB|$DAMA_JOB|pending|busy||" > "jobs/$DAMA_JOB"
echo "$DAMA_JOB" >> asked
echo "$DAMA_JOB_MEMORY_MB" >> memory
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
    """Tasks that ask for the launcher."""
    work = Service("work")

    @work.task(launcher="there")
    async def fit(task: Task) -> None:
        """Nothing: it is placed only."""

    @work.task(launcher="there", resources={"memory": "10MiB", "retry_memory": 2})
    async def grows(task: Task) -> None:
        """It has too little memory."""

    @work.task(launcher="there", resources={"pending_timeout": "200ms"})
    async def hurried(task: Task) -> None:
        """It waits for its place."""

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


async def started(store: Store, count: int, task: str = "fit") -> list[int]:
    """So many runs that ask for the launcher."""
    return await store.start([Start(f"work.{task}", {}, labels=["launcher:there"])] * count)


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


def events(url: str, context: int) -> list[tuple[str, float, Any]]:
    """The kind of each event of a context, its second, and its payload."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT split_part(type, ':', 2), extract(epoch FROM created_at)::float, payload "
            "FROM _data_manager_admin.event_store_prototype "
            "WHERE etl_context_id = %s ORDER BY version",
            [context],
        ).fetchall()


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

    found = events(database_url, context)
    kinds = [kind for kind, _, _ in found]
    assert kinds == ["INITIAL", *["PLACED", "UNPLACED"] * 2, "PLACED", "ERROR"]
    first, second = found[3][1] - found[2][1], found[5][1] - found[4][1]
    assert (first >= 0.3, second >= 0.9) == (True, True)


async def test_what_had_too_little_memory_gets_twice_as_much(engine, store, registry, database_url):
    """As often as its task says."""
    (context,) = await started(store, 1, "grows")

    async with placing(store, registry, engine.settings()) as it:
        for asked in (1, 2, 3):
            await until(
                lambda asked=asked: is_placed(database_url) and len(engine.lines("asked")) == asked,
                it,
            )
            engine.end("memory", reason="OUT_OF_MEMORY", node="n1")
        await until(lambda: not runs(database_url), it)

    found = events(database_url, context)
    assert engine.lines("memory") == ["10", "20", "40"]
    assert [payload["resources"]["memory"] >> 20 for _, _, payload in found[1:6:2]] == [10, 20, 40]
    assert [(kind, payload["code"]) for kind, _, payload in found[2:7:2]] == [
        ("UNPLACED", "OUT_OF_MEMORY"),
        ("UNPLACED", "OUT_OF_MEMORY"),
        ("ERROR", "OUT_OF_MEMORY"),
    ]


async def test_what_gets_more_memory_is_no_part_of_an_array_with_the_rest(
    store, registry, database_url
):
    """An array asks for the same for each of its runs."""
    worker, name = await worker_of(store), "work.grows"
    needs = {name: registry.task(name).options.resources.given()}
    demand = Demand(["default"], needs, ["launcher:there"], 9, "p", grouped=True)
    contexts = await started(store, 2, "grows")
    first = await store.placements.place("there", worker, demand)
    (placement, _) = await store.placements.list("there", timedelta(hours=1))
    now = timedelta()
    facts = {"message": "too little", "code": "OUT_OF_MEMORY"}
    assert await store.placements.unplace(
        placement, facts, failed=False, losses=9, quiet=now, lease=now, pause=now
    )
    contexts += await started(store, 1, "grows")
    assert is_placed(database_url)  # and the first one is queued again

    then = await store.placements.place("there", worker, demand)

    assert [(each.context_id, each.element) for each in first] == [
        (contexts[0], 0),
        (contexts[1], 1),
    ]
    assert [each.context_id for each in then] == [contexts[0], contexts[2]]
    assert len({each.name for each in then}) == 2


async def test_a_run_that_came_back_is_placed_again_when_the_end_of_its_job_is_known(
    store, registry, database_url
):
    """Its job may have been cancelled there. Meanwhile nobody holds it, and it is as it was."""
    worker, name = await worker_of(store), "work.fit"
    needs = {name: registry.task(name).options.resources.given()}
    demand = Demand(["default"], needs, ["launcher:there"], 9, "p", grouped=True)
    await started(store, 1)
    await store.placements.place("there", worker, demand)
    look = "SELECT state, epoch, attempt, worker_id FROM _data_manager_admin.run_queue"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE _data_manager_admin.run_queue SET state = 'queued'")
        before = connection.execute(look).fetchone()

        for _ in range(2):
            assert await store.placements.place("there", worker, demand) == []

        assert connection.execute(look).fetchone() == before
    (placement,) = await store.placements.list("there", timedelta(hours=1))
    assert (placement.run, placement.epoch) == ("queued", 1)
    await store.placements.forget([placement])
    assert [each.epoch for each in await store.placements.place("there", worker, demand)] == [2]


async def test_a_run_whose_context_is_locked_is_placed_later_and_expires_as_before(
    store, registry, database_url
):
    worker, name = await worker_of(store), "work.fit"
    needs = {name: registry.task(name).options.resources.given()}
    demand = Demand(["default"], needs, ["launcher:there"], 9, "p", grouped=True)
    await store.start([Start(name, {}, labels=["launcher:there"], expires=3600)])
    look = "SELECT state, epoch, attempt FROM _data_manager_admin.run_queue"
    left = "SELECT expires_at - now() > '59 minutes' FROM _data_manager_admin.run_queue"
    with psycopg.connect(database_url) as stranger:
        stranger.execute("SELECT FROM _data_manager_admin.etl_context FOR UPDATE")
        assert await store.placements.place("there", worker, demand) == []
        assert stranger.execute(look).fetchone() == ("queued", 0, 0)
        assert stranger.execute(left).fetchone() == (True,)
    assert len(await store.placements.place("there", worker, demand)) == 1


async def test_a_run_waits_for_its_place_no_longer_than_its_task_says(
    engine, store, registry, database_url
):
    """Its job is cancelled; one without a limit waits."""
    (hurried,) = await started(store, 1, "hurried")
    await started(store, 1)

    async with placing(store, registry, engine.settings()) as it:
        await until(lambda: bool(engine.lines("cancelled")), it)

    kind, _, payload = events(database_url, hurried)[-1]
    assert (kind, payload["code"]) == ("ERROR", "PENDING_TIMEOUT")
    assert payload["message"].endswith("has been pending for more than 0.2 s: busy.")
    assert engine.lines("cancelled") == [payload["job"]]
    assert runs(database_url) == ["placed"]
