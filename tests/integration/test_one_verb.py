"""Command line, actions and HTTP do each verb in one way: one document, one error, one event."""

import getpass
import json
import os
import re
from pathlib import Path

import pytest

from dama.broker.errors import error_document
from dama.errors import DamaError
from dama.store import Start

from .doors import doors_of

USER = getpass.getuser()
PAGE = Path(__file__).parents[2] / "docs/howto/services.md"
READS = [
    (["show", "{open}", "--json"], "contexts.get", {"context_id": "{open}"},
     "/api/contexts/{open}"),
    (["show", "{done}", "--json"], "contexts.get", {"context_id": "{done}"},
     "/api/contexts/{done}"),
    (["queue", "why", "{open}", "--json"], "contexts.why", {"context_id": "{open}"},
     "/api/contexts/{open}/why"),
    (["queue", "ls", "--json"], "queues.list", {}, "/api/queues"),
    (["queue", "history", "--json"], "queues.history", {}, "/api/queues/history"),
    (["schedule", "ls", "--json"], "schedules.list", {}, "/api/schedules"),
    (["schedule", "show", "nightly", "--json"], "schedules.get", {"name": "nightly"},
     "/api/schedules/nightly"),
    (["workers", "--json"], "workers.list", {}, "/api/workers"),
    (["log", "status", "--json"], "log.status", {}, "/api/log"),
    (["log", "acts", "--json"], "log.latest_acts", {}, "/api/log/acts"),
    (["tree", "{open}", "--json"], "contexts.tree", {"context_id": "{open}"},
     "/api/contexts/{open}/tree"),
    (["timeline", "{done}", "--json"], "contexts.timeline", {"context_id": "{done}"},
     "/api/contexts/{done}/timeline"),
    (["diff", "{open}", "{open}", "--json"], "contexts.diff",
     {"context_id": "{open}", "other": "{open}"}, "/api/contexts/{open}/diff?other={open}"),
    (["lineage", "mart.daily", "--json"], "tables.lineage", {"table": "mart.daily"},
     "/api/tables/mart.daily/lineage"),
    (["slice", "ls", "--json"], "slices.list", {}, "/api/slices"),
    (["state", "{done}", "--json"], "contexts.state", {"context_id": "{done}"},
     "/api/contexts/{done}/state"),
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
    (["log", "resume", "mailer", "{open}"], "log.resume",
     {"subscription": "mailer", "context_id": "{open}"},
     ("POST", "/api/log/mailer/resume", {"context_id": "{open}"})),
    (["scrub", "--all", "--env", "DAMA_NO_SUCH"], "upkeep.scrub",
     {"env": "DAMA_NO_SUCH", "all": True},
     ("POST", "/api/upkeep/scrub", {"env": "DAMA_NO_SUCH", "all": True})),
    (["scrub", "--env", "DAMA_SHORT"], "upkeep.scrub", {"env": "DAMA_SHORT"},
     ("POST", "/api/upkeep/scrub", {"env": "DAMA_SHORT"})),
    (["scrub", "--all", "--env", "DAMA_SHORT"], "upkeep.scrub",
     {"env": "DAMA_SHORT", "all": True},
     ("POST", "/api/upkeep/scrub", {"env": "DAMA_SHORT", "all": True})),
    (["queue", "limit", "etl"], "queues.limit", {"queue": "etl"},
     ("POST", "/api/queues/etl/limit", {})),
    (["tree", "999"], "contexts.tree", {"context_id": 999},
     ("GET", "/api/contexts/999/tree", None)),
    (["events", "999"], "contexts.events", {"context_id": 999},
     ("GET", "/api/contexts/999/events", None)),
    (["events", "999", "--failed"], "contexts.find", {"context_id": 999, "failed": True},
     ("GET", "/api/contexts/999/events/find?failed=true", None)),
    (["state", "999", "--without", "1"], "contexts.suppose", {"context_id": 999, "event": 1},
     ("GET", "/api/contexts/999/suppose?event=1", None)),
    (["state", "{open}", "--without", "999"], "contexts.suppose",
     {"context_id": "{open}", "event": 999},
     ("GET", "/api/contexts/{open}/suppose?event=999", None)),
    (["diff", "999", "{open}"], "contexts.diff", {"context_id": 999, "other": "{open}"},
     ("GET", "/api/contexts/999/diff?other={open}", None)),
    (["diff", "{open}", "--at", "999"], "contexts.diff", {"context_id": "{open}", "at": 999},
     ("GET", "/api/contexts/{open}/diff?at=999", None)),
    (["state", "999"], "contexts.state", {"context_id": 999},
     ("GET", "/api/contexts/999/state", None)),
    (["state", "{open}", "--slice", "lifecylce"], "contexts.state",
     {"context_id": "{open}", "slice": "lifecylce"},
     ("GET", "/api/contexts/{open}/state?slice=lifecylce", None)),
    (["logs", "999"], "contexts.logs", {"context_id": 999},
     ("GET", "/api/contexts/999/logs", None)),
    (["logs", "{open}"], "contexts.logs", {"context_id": "{open}"},
     ("GET", "/api/contexts/{open}/logs/files", None)),
    (["resume", "999", "--enqueue"], "tasks.resume", {"context_id": 999},
     ("POST", "/api/tasks/999/resume", {})),
    (["fork", "999", "--at", "1", "--enqueue"], "tasks.fork", {"context_id": 999, "at": 1},
     ("POST", "/api/tasks/999/fork", {"at": 1})),
    (["fork", "{open}", "--at", "999", "--enqueue"], "tasks.fork",
     {"context_id": "{open}", "at": 999}, ("POST", "/api/tasks/{open}/fork", {"at": 999})),
    (["fork", "{open}", "--enqueue"], "tasks.fork", {"context_id": "{open}"},
     ("POST", "/api/tasks/{open}/fork", {})),
    (["export", "999", "no.zip"], "contexts.export", {"context_id": 999},
     ("GET", "/api/contexts/999/export", None)),
    (["export", "{open}", "--format", "parquet", "--logs", "no.parquet"], "contexts.export",
     {"context_id": "{open}", "format": "parquet", "logs": True},
     ("GET", "/api/contexts/{open}/export?format=parquet&logs=true", None)),
    (["whatif", "typo", "--module", "tests.integration.shop"], "contexts.what_if",
     {"slice": "typo", "module": "tests.integration.shop"},
     ("POST", "/api/contexts/whatif", {"slice": "typo", "module": "tests.integration.shop"})),
    (["check", "shop.duoble"], "tasks.check", {"name": "shop.duoble"},
     ("POST", "/api/tasks/shop.duoble/check", {})),
    (["slice", "materialise", "typo", "--once"], "slices.materialise", {"name": "typo"},
     ("POST", "/api/slices/typo", {})),
    (["slice", "drop", "typo"], "slices.drop", {"name": "typo"},
     ("DELETE", "/api/slices/typo", None)),
    (["log", "drop", "mailer"], "log.drop", {"subscription": "mailer"},
     ("DELETE", "/api/log/mailer", None)),
    (["run", "shop.duoble", "--enqueue"], "tasks.start", {"name": "shop.duoble"},
     ("POST", "/api/tasks/shop.duoble", {})),
    (["archive", "restore", "999"], "archive.restore", {"context_id": 999},
     ("POST", "/api/archive/999/restore", {})),
    (["schedule", "add", "nightly", "shop.approval", "--cron", "0 4 * * *"], "schedules.add",
     {"name": "nightly", "task": "shop.approval", "cron": "0 4 * * *"},
     ("POST", "/api/schedules",
      {"name": "nightly", "task": "shop.approval", "cron": "0 4 * * *"})),
    (["schedule", "add", "new", "shop.approval", "--cron", "61 4 * * *"], "schedules.add",
     {"name": "new", "task": "shop.approval", "cron": "61 4 * * *"},
     ("POST", "/api/schedules",
      {"name": "new", "task": "shop.approval", "cron": "61 4 * * *"})),
    (["schedule", "resume", "daily"], "schedules.resume", {"name": "daily"},
     ("POST", "/api/schedules/daily/resume", {})),
    (["schedule", "backfill", "daily", "--from", "2026-01-01", "--to", "2026-01-02"],
     "schedules.backfill", {"name": "daily", "begin": "2026-01-01", "end": "2026-01-02"},
     ("POST", "/api/schedules/daily/backfill", {"begin": "2026-01-01", "end": "2026-01-02"})),
    (["schedule", "show", "daily"], "schedules.get", {"name": "daily"},
     ("GET", "/api/schedules/daily", None)),
    (["schedule", "pause", "daily"], "schedules.pause", {"name": "daily"},
     ("POST", "/api/schedules/daily/pause", {})),
    (["schedule", "rm", "daily"], "schedules.remove", {"name": "daily"},
     ("DELETE", "/api/schedules/daily", None)),
]  # fmt: skip

