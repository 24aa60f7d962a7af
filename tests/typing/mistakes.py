"""Deliberate mistakes, each of which a type checker must report.

`make types` reads this file with pyright: a line whose mistake it does not see has an ignore that
is not needed, which is an error. A test holds mypy against the same lines. Nothing here is run.
"""
# The other rules of the checker would report a mistake a second time.
# pyright: reportUnusedCoroutine=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnusedVariable=false

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

import dama
from dama import Service, Slice, SyncTask, Task

mistakes = Service("mistakes")


async def fetch(url: str, *, page: int = 1) -> list[int]:
    return [len(url) * page]


def store(rows: list[int]) -> int:
    return len(rows)


def insert(connection: Any, rows: list[int]) -> int:
    return len(rows) if connection else 0


async def insert_async(connection: Any, rows: list[int]) -> str:
    return f"{connection} {rows}"


@dama.step
async def fetch_step(url: str, *, page: int = 1) -> list[int]:
    return [len(url) * page]


@dama.step(retries=3, backoff="5s", retry_on=OSError)
def store_step(rows: list[int]) -> int:
    return len(rows)


class Source:
    """Its methods may be steps."""

    @dama.step
    async def read(self, page: int) -> list[int]:
        return [page]

    @dama.step(retries=3)
    def count(self, rows: list[int]) -> int:
        return len(rows)


@dataclass
class Approval:
    yes: bool


counted = Slice("mistakes", initial=0)


@counted.reducer
def added(state: int, by: int) -> int:
    return state + by


@counted.reducer(type="mistakes.named")
def named(state: int, name: str) -> int:
    return state + len(name)


async def methods(task: Task, source: Source) -> None:
    assert_type(await source.read(1), list[int])
    assert_type(source.count([1]), int)
    assert_type(await task.step("read", source.read, 1), list[int])
    assert_type(await Source.read(source, 1), list[int])
    await source.read("1")  # pyright: ignore[reportArgumentType]
    await source.read()  # pyright: ignore[reportCallIssue]
    source.count([1], 2)  # pyright: ignore[reportCallIssue]
    await task.step("read", source.read, "1")  # pyright: ignore[reportCallIssue, reportArgumentType]

    await task.dispatch(added(1))
    await task.dispatch(named("a"))
    added("1")  # pyright: ignore[reportArgumentType]
    named(1)  # pyright: ignore[reportArgumentType]

    answer = await task.wait_any("a", "b", timeout="1d", model=Approval)
    assert_type(answer.payload, Approval)
    either = await task.wait_any("a", "b", model={"a": Approval, "b": Approval})
    assert_type(either.payload, Approval)
    assert_type(await task.wait_any("a", "b"), dama.Answer)
    assert_type(await task.wait_for("a", model=Approval, where=lambda a: a.yes), Approval)
    await task.wait_any("a", "b", model=3)  # pyright: ignore[reportArgumentType]
    await task.wait_any(["a", "b"])  # pyright: ignore[reportArgumentType]
    answer.payload.no  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018

    await task.sleep(timedelta(days=1))
    await task.run(load, {"year": 1}, timeout="3h")
    await task.run(load, {"year": 1}, timeout=[3])  # pyright: ignore[reportCallIssue, reportArgumentType]


