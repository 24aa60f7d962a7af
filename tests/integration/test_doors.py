"""One table of events over all doors: the same verdict everywhere, and never a bug."""

import asyncio
import json
import os
import sys

import psycopg
import pytest

from dama import Service
from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.event import Event, parse_event
from dama.domain.exact import Digits
from dama.errors import DamaError
from dama.shipped.node import node_of
from dama.store import Start
from dama.store.rows import Append
from tests.integration.programs import Bench
from tests.integration.served import served
from tests.vectors import VECTORS

S = "_data_manager_admin"
# Not JSON of PostgreSQL: U+0000, a surrogate alone, a number that numeric has no room for.
NOT_JSONB = {"22P05", "22P02", "22003", "54001"}


@pytest.fixture
async def context(store):
    """One with a run, which has used a key."""
    (context,) = await store.start([Start("a.b", {})])
    await store.append(context, [Event("first", 1, meta={"idempotency_key": "taken"})])
    return context


def value_of(text):
    """JSON as values of Python, whatever its numbers are."""
    before = sys.get_int_max_str_digits(), sys.getrecursionlimit()
    sys.set_int_max_str_digits(0)
    sys.setrecursionlimit(20_000)
    try:
        return json.loads(text, parse_float=Digits)
    finally:
        sys.set_int_max_str_digits(before[0])
        sys.setrecursionlimit(before[1])


def differences(door, found):
    """What a door says otherwise than the table."""
    return {
        name: verdict
        for name, verdict in found.items()
        if (verdict == "ok") != VECTORS[name].verdict(door)
    }


async def refusal(attempt):
    """The code of what was refused; ok for what was not. Anything else is a bug of ours."""
    try:
        await attempt
    except DamaError as error:
        return type(error).__name__
    return "ok"


async def test_python(store, context):
    async def append(text):
        await store.append(context, [parse_event(value_of(text))])

    found = {name: await refusal(append(v.text)) for name, v in VECTORS.items()}

    assert not differences("append", found)


@pytest.mark.parametrize("door", ["append_events", "dispatch()", "INSERT"])
async def test_sql(context, database_url, door):
    found = {}
    with psycopg.connect(database_url, autocommit=True) as sql:
        for name, vector in VECTORS.items():
            if name == "another key" and door != "append_events":
                continue  # there is no place for it
            try:
                sql.execute(*statement(door, context, vector.text))
            except (psycopg.Error, psycopg.DataError) as error:
                found[name] = error.sqlstate or type(error).__name__
            else:
                found[name] = "ok"

    refused = {code for code in found.values() if code != "ok"}
    assert not differences(door, found)
    assert {code for code in refused if not code.startswith("DM")} <= NOT_JSONB


def statement(door, context, text):
    """A statement for an event; its parts are taken out of it by the server."""
    parts = (
        f"{context}::bigint, e ->> 'type', e -> 'payload', nullif(e -> 'meta', 'null'),"
        " (e ->> 'error')::boolean"
    )
    source = "FROM (SELECT %s::jsonb AS e) j"
    columns = "(etl_context_id, type, payload, meta, error)"
    match door:
        case "dispatch()":
            return f"SELECT {S}.dispatch({parts}) {source}", [text]
        case "INSERT":
            table = f"{S}.event_store_prototype {columns}"
            return f"INSERT INTO {table} SELECT {parts} {source}", [text]
        case _:
            batch = f'[{{"context_id": {context}, "event": {text}}}]'
            return f"SELECT {S}.append_events(%s)", [batch]