# Held to their commands by tests of their own, below; or without a command that does the same.
OTHERS = {
    "tasks.list", "contexts.list", "events.read", "queues.pause", "queues.resume", "archive.add",
    "archive.forget", "upkeep.clean", "upkeep.doctor", "schedules.list", "schedules.remove",
    "workers.activity", "contexts.import_run", "tasks.fork_all",
}  # fmt: skip
NO_COMMAND = {
    "tasks.run",  # `dama run` follows what it has started
    "tasks.wait",  # as `dama resume` does of what is at work
    "contexts.children",  # a page of `dama tree`
}


@pytest.fixture
async def doors(store, tmp_path, monkeypatch, database_url, capsys):
    """On the test's own database."""
    async with doors_of(store, tmp_path, monkeypatch, capsys, database_url) as doors:
        yield doors


async def test_each_door_gives_the_same_document(doors):
    for command, action, params, path in READS:
        out, err, code = await doors.command(command)
        assert code == 0, (command, err)
        told = steady(json.loads(out))
        called = await doors.broker.call(action, doors.named(params))
        assert steady(json.loads(json.dumps(called))) == told, command
        assert steady((await doors.request("GET", path)).json()) == told, command


def steady(document):
    """A document without the moment at which it was asked for."""
    if isinstance(document, dict):
        document.pop("now", None)
    return document


