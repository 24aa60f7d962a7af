"""Command line, actions and HTTP do each verb in one way: one document, one error, one event."""

import asyncio
import getpass
import json
import re

import pytest

from dama.app import App
from dama.cli import main
from dama.definitions.registry import Registry
from dama.domain.schedule import Schedule
from dama.operations import schedules
from dama.shipped.node import node_of
from dama.store import Start

from .served import project, served

USER = getpass.getuser()
READS = [
    (["show", "{open}", "--json"], "contexts.get", {"context_id": "{open}"},
     "/api/contexts/{open}"),
    (["show", "{done}", "--json"], "contexts.get", {"context_id": "{done}"},
     "/api/contexts/{done}"),
    (["queue", "why", "{open}", "--json"], "contexts.why", {"context_id": "{open}"},
     "/api/contexts/{open}/why"),
    (["queue", "ls", "--json"], "queues.list", {}, "/api/queues"),
    (["schedule", "ls", "--json"], "schedules.list", {}, "/api/schedules"),
    (["schedule", "show", "nightly", "--json"], "schedules.get", {"name": "nightly"},
     "/api/schedules/nightly"),
    (["workers", "--json"], "workers.list", {}, "/api/workers"),
]  # fmt: skip

ERRORS = [
    (["show", "999"], "contexts.get", {"context_id": 999}, ("GET", "/api/contexts/999", None)),
    (["queue", "why", "999"], "contexts.why", {"context_id": 999},
     ("GET", "/api/contexts/999/why", None)),
    (["cancel", "999"], "tasks.cancel", {"context_id": 999}, ("POST", "/api/tasks/999/cancel", {})),
    (["cancel", "{done}"], "tasks.cancel", {"context_id": "{done}"},
     ("POST", "/api/tasks/{done}/cancel", {})),
    (["emit", "999", "go"], "events.dispatch", {"context_id": 999, "event": {"type": "go"}},
     ("POST", "/api/events/999", {"event": {"type": "go"}})),
    (["emit", "{open}", "x:FINAL"], "events.dispatch",
     {"context_id": "{open}", "event": {"type": "x:FINAL"}},
     ("POST", "/api/events/{open}", {"event": {"type": "x:FINAL"}})),
    (["emit", "{open}", "go", "--meta", "[]"], "events.dispatch",
     {"context_id": "{open}", "event": {"type": "go", "meta": []}},
     ("POST", "/api/events/{open}", {"event": {"type": "go", "meta": []}})),
    (["emit", "{open}", "go", "--expect", "7"], "events.dispatch",
     {"context_id": "{open}", "event": {"type": "go"}, "expected": 7},
     ("POST", "/api/events/{open}", {"event": {"type": "go"}, "expected": 7})),
    (["queue", "limit", "etl"], "queues.limit", {"queue": "etl"},
     ("POST", "/api/queues/etl/limit", {})),
    (["schedule", "show", "daily"], "schedules.get", {"name": "daily"},
     ("GET", "/api/schedules/daily", None)),
    (["schedule", "pause", "daily"], "schedules.pause", {"name": "daily"},
     ("POST", "/api/schedules/daily/pause", {})),
    (["schedule", "rm", "daily"], "schedules.remove", {"name": "daily"},
     ("DELETE", "/api/schedules/daily", None)),
]  # fmt: skip