@mistakes.task
async def load(task: Task, year: int, *, dry: bool = False) -> int:
    rows = await task.step("fetch", fetch, "url", page=2)
    assert_type(rows, list[int])
    assert_type(await task.step("store", store, rows), int)
    assert_type(await task.transaction("insert", insert, rows), int)
    assert_type(await task.transaction("insert", insert_async, rows), str)
    assert_type(await task.step("insert", insert, rows, transactional=True), int)

    assert_type(await fetch_step("url", page=2), list[int])
    assert_type(await task.step("fetch", fetch_step, "url", page=2), list[int])
    assert_type(await task.step("store", store_step, rows), int)
    assert_type(await task.step("store", dama.step(store, retries=1), rows), int)

    await fetch_step(5)  # pyright: ignore[reportArgumentType]
    await fetch_step("url", pages=2)  # pyright: ignore[reportCallIssue]
    await task.step("fetch", fetch_step, 5)  # pyright: ignore[reportCallIssue, reportArgumentType]
    dama.step(retrys=3)  # pyright: ignore[reportCallIssue]
    dama.step(backoff=[1])  # pyright: ignore[reportArgumentType]
    await task.step("fetch", fetch, 5)  # pyright: ignore[reportCallIssue, reportArgumentType]
    await task.step("fetch", fetch)  # pyright: ignore[reportCallIssue]
    await task.step("fetch", fetch, "url", pages=2)  # pyright: ignore[reportCallIssue]
    await task.step("store", store, "rows")  # pyright: ignore[reportCallIssue, reportArgumentType]
    await task.transaction("insert", insert)  # pyright: ignore[reportCallIssue]
    await task.transaction("insert", insert, 5)  # pyright: ignore[reportCallIssue, reportArgumentType]
    length: str = await task.step("store", store, rows)  # pyright: ignore[reportAssignmentType]
    return year + int(dry)


@mistakes.task(on_failure=load, on_cancel=load)
async def load_cleanly(task: Task, year: int) -> int:
    ends = await task.map(load, [{"year": year}], on_failure="collect")
    assert_type(ends[0].result, int | None)
    assert_type(await task.map(load, [{"year": year}]), list[int])
    return year


@mistakes.task
def load_blocking(task: SyncTask, year: int) -> str:
    rows = task.step("rows", list, [year])
    assert_type(task.step("store", store, [1]), int)
    assert_type(store_step([1]), int)
    store_step("rows")  # pyright: ignore[reportArgumentType]
    assert_type(task.transaction("insert", insert, [1]), int)
    assert_type(task.run(load, {"year": 1}), int)

    task.step("store", store, 5)  # pyright: ignore[reportCallIssue, reportArgumentType]
    task.step("store", store, [1], 2)  # pyright: ignore[reportCallIssue]
    task.transaction("insert", insert, [1], 2)  # pyright: ignore[reportCallIssue]
    return str(rows)


async def program(task: Task) -> None:
    assert_type(await load(task, 2013), int)
    await load(task, "2013")  # pyright: ignore[reportArgumentType]
    async with dama.connect() as client:
        run = await client.start(load, year=2013)
        assert_type(await run.result(), int)
        assert_type(await client.run(load, {"year": 2013}), int)
        assert_type(await (await load.start(2013, dry=True)).result(), int)

        await client.start(load, month=3)  # pyright: ignore[reportCallIssue]
        await client.start(load, year="2013")  # pyright: ignore[reportCallIssue, reportArgumentType]
        await client.run(load)  # pyright: ignore[reportCallIssue]
        await load.start(year="2013")  # pyright: ignore[reportArgumentType]
        assert_type(await client.start_many(load, [{"year": 1}]), list[dama.Handle[int]])
        assert_type(await client.start_many("mistakes.load", []), list[dama.Handle[Any]])
        await client.start_many(load)  # pyright: ignore[reportCallIssue]
        text: str = await run.result()  # pyright: ignore[reportAssignmentType]
        await client.options(keys="k").start(load, year=1)  # pyright: ignore[reportCallIssue]


async def notebook() -> None:
    client = await dama.connect()
    assert_type(client, dama.Client)
    assert_type(await client.run(load, year=2013), int)
    client.close("now")  # pyright: ignore[reportCallIssue]


def script() -> None:
    with dama.connect() as client:
        assert_type(client.run(load_blocking, year=2013), str)
        assert_type(client.start(load_blocking, year=2013).result(), str)
        client.run(load_blocking, years=2013)  # pyright: ignore[reportCallIssue]


@mistakes.task(on_failure=store)  # pyright: ignore[reportArgumentType]
async def load_carelessly(task: Task) -> None: ...