async def test_each_door_refuses_with_the_same_error(doors):
    """The text for a person, and as a document: name, code, type, data and hint."""
    for command, action, params, request_ in ERRORS:
        out, err, code = await doors.command([*command, "--json"])
        assert code != 0, command
        with pytest.raises(DamaError) as refused:
            await doors.broker.call(action, doors.named(params))
        answer = await doors.request(*request_)
        expected = answer.json()
        assert expected.pop("request_id")
        document = json.loads(out)["error"]
        assert document == expected, command
        assert document == json.loads(json.dumps(error_document(refused.value))), command
        assert answer.status_code == document["code"], command
        assert 400 <= document["code"] < 500, command
        assert " ".join(document["message"].split()) in " ".join(err.split()), command


async def test_each_shipped_action_is_held_to_its_command(doors):
    """Whoever adds a verb adds it here: to a table, or with a test of its own."""
    listed = await doors.broker.call("$node.actions", {"onlyLocal": True, "skipInternal": True})
    shipped = {each["name"] for each in listed if not each["name"].startswith("shop.")}
    held = {action for _, action, _, _ in [*READS, *ERRORS]} | OTHERS
    assert shipped == held | NO_COMMAND
    assert held.isdisjoint(NO_COMMAND)
    assert named_in_page() == shipped


def named_in_page():
    """The actions of the table in the page of services."""
    text = PAGE.read_text().partition("| service | actions |\n")[2].partition("\n\n")[0]
    rows = [row for row in text.splitlines() if row.startswith("| `") and "$node" not in row]
    services = [re.findall(r"`([a-z_]+)`", row) for row in rows]
    return {f"{service}.{action}" for service, *actions in services for action in actions}


async def test_each_door_lists_the_same(doors):
    """The command line prints the items, one document or line each, and says where to read on."""
    listed, events = await doors.command(["ls", "--json"]), ["events", "{done}", "--json"]
    lines = (await doors.command(events))[0].splitlines()
    expected = await doors.broker.call("contexts.list", {})
    history = await doors.broker.call("contexts.events", {"context_id": doors.ids["done"]})

    assert json.loads(listed[0]) == json.loads(json.dumps(expected["contexts"]))
    assert (await doors.request("GET", "/api/contexts")).json() == json.loads(json.dumps(expected))
    assert [json.loads(line) for line in lines] == json.loads(json.dumps(history["events"]))
    found = await doors.request("GET", "/api/contexts/{done}/events")
    assert found.json() == json.loads(json.dumps(history))


