"""Structured concurrency around waits means what it says, parked, killed and replayed or not."""

import asyncio
import os
import pprint
import sys
from pathlib import Path

import pytest

from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.run.subtasks import Endings
from dama.store import Start
from dama.testing import run
from dama.worker.worker import Worker
from tests.integration.structured import ENDED, SHAPES, perform, structured

ENVIRON = dict(os.environ)  # before a fixture takes these out


async def started(store):
    contexts = await store.start([Start(perform.name, {"shape": shape}) for shape in SHAPES])
    for context in contexts:
        await store.append(context, [Event("yes", "yes")] * 2)
    return contexts


async def check(store, contexts):
    async with asyncio.timeout(100):
        found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
    wrong = {}
    for context, (shape, (_, result)) in zip(contexts, SHAPES.items(), strict=True):
        got = found[context]
        if got.status != "DONE" or got.result != result:
            wrong[shape] = (got.error or {}).get("message", got.result)
        left = [row for row in await store.tree(context) if row.status == "OPEN"]
        if shape in ENDED and left:
            wrong[f"{shape}, open"] = [row.context_id for row in left]
    if wrong:  # pytest would compare the tracebacks in it
        pytest.fail(pprint.pformat(wrong), pytrace=False)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("park_after", [60, 0], ids=["in memory", "parked"])
async def test_each_shape_has_its_result_and_its_replay_the_same(store, park_after):
    contexts = await started(store)
    worker = Worker(store, Registry([structured]), slots=100, park_after=park_after)
    async with worker.working():
        await check(store, contexts)


def test_a_step_that_was_under_way_takes_no_record_of_a_like_branch(database_url):
    """The other branch, which has recorded its like, is started later."""
    ran = run(perform, {"shape": "alike, born_later"}, crash_after="keep", database=database_url)
    assert (ran.result, ran.deaths) == (True, 1)


@pytest.mark.skipif("REPLAY_PROGRAMS" not in ENVIRON, reason="a part of `make replay`")
@pytest.mark.timeout(200)
async def test_each_shape_has_its_result_through_killed_workers(store, database_url):
    contexts = await started(store)
    arguments = ["tests.integration.structured", "structured", database_url, "1", "12"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.interrupting", *arguments,
        *map(str, contexts), cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    await check(store, contexts)