async def test_http(store, context, tmp_path):
    found = {}
    async with served(store, tmp_path, working=False, body_limit=2**22) as client:
        for name, vector in VECTORS.items():
            answer = await client.post(
                f"/api/events/{context}",
                content=f'{{"event": {vector.text}}}'.encode(),
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code < 500, (name, answer.text[:300])
            found[name] = "ok" if answer.status_code < 300 else answer.json()["type"]

    assert not differences("HTTP", found)
    assert found["a key of another body"] == "IDEMPOTENCY_CONFLICT"


async def test_the_action(store, context, tmp_path):
    app = App(store, Registry([]), tmp_path)
    found = {}
    async with node_of(app, {}, "") as node:
        broker = await node.broker()
        for name, vector in VECTORS.items():
            params = {"context_id": context, "event": value_of(vector.text)}
            found[name] = await refusal(broker.call("events.dispatch", params))

    assert not differences("action", found)


@pytest.mark.timeout(400)  # a process for each vector
async def test_the_command(context, database_url, tmp_path, forked):
    """Real processes; four at a time."""
    found = {}
    turns = asyncio.Semaphore(4)

    async def emit(name, text):
        event = value_of(text)
        arguments = ["emit", str(context), event["type"]]
        if "payload" in event:
            arguments += ["--payload", "-"]
        if "meta" in event:
            arguments += ["--meta", text[text.index('"meta": ') + 8 : -1]]
        if event.get("error") is True:
            arguments.append("--error")
        start = text.find('"payload": ') + 11
        async with turns:
            process = await asyncio.create_subprocess_exec(
                *(forked.dama, *map(os.fsencode, arguments)),
                stdin=-1, stdout=-1, stderr=-1, cwd=tmp_path,
                env=forked.environ(DAMA_DATABASE_URL=database_url),
            )  # fmt: skip
            _, told = await process.communicate(text[start:-1].encode())
        found[name] = "ok" if process.returncode == 0 else str(process.returncode)
        assert process.returncode in (0, 2, 6), (name, told[-600:])
        assert b"Traceback" not in told, name

    # What no argument can hold is met before any code of ours; another key has no option.
    unsaid = {"another key", "U+0000 in a type", "a lone surrogate in a type", "no error"}
    wanted = [(n, v.text) for n, v in VECTORS.items() if n not in unsaid]
    await asyncio.gather(*(emit(*each) for each in wanted))

    assert not differences("dama emit", found)


async def test_a_task(store, monkeypatch):
    service = Service("v")
    found = {}

    @service.task(retries=0)
    async def all_of_them(task) -> None:
        for name, vector in VECTORS.items():
            try:
                event = parse_event(value_of(vector.text))
            except DamaError as error:
                found[name] = type(error).__name__
            else:
                found[name] = await refusal(task.dispatch(event))

    bench = Bench(store, Registry([service]))
    async with bench.worker():
        ended = await bench.ended(await bench.start(all_of_them))

    assert ended.status == "DONE", ended.error
    assert not differences("task.dispatch", found)


@pytest.mark.parametrize("door", ["stdout", "$DAMA_EVENTS"])
async def test_a_program(store, tmp_path, door):
    """Each line becomes its event or a warning."""
    service = Service("v")
    mark = "::dama:: " if door == "stdout" else ""
    lines = [f"{mark}{vector.text}\n".encode() for vector in VECTORS.values()]
    (tmp_path / "lines").write_bytes(b"".join(lines))
    target = "" if door == "stdout" else ">> $DAMA_EVENTS"
    values = {"command": ["bash", "-c", f"cat lines {target}"]}
    task = service.declare("tell", values, place="test", base=tmp_path)
    bench = Bench(store, Registry([service]))
    async with bench.worker():
        context = await bench.start(task)
        ended = await bench.ended(context)
    keys = {e.meta.get("idempotency_key"): e.type for e in await store.events(context)}

    assert ended.status == "DONE", ended.error
    found, offset = {}, 0
    stream = "stdout" if door == "stdout" else "events"
    for name, line in zip(VECTORS, lines, strict=True):
        place = f"ship/1/{stream}/{offset}"
        warned = [k for k in (f"{place}/warn", f"{place}/refused") if k in keys]
        assert (place in keys) != bool(warned), name
        found[name] = "ok" if place in keys else "warned"
        offset += len(line)
    assert not differences(door, found)


async def test_a_key_twice_in_a_batch_is_a_conflict(store, context):
    """Also for the keys of which the store knows that they are new."""
    other = Event("x", 2, meta={"idempotency_key": "k"})

    for events in (
        [other, Event("x", 3, meta={"idempotency_key": "k"})],
        [other, other],
    ):
        batch = [Append(context, event) for event in events]
        assert await refusal(store.append_many(batch)) == "IdempotencyConflictError"


async def test_a_key_of_a_start_is_that_of_its_epoch(store, database_url, context):
    """So that no two of them have the same, for which nobody would look."""
    first, second = (
        {"type": "a.b:STARTED", "meta": {"epoch": epoch, "idempotency_key": "STARTED#2"}}
        for epoch in (1, 2)
    )
    for batch in ([first], [first, second]):
        items = json.dumps([{"context_id": context, "event": event} for event in batch])
        with (
            psycopg.connect(database_url, autocommit=True) as sql,
            pytest.raises(psycopg.Error) as raised,
        ):
            sql.execute(f"SELECT {S}.append_events(%s)", [items])
        assert raised.value.sqlstate == "DM001"

    await store.append(context, [Event(second["type"], meta=second["meta"])])