async def test_a_start_is_the_same_from_each_door(doors, store):
    """With its document, its context, and the first event but for who asked."""
    out, err, code = await doors.command(
        ["run", "shop.double", "--n", "2", "--enqueue", "--key", "a", "--json"]
    )
    assert code == 0, err
    called = await doors.broker.call(
        "tasks.start", {"name": "shop.double", "params": {"n": 2}, "key": "b"}
    )
    body = {"params": {"n": 2}, "key": "c"}
    answer = await doors.client.post("/api/tasks/shop.double", json=body)
    documents = [json.loads(out), called, answer.json()]
    contexts = [each.pop("context_id") for each in documents]

    assert len(set(contexts)) == 3
    assert documents[0] == documents[1] == documents[2]
    assert documents[0]["no_worker"] is True
    firsts = [(await store.events(context))[0] for context in contexts]
    assert {(event.type, event.payload["n"]) for event in firsts} == {("shop.double:INITIAL", 2)}
    assert firsts[0].meta["user"] == USER
    assert all(event.meta.get("user") or event.meta.get("node") for event in firsts)


async def test_a_resume_is_the_same_event_from_each_door(doors, store):
    contexts = await store.start([Start("shop.approval", {})] * 3)
    await store.cancel(contexts, "no", {})
    out, err, code = await doors.command(
        ["resume", str(contexts[0]), "--enqueue", "--reason", "mended", "--json"]
    )
    assert code == 0, err
    params = {"context_id": contexts[1], "reason": "mended"}
    called = await doors.broker.call("tasks.resume", params)
    path = f"/api/tasks/{contexts[2]}/resume"
    answer = await doors.client.post(path, json={"reason": "mended"})
    documents = [json.loads(out), called, answer.json()]

    assert [each.pop("context_id") for each in documents] == contexts
    assert documents[0] == documents[1] == documents[2]
    events = [(await store.events(context))[-1] for context in contexts]
    assert {(event.type, event.meta["reason"]) for event in events} == {
        ("shop.approval:RESUMED", "mended")
    }
    assert all(event.meta.get("user") or event.meta.get("node") for event in events)


async def test_a_fork_is_the_same_event_from_each_door(doors, store):
    """Its history is that of the other; what follows says who, why and from where."""
    contexts = await store.start([Start("shop.double", {"n": 1})] * 3)
    await store.cancel(contexts, "no", {})
    first = [(await store.events(context))[0].event_id for context in contexts]
    typed = ["--at", str(first[0]), "--param", "n=2", "--reason", "other n", "--enqueue", "--json"]
    out, err, code = await doors.command(["fork", str(contexts[0]), *typed])
    assert code == 0, err
    params = {"params": {"n": 2}, "reason": "other n"}
    called = await doors.broker.call(
        "tasks.fork", {"context_id": contexts[1], "at": first[1], **params}
    )
    path = f"/api/tasks/{contexts[2]}/fork"
    answer = await doors.client.post(path, json={"at": first[2], **params})
    documents = [json.loads(out), json.loads(json.dumps(called)), answer.json()]

    forks = [each.pop("context_id") for each in documents]
    assert [each.pop("forked_from") for each in documents] == contexts
    assert [each.pop("event_id") for each in documents] == first
    assert [each.pop("contexts") for each in documents] == [[fork] for fork in forks]
    assert documents[0] == documents[1] == documents[2]
    events = [await store.events(fork) for fork in forks]
    assert {tuple(event.type for event in each) for each in events} == {
        ("shop.double:INITIAL", "shop.double:RESUMED")
    }
    assert all(each[0].payload == {"n": 2} for each in events)
    lasts = [each[-1] for each in events]
    assert {event.meta["reason"] for event in lasts} == {"other n"}
    assert all(event.meta.get("user") or event.meta.get("node") for event in lasts)


async def test_the_log_is_read_alike_by_each_door(doors):
    """All events, with their positions, page by page."""
    lines = (await doors.command(["events", "--all", "--json"]))[0].splitlines()
    called = json.loads(json.dumps(await doors.broker.call("events.read", {})))
    answer = (await doors.request("GET", "/api/events")).json()
    assert [json.loads(line) for line in lines] == called["events"] == answer["events"]
    assert called["events"]