@pytest.fixture
async def doors(store, tmp_path, monkeypatch, database_url, capsys):
    """The three of them, on one database with an open and an ended context and a schedule."""
    monkeypatch.setenv("DAMA_DATABASE_URL", database_url)
    monkeypatch.setenv("DAMA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    still_open, done = await store.start([Start("shop.approval", {})] * 2)
    await store.cancel([done], "no", {})
    app = App(store, Registry([project()]), tmp_path)
    await schedules.add(app, Schedule("nightly", "shop.approval", "0 4 * * *"))
    async with served(store, tmp_path, working=False) as client, node_of(app, {}, "") as node:
        ids = {"open": still_open, "done": done}
        yield Doors(client, await node.broker(), capsys, ids)


class Doors:
    def __init__(self, client, broker, capsys, ids):
        self.client, self.broker, self.capsys, self.ids = client, broker, capsys, ids

    def named(self, value):
        """The value with the ids of the contexts in it, as numbers where they stand alone."""
        if isinstance(value, dict):
            return {key: self.named(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.named(each) for each in value]
        if isinstance(value, str) and (alone := re.fullmatch(r"\{(open|done)\}", value)):
            return self.ids[alone[1]]
        if isinstance(value, str):
            return re.sub(r"\{(open|done)\}", lambda m: str(self.ids[m[1]]), value)
        return value

    async def command(self, arguments):
        """What a command prints, what it says on standard error, and its exit code."""
        self.capsys.readouterr()
        code = await asyncio.to_thread(main, [str(self.named(each)) for each in arguments])
        printed = self.capsys.readouterr()
        return printed.out, printed.err, code

    async def request(self, method, path, body=None):
        return await self.client.request(method, self.named(path), json=self.named(body))


@pytest.mark.parametrize(("command", "action", "params", "path"), READS)
async def test_each_door_gives_the_same_document(doors, command, action, params, path):
    out, err, code = await doors.command(command)
    assert code == 0, err
    told = json.loads(out)
    assert json.loads(json.dumps(await doors.broker.call(action, doors.named(params)))) == told
    assert (await doors.request("GET", path)).json() == told


@pytest.mark.parametrize(("command", "action", "params", "request_"), ERRORS)
async def test_each_door_refuses_with_the_same_words(doors, command, action, params, request_):
    _, err, code = await doors.command(command)
    assert code != 0
    with pytest.raises(Exception, match=r".") as refused:
        await doors.broker.call(action, doors.named(params))
    message = refused.value.message
    assert message in err
    answer = await doors.request(*request_)
    assert answer.status_code >= 400
    assert answer.json()["message"] == message


async def acts(doors, store, verb):
    """The same act through each door, each on a context of its own; gives their documents."""
    documents = []
    contexts = await store.start([Start("shop.approval", {})] * 3)
    command, action, request_ = verb
    out, err, code = await doors.command([*command[:1], str(contexts[0]), *command[1:]])
    assert code == 0, err
    documents.append(json.loads(out))
    name, params = action
    documents.append(await doors.broker.call(name, {"context_id": contexts[1], **params}))
    path, body = request_
    answer = await doors.client.post(path.format(id=contexts[2]), json=body)
    assert answer.status_code < 300, answer.text
    documents.append(answer.json())
    events = [(await store.events(context))[-1] for context in contexts]
    return contexts, documents, events


async def test_a_cancel_is_the_same_event_from_each_door(doors, store):
    contexts, documents, events = await acts(
        doors,
        store,
        (
            ["cancel", "--reason", "wrong year", "--json"],
            ("tasks.cancel", {"reason": "wrong year"}),
            ("/api/tasks/{id}/cancel", {"reason": "wrong year"}),
        ),
    )
    assert documents == [{"cancelled": [context]} for context in contexts]
    assert {event.type for event in events} == {"shop.approval:CANCELLED"}
    assert {event.payload["message"] for event in events} == {"wrong year"}
    assert {event.meta["reason"] for event in events} == {"wrong year"}
    assert all("user" in event.meta or "node" in event.meta for event in events)


async def test_an_event_from_outside_is_the_same_from_each_door(doors, store):
    """It says who and why; what the writer says of itself in meta does not count."""
    event = {"type": "go", "payload": {"n": 1}, "meta": {"user": "root", "own": 1}}
    contexts, documents, events = await acts(
        doors,
        store,
        (
            ["emit", "go", "--payload", '{"n": 1}', "--meta", '{"user": "root", "own": 1}',
             "--reason", "checked", "--json"],
            ("events.dispatch", {"event": event, "reason": "checked"}),
            ("/api/events/{id}", {"event": event, "reason": "checked"}),
        ),
    )  # fmt: skip
    assert [document["context_id"] for document in documents] == contexts
    assert {(event.type, event.payload["n"], event.meta["own"]) for event in events} == {
        ("go", 1, 1)
    }
    assert {event.meta["reason"] for event in events} == {"checked"}
    assert all(event.meta.get("user") != "root" or event.meta["user"] == USER for event in events)


async def test_queues_are_changed_alike_by_each_door(doors, store):
    await doors.command(["queue", "pause", "a"])
    await doors.command(["queue", "limit", "a", "--concurrency", "2", "--rate", "0.5"])
    for name, change in (("b", doors.broker.call), ("c", None)):
        for verb, params in (("pause", {}), ("limit", {"concurrency": 2, "rate": 0.5})):
            if change:
                await change(f"queues.{verb}", {"queue": name, **params})
            else:
                answer = await doors.client.post(f"/api/queues/{name}/{verb}", json=params)
                assert answer.status_code < 300, answer.text
    queues = {row.queue: row for row in await store.queue.queues()}
    rows = [(queues[name].paused, queues[name].concurrency, queues[name].rate) for name in "abc"]
    assert rows == [(True, 2, 0.5)] * 3
