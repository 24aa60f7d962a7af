"""Random programs end alike, whether they run through or are killed, stopped and parked.

`make replay PROGRAMS=500 SEED=7` tries more of them.
"""

import asyncio
import difflib
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from random import Random

import psycopg
import pytest

from dama.definitions.registry import Registry
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker
from tests.integration.random_programs import Writer, endless, perform, programs

ENVIRON = dict(os.environ)  # before a fixture takes these out
PROGRAMS = int(ENVIRON.get("REPLAY_PROGRAMS", "8"))
SEED = int(ENVIRON.get("REPLAY_SEED", "1"))
AT_ONCE = 8
ROUNDS = int(ENVIRON.get("REPLAY_ROUNDS", "15"))  # of interruptions, for those that run at once
TABLE = "CREATE TABLE public.loaded (context bigint, number int)"
# Whatever an attempt says of itself: how many there are is another matter.
OF_ATTEMPTS = {"STARTED", "INITIAL"}
CONTEXT = re.compile(r"[Cc]ontext \d+")
CUT = re.compile(r"\bcut\b")  # what may be given up before it is recorded, or after
NUMBER = re.compile(r"(#\d+)+(?=[/:]|$)")


async def straight(store, starts):
    """Run programs without any interruption."""
    contexts = await store.start(starts)
    async with Worker(store, Registry([programs]), slots=50).working():
        await ended(store, contexts)
    return contexts


async def interrupted(store, url, seed, starts):
    """Run programs with an interruption at each event or two."""
    contexts = await store.start(starts)
    module = "tests.integration.random_programs"
    arguments = [module, "programs", url, str(seed), str(ROUNDS), *map(str, contexts)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.interrupting", *arguments,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    return contexts


async def ended(store, contexts):
    return await Endings(store, lambda: None).wait(contexts, fail_fast=False)


async def told(store, connection, context):
    """What a program came to: its result, its events and its rows, and those of its subtasks."""
    rows = (
        (await store.context(context)),
        [event for event in await store.events(context, limit=1000) if not CUT.search(event.type)],
    )
    # What was cancelled within its commit: the function never had it, and may have asked again.
    markers = [event.type for event in rows[1] if "cancelled:" in event.type]
    unseen = {*markers, *(type_.replace("cancelled:", "") for type_ in markers)}
    rows = rows[0], [event for event in rows[1] if event.type not in unseen]
    children = [row.context_id for row in await store.tree(context) if row.parent_id == context]
    events = Counter(
        f"{NUMBER.sub('', event.type)} {payload_of(event)}"
        for event in rows[1]
        if event.type.rpartition(":")[2] not in OF_ATTEMPTS
    )
    loaded = connection.execute("SELECT number FROM public.loaded WHERE context = %s", [context])
    if rows[0].task == endless.name:
        events.clear()  # when it was cancelled is a matter of time
    return {
        "task": rows[0].task,
        "status": rows[0].status,
        "events": sorted(events.items()),
        "loaded": sorted(number for (number,) in loaded),
        "subtasks": sorted(
            [await told(store, connection, child) for child in children],
            key=lambda each: json.dumps(each, default=str),
        ),
    }


def payload_of(event) -> str:
    payload = event.payload
    if event.type.endswith(":SPAWNED"):
        return str(len(payload["context_ids"]))
    if isinstance(payload, dict):
        payload = {
            k: v
            for k, v in payload.items()
            if k in {"name", "message", "seconds", "type", "timeout"}
        }
    if event.type.rpartition("/")[2].startswith("now"):
        return "a time"
    return CONTEXT.sub("context", json.dumps(payload, default=str))


def different(seed, params, first, second) -> str:
    """What a failure says: pytest's own words for such deep structures are of no use."""
    texts = [json.dumps(each, indent=1).splitlines() for each in (first, second)]
    lines = difflib.unified_diff(*texts, "without", "interrupted", n=30, lineterm="")
    return "\n".join([f"The program of seed {seed}: {json.dumps(params)}", *lines])


@pytest.mark.timeout(60 + 30 * PROGRAMS)
async def test_a_program_ends_alike_however_it_is_interrupted(store, database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLE)
        for seed in range(SEED, SEED + PROGRAMS, AT_ONCE):
            seeds = range(seed, min(seed + AT_ONCE, SEED + PROGRAMS))
            randoms = [Random(each) for each in seeds]
            params = [Writer(random).program() for random in randoms]
            starts = [Start(perform.name, each) for each in params]
            plain = await straight(store, starts)
            broken = await interrupted(store, database_url, seed, starts)
            for each, param, one, other in zip(seeds, params, plain, broken, strict=True):
                first, second = [await told(store, connection, c) for c in (one, other)]
                if first["status"] != "DONE" or first != second:
                    history = [
                        f"{event.type} {event.payload} {event.meta}"
                        for event in await store.events(other, limit=1000)
                    ]
                    text = different(each, param, first, second)
                    pytest.fail("\n".join([text, *history]), pytrace=False)