async def test_what_there_is_to_run_is_the_same_for_each_door(doors):
    out, err, code = await doors.command(["services", "--json"])
    assert code == 0, err
    called = json.loads(json.dumps(await doors.broker.call("tasks.list", {})))
    assert (await doors.request("GET", "/api/tasks")).json() == called
    listed = [task for service in json.loads(out) for task in service["tasks"]]
    assert sorted(task["name"] for task in listed) == sorted(task["name"] for task in called)
    assert called


async def test_what_was_done_lately_is_the_same_for_each_door(doors):
    """A gateway may note something between two of them: then they are asked again."""
    for _ in range(5):
        out, err, code = await doors.command(["activity", "--hours", "2", "--json"])
        assert code == 0, err
        called = await doors.broker.call("workers.activity", {"hours": 2})
        answer = (await doors.request("GET", "/api/workers/activity?hours=2")).json()
        if json.loads(out) == json.loads(json.dumps(called)) == answer:
            return
    raise AssertionError(out, called, answer)


async def test_schedules_are_changed_alike_by_each_door(doors):
    """Each adds one, pauses and resumes it, fills a range of it, and removes it."""
    plan = {"task": "shop.double", "cron": "0 4 1 1 *", "params": {"n": 1}}
    days = {"begin": "2020-01-01", "end": "2022-01-01"}
    typed = ["--cron", plan["cron"], "--params", json.dumps(plan["params"])]
    dates = ["--from", days["begin"], "--to", days["end"]]
    by_hand = [
        (await doors.command(["schedule", *arguments, "--json"]))[0]
        for arguments in (
            ["add", "a", plan["task"], *typed],
            ["pause", "a"],
            ["resume", "a"],
            ["backfill", "a", *dates, "--dry-run"],
            ["backfill", "a", *dates],
            ["rm", "a"],
        )
    ]
    called = [
        await doors.broker.call(f"schedules.{verb}", {"name": "b", **params})
        for verb, params in (
            ("add", plan),
            ("pause", {}),
            ("resume", {}),
            ("backfill", {**days, "dry_run": True}),
            ("backfill", days),
            ("remove", {}),
        )
    ]
    requested = [
        await doors.request(method, f"/api/schedules{path}", body)
        for method, path, body in (
            ("POST", "", {"name": "c", **plan}),
            ("POST", "/c/pause", {}),
            ("POST", "/c/resume", {}),
            ("POST", "/c/backfill", {**days, "dry_run": True}),
            ("POST", "/c/backfill", days),
            ("DELETE", "/c", None),
        )
    ]
    documents = [[json.loads(each) for each in by_hand], called]
    documents.append([each.json() if each.content else None for each in requested])
    for each in documents:
        assert len(each[4].pop("contexts")) == 2
    assert documents[0] == json.loads(json.dumps(documents[1])) == documents[2]
    assert [len(each["firings"]) for each in documents[0][3:5]] == [2, 2]


async def test_a_bundle_is_the_same_for_each_door(doors, store, tmp_path):
    """Byte for byte; and each door says the same of what is here already."""
    context = doors.ids["done"]
    for format_ in ("bundle", "redux-devtools"):
        path = tmp_path / format_
        typed = ["export", str(context), "--format", format_, str(path)]
        assert (await doors.command(typed))[2] == 0
        params = {"context_id": context, "format": format_}
        chunks = await doors.broker.call("contexts.export", params)
        answer = await doors.request("GET", f"/api/contexts/{context}/export?format={format_}")
        assert path.read_bytes() == b"".join([c async for c in chunks]) == answer.content
        assert f'filename="{context}.' in answer.headers["content-disposition"]
    bundle = (tmp_path / "bundle").read_bytes()
    out, err, code = await doors.command(["import-run", str(tmp_path / "bundle"), "--json"])
    assert code == 0, err
    called = await doors.broker.call("contexts.import_run", {}, stream=chunked(bundle))
    answer = await doors.client.post("/api/contexts/import", content=bundle)
    assert json.loads(out) == json.loads(json.dumps(called)) == answer.json()
    assert called["known"][0]["context_id"] == context
    broken = await doors.client.post("/api/contexts/import?again=true", content=b"no zip")
    assert (broken.status_code, broken.json()["name"]) == (400, "BundleError")
    assert {p.name for p in tmp_path.iterdir()} >= {"bundle", "redux-devtools"}
    assert not [*tmp_path.glob("*port-*")]


