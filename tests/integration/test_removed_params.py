"""Params that come and go: what was left out at the start is missed by nobody; deprecated ones."""

import asyncio
import logging
from typing import Annotated

from pydantic import Field

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.run.starts import start_of
from dama.run.subtasks import Endings
from dama.worker.worker import Worker


def version(number: int, service_name: str = "imports") -> Service:
    """A service: the first version, or the second, in which params were removed and added."""
    service = Service(service_name)
    if number == 1:

        @service.task
        async def drop(task: Task, table: str, mode: str = "fast") -> str:
            return f"dropped {table}"

        @service.task(on_cancel=drop)
        async def load(task: Task, table: str, mode: str = "fast") -> str:
            return f"{table} {mode}"

    else:

        @service.task
        async def drop(task: Task, table: str, rows: int = 7) -> str:
            return f"dropped {table}"

        @service.task(on_cancel=drop)
        async def load(task: Task, table: str, rows: int = 7) -> str:
            return f"{table} {rows}"

    @service.task
    async def parent(task: Task) -> list[str]:
        """Waits once with its subtasks begun, and once in their midst."""
        first = await task.start(load, {"table": "one"})
        mapped = await task.map(load, [{"table": "two"}, {"table": "three"}])
        await task.wait_for("continue")
        return [await first.result(), *mapped, await task.run(load, {"table": "four"})]

    return service


async def ended(store, contexts):
    async with asyncio.timeout(60):
        found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
    return [found[each] for each in contexts]


async def test_what_was_left_out_is_missed_by_nobody_and_what_was_given_is_refused(store):
    one = version(1)
    given = {"table": "a", "mode": "slow"}
    starts = [start_of(one.tasks["load"], {"table": "a"}), start_of(one.tasks["load"], given)]
    contexts = await store.start(starts)

    async with Worker(store, Registry([version(2)]), park_after=0).working():
        left_out, was_given = await ended(store, contexts)

    assert left_out.result == "a 7"
    assert was_given.status == "ERROR"
    assert "mode is not one of its params" in was_given.error["message"]


async def test_a_default_is_that_of_the_start_as_long_as_there_is_the_param(store):
    changed = Service("imports")

    @changed.task
    async def load(task: Task, table: str, mode: str = "slow") -> str:
        return f"{table} {mode}"

    contexts = await store.start([start_of(version(1).tasks["load"], {"table": "a"})])
    async with Worker(store, Registry([changed])).working():
        (end,) = await ended(store, contexts)

    assert end.result == "a fast"


async def test_a_parent_that_waits_continues_though_its_subtasks_take_others(store):
    one, two = version(1), version(2)
    (context,) = await store.start([start_of(one.tasks["parent"], {})])
    async with Worker(store, Registry([one]), park_after=0).working(), asyncio.timeout(60):
        while True:
            if any(e.type.endswith("wait:continue:WAITING") for e in await store.events(context)):
                break
            await asyncio.sleep(0.05)
    await store.append(context, [Event("continue")])
    async with Worker(store, Registry([two]), park_after=0).working():
        (end,) = await ended(store, [context])

    assert end.result == ["one fast", "two fast", "three fast", "four 7"]


async def test_a_clean_up_may_lose_the_param_too(store):
    one, two = version(1), version(2)
    (context,) = await store.start([start_of(one.tasks["load"], {"table": "a"})])
    await store.cancel([context], "not needed", {})
    (clean_up,) = [row.context_id for row in await store.contexts(task="imports.drop")]
    async with Worker(store, Registry([two])).working():
        (end,) = await ended(store, [clean_up])

    assert end.result == "dropped a"


def failing(number: int) -> Service:
    """The first version fails; in the second the param is gone."""
    service = Service("imports")
    if number == 1:

        @service.task(retries=1, backoff=3600)
        async def load(task: Task, table: str, mode: str = "fast") -> str:
            raise OSError(f"{table} {mode}")

    else:

        @service.task(retries=1)
        async def load(task: Task, table: str) -> str:
            return table

    return service


async def test_a_run_that_is_resumed_between_its_attempts_may_lose_the_param_too(store):
    """What an older version has stored for it is in the history."""
    (context,) = await store.start([start_of(failing(1).tasks["load"], {"table": "a"})])
    async with Worker(store, Registry([failing(1)])).working(), asyncio.timeout(60):
        while True:
            if any(e.type.endswith(":RETRYING") for e in await store.events(context)):
                break
            await asyncio.sleep(0.05)
    await store.cancel([context], "another version is needed", {})
    await store.resume(context, {})

    async with Worker(store, Registry([failing(2)])).working():
        (end,) = await ended(store, [context])

    assert end.result == "a"


def annotated() -> Service:
    """Params that should be given no more."""
    service = Service("ports")

    @service.task
    async def load(
        task: Task,
        airports: str = "",
        airport: Annotated[str, Field(deprecated="Give airports.")] = "",
        port: str = Field("", deprecated="Give airports.", description="Where."),
        plain: Annotated[int, Field(deprecated=True)] = 0,
    ) -> str:
        return f"{airports}{airport}{port}"

    service.program(
        "run",
        command=["true"],
        params={"year": {"type": "integer", "required": False, "deprecated": "Give since."}},
    )
    return service


def test_a_deprecated_param_is_told_wherever_params_are_described():
    tasks = annotated().tasks
    told = tasks["load"].params.model_json_schema()["properties"]
    year = tasks["run"].params.model_json_schema()["properties"]["year"]

    assert told["airport"]["description"] == "Deprecated: Give airports."
    assert told["port"]["description"] == "Where. Deprecated: Give airports."
    assert told["plain"]["description"] == "Deprecated."
    assert [told[name].get("deprecated") for name in told] == [None, True, True, True]
    assert year["description"] == "Deprecated: Give since."


async def test_who_gives_a_deprecated_param_is_told_and_nobody_else(store, caplog):
    load = annotated().tasks["load"]
    with caplog.at_level(logging.WARNING):
        contexts = await store.start(
            [
                start_of(load, {"airports": "JFK"}),
                start_of(load, {"airport": "LGA", "port": "-EWR"}),
            ]
        )
        async with Worker(store, Registry([annotated()])).working():
            ends = await ended(store, contexts)

    assert [end.result for end in ends] == ["JFK", "LGA-EWR"]
    said = [record.getMessage() for record in caplog.records if record.name == "dama.start"]
    assert said == [
        "ports.load: the param airport is deprecated: Give airports.",
        "ports.load: the param port is deprecated: Give airports.",
    ]