async def chunked(data):
    for start in range(0, len(data), 100):
        yield data[start : start + 100]


async def test_code_is_held_against_history_alike_by_each_door(doors):
    """A check of a task, a slice table, a batch of forks: one document each."""
    body = {"sample": 5}
    for command, action, params, request_ in (
        (["check", "shop.approval", "--sample", "5"], "tasks.check",
         {"name": "shop.approval", **body}, ("POST", "/api/tasks/shop.approval/check", body)),
        (["fork", "--where", "task=shop.double", "--at-step", "x"], "tasks.fork_all",
         {"where": {"task": "shop.double"}, "step": "x"},
         ("POST", "/api/tasks/fork", {"where": {"task": "shop.double"}, "step": "x"})),
        (["slice", "materialise", "lifecycle", "--once"], "slices.materialise",
         {"name": "lifecycle"}, ("POST", "/api/slices/lifecycle", {})),
    ):  # fmt: skip
        out, err, code = await doors.command([*command, "--json"])
        assert code == 0, (command, err)
        told = json.loads(out)
        assert moved(json.loads(json.dumps(await doors.broker.call(action, params)))) == moved(told)
        assert moved((await doors.request(*request_)).json()) == moved(told)


def moved(document):
    """A document without when a table last moved."""
    return {key: value for key, value in document.items() if key != "modified_at"}


async def test_the_archive_is_the_same_for_each_door(doors, store):
    async def three(arguments, action, path, params):
        """Each on what the one before has left; a context that is archived is brought back."""
        out, err, code = await doors.command(["archive", *arguments, "--json"])
        assert code == 0, err
        yield json.loads(out)
        yield await doors.broker.call(action, params)
        yield (await doors.request("POST", path, params)).json()

    add = (["add", "--older-than", "0s"], "archive.add", "/api/archive", {"older_than": "0s"})
    dry = (*([*add[0], "--dry-run"], *add[1:3]), {**add[3], "dry_run": True})
    assert [each async for each in three(*dry)] == [{"trees": 1, "or_more": False}] * 3
    moved = []
    async for each in three(*add):
        moved.append(each)
        assert await store.archive.restore(doors.ids["done"]) == 1
    assert moved == [{"contexts": 1, "events": 2}] * 3
    forget = (["forget", "--older-than", "1d", "--yes"], "archive.forget", "/api/archive/forget")
    gone = [each async for each in three(*forget, {"older_than": "1d"})]
    assert gone == [{"contexts": 0, "events": 0}] * 3


async def test_a_host_is_cleaned_alike_by_each_door(doors):
    out, err, code = await doors.command(["clean", "--dry-run", "--json"])
    assert code == 0, err
    called = await doors.broker.call("upkeep.clean", {"dry_run": True})
    answer = await doors.request("POST", "/api/upkeep/clean", {"dry_run": True})
    assert json.loads(out) == called == answer.json() == {"runs": 0, "folders": 0, "bytes": 0}


async def test_what_a_subscription_parked_is_resumed_alike_by_each_door(doors, store):
    """Each lets a context of its own continue, and the subscription handles what it left."""
    contexts = await store.start([Start("shop.approval", {})] * 3)
    broken = True

    async def handle(_connection, event):
        if broken and event.context_id in contexts:
            raise ValueError("no mail today")

    subscription = store.log.subscription("mailer", handle)
    await subscription.catch_up()
    broken = False
    out, err, code = await doors.command(
        ["log", "resume", "mailer", str(contexts[0]), "--skip", "--json"]
    )
    assert code == 0, err
    params = {"context_id": contexts[1], "skip": True}
    called = await doors.broker.call("log.resume", {"subscription": "mailer", **params})
    body = {"context_id": contexts[2], "skip": True}
    answer = (await doors.request("POST", "/api/log/mailer/resume", body)).json()

    documents = [json.loads(out), called, answer]
    assert [each.pop("context_id") for each in documents] == contexts
    assert len({each.pop("position") for each in documents}) == 3
    assert documents == [{"subscription": "mailer"}] * 3
    await subscription.catch_up()
    assert await store.log.parked() == []


async def test_a_subscription_is_dropped_alike_by_each_door(doors, store):
    """Each forgets one of its own, with what it has parked; why is kept."""
    (context,) = await store.start([Start("shop.approval", {})])

    async def refuse(_connection, event):
        if event.context_id == context:
            raise ValueError("no mail today")

    for name in "abc":
        await store.log.subscription(name, refuse).catch_up()
    out, err, code = await doors.command(["log", "drop", "a", "--reason", "gone", "--json"])
    assert code == 0, err
    params = {"subscription": "b", "reason": "gone"}
    called = await doors.broker.call("log.drop", params)
    answer = (await doors.request("DELETE", "/api/log/c?reason=gone")).json()

    documents = [json.loads(out), called, answer]
    assert [each.pop("subscription") for each in documents] == [*"abc"]
    assert len({each.pop("position") for each in documents}) == 1
    assert documents == [{"parked": 1}] * 3
    assert await store.log.subscriptions() == []
    assert await store.log.parked() == []
    (year, *_) = await store.acts.contexts()
    told = [
        (act.type, act.payload["subscription"], act.meta["reason"])
        for act in await store.events(year)
        if act.type == "subscription/dropped"
    ]
    assert told == [("subscription/dropped", name, "gone") for name in "abc"]


async def test_the_installation_is_checked_alike_by_each_door(doors):
    """What is found may differ from one moment to the next: not what is looked at, nor how bad."""
    out, _, _ = await doors.command(["doctor", "--json"])
    called = await doors.broker.call("upkeep.doctor", {})
    answer = (await doors.request("GET", "/api/upkeep/doctor")).json()

    def judged(findings):
        return [(each["name"], each["level"]) for each in findings]

    assert judged(json.loads(out)) == judged(called) == judged(answer)
    assert called


async def test_a_secret_is_struck_out_alike_by_each_door(doors, store):
    """A variable names it, so that it is in no call; the act says who did it and why."""
    leaks = [{"text": f"password {os.environ['DAMA_LEAKED']}"}] * 3
    contexts = await store.start([Start("shop.approval", each) for each in leaks])
    out, err, code = await doors.command(
        ["scrub", str(contexts[0]), "--env", "DAMA_LEAKED", "--reason", "leaked", "--json"]
    )
    assert code == 0, err
    params = {"env": "DAMA_LEAKED", "reason": "leaked"}
    called = await doors.broker.call("upkeep.scrub", {**params, "context_id": contexts[1]})
    body = {**params, "context_id": contexts[2]}
    answer = (await doors.request("POST", "/api/upkeep/scrub", body)).json()

    documents = [json.loads(out), called, answer]
    acts = [each.pop("context_id") for each in documents]
    assert documents[0] == documents[1] == documents[2]
    assert len(set(acts)) == 3
    for context in contexts:
        assert (await store.events(context))[0].payload == {"text": "password ***"}
    for act in acts:
        assert (await store.events(act))[0].payload["reason"] == "leaked"


async def acts(doors, store, verb):
    """The same act through each door, each on a context of its own; returns their documents."""
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


async def test_a_queue_that_is_paused_and_resumed_keeps_who_and_why(doors, store):
    """The acts of the year have the same event, whichever door it came by."""
    for verb in ("pause", "resume"):
        _out, err, code = await doors.command(["queue", verb, "q", "--reason", "because"])
        assert code == 0, err
        await doors.broker.call(f"queues.{verb}", {"queue": "q", "reason": "because"})
        answer = await doors.client.post(f"/api/queues/q/{verb}", json={"reason": "because"})
        assert answer.status_code < 300, answer.text
    found = await doors.broker.call("log.latest_acts", {"limit": 6})
    context = found[0]["context_id"]
    events = [event for event in await store.events(context) if event.payload.get("queue") == "q"]
    assert len(events) == 6
    assert len({event.type for event in events}) == 2
    for event in events:
        assert event.meta["reason"] == "because"
        assert event.meta.get("user") or event.meta.get("node")
