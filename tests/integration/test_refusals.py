"""What a verb refuses, each door refuses: a right that is missing, a value that cannot be."""

import json

import psycopg
import pytest

from dama.broker.errors import error_document
from dama.domain.lifecycle import lifecycle
from dama.errors import DamaError
from dama.store import Store
from dama.store.grants import grants
from tests.conftest import create_role, url_of

from .doors import doors_of

MOST = 2**63 - 1
USAGE = 2  # the exit code
CRON = "0 4 * * *"

# Each verb that changes something: what is typed, what is called, what is requested.
WRITES = [
    (["run", "shop.double", "--n", "1", "--enqueue"], "tasks.start",
     {"name": "shop.double", "params": {"n": 1}},
     ("POST", "/api/tasks/shop.double", {"params": {"n": 1}})),
    (["cancel", "{open}"], "tasks.cancel", {"context_id": "{open}"},
     ("POST", "/api/tasks/{open}/cancel", {})),
    (["resume", "{done}", "--enqueue"], "tasks.resume", {"context_id": "{done}"},
     ("POST", "/api/tasks/{done}/resume", {})),
    (["fork", "{done}", "--at", "{first}", "--enqueue"], "tasks.fork",
     {"context_id": "{done}", "at": "{first}"},
     ("POST", "/api/tasks/{done}/fork", {"at": "{first}"})),
    (["emit", "{open}", "go"], "events.dispatch", {"context_id": "{open}", "event": {"type": "go"}},
     ("POST", "/api/events/{open}", {"event": {"type": "go"}})),
    (["log", "resume", "mailer", "{open}"], "log.resume",
     {"subscription": "mailer", "context_id": "{open}"},
     ("POST", "/api/log/mailer/resume", {"context_id": "{open}"})),
    (["scrub", "{open}", "--env", "DAMA_LEAKED"], "upkeep.scrub",
     {"env": "DAMA_LEAKED", "context_id": "{open}"},
     ("POST", "/api/upkeep/scrub", {"env": "DAMA_LEAKED", "context_id": "{open}"})),
    (["queue", "pause", "etl"], "queues.pause", {"queue": "etl"},
     ("POST", "/api/queues/etl/pause", {})),
    (["queue", "resume", "etl"], "queues.resume", {"queue": "etl"},
     ("POST", "/api/queues/etl/resume", {})),
    (["queue", "limit", "etl", "--concurrency", "2"], "queues.limit",
     {"queue": "etl", "concurrency": 2}, ("POST", "/api/queues/etl/limit", {"concurrency": 2})),
    (["schedule", "add", "new", "shop.approval", "--cron", CRON], "schedules.add",
     {"name": "new", "task": "shop.approval", "cron": CRON},
     ("POST", "/api/schedules", {"name": "new", "task": "shop.approval", "cron": CRON})),
    (["schedule", "pause", "nightly"], "schedules.pause", {"name": "nightly"},
     ("POST", "/api/schedules/nightly/pause", {})),
    (["schedule", "resume", "nightly"], "schedules.resume", {"name": "nightly"},
     ("POST", "/api/schedules/nightly/resume", {})),
    (["schedule", "backfill", "nightly", "--from", "2026-01-01", "--to", "2026-01-03"],
     "schedules.backfill", {"name": "nightly", "begin": "2026-01-01", "end": "2026-01-03"},
     ("POST", "/api/schedules/nightly/backfill", {"begin": "2026-01-01", "end": "2026-01-03"})),
    (["schedule", "rm", "nightly"], "schedules.remove", {"name": "nightly"},
     ("DELETE", "/api/schedules/nightly", None)),
    (["slice", "materialise", "lifecycle", "--once"], "slices.materialise", {"name": "lifecycle"},
     ("POST", "/api/slices/lifecycle", {})),
    (["slice", "drop", "lifecycle"], "slices.drop", {"name": "lifecycle"},
     ("DELETE", "/api/slices/lifecycle", None)),
    (["log", "drop", "mailer"], "log.drop", {"subscription": "mailer"},
     ("DELETE", "/api/log/mailer", None)),
    (["archive", "add", "--older-than", "0s"], "archive.add", {"older_than": "0s"},
     ("POST", "/api/archive", {"older_than": "0s"})),
    (["archive", "restore", "{done}"], "archive.restore", {"context_id": "{done}"},
     ("POST", "/api/archive/{done}/restore", {})),
    (["archive", "forget", "--older-than", "1d", "--yes"], "archive.forget", {"older_than": "1d"},
     ("POST", "/api/archive/forget", {"older_than": "1d"})),
]  # fmt: skip
NO_WRITE = {
    "contexts.import_run",  # of a file that is sent; what_if and check only read
    "contexts.what_if",
    "tasks.check",
    "tasks.fork_all",  # forks
    "tasks.run",  # a start, and a wait
    "upkeep.clean",  # of folders of this host
}


def of_a_start(option, value):
    """A start with a value that cannot be."""
    params = {"params": {"n": 1}, option: value}
    return (
        ["run", "shop.double", "--n", "1", "--enqueue", f"--{option}", str(value)],
        "tasks.start",
        {"name": "shop.double", **params},
        ("POST", "/api/tasks/shop.double", params),
    )


def of_a_schedule(name="new", task="shop.approval", cron=CRON, **more):
    """A schedule that cannot be."""
    options = [word for key, value in more.items() for word in (f"--{key}", str(value))]
    params = {"name": name, "task": task, "cron": cron, **more}
    command = ["schedule", "add", name, task, "--cron", cron, *options]
    return command, "schedules.add", params, ("POST", "/api/schedules", params)


def of_a_queue(value, option=None, queue="etl"):
    """A change of a queue that cannot be."""
    body = {option: value}
    command = ["queue", "limit", queue, f"--{option}", str(value)]
    request_ = ("POST", f"/api/queues/{queue}/limit", body)
    return command, "queues.limit", {"queue": queue, **body}, request_


# What the verb itself refuses: the same document from each door.
WRONG = [
    of_a_start("queue", ""),
    of_a_start("key", ""),
    of_a_start("key", "k" * 1001),
    of_a_start("priority", 2**31),
    of_a_start("priority", -(2**31) - 1),
    of_a_schedule(name=""),
    of_a_schedule(task="shop.aproval"),
    of_a_schedule(cron="61 4 * * *"),
    of_a_schedule(zone="Mars/Olympus"),
    of_a_schedule(jitter=-5.0),
    of_a_schedule(jitter=1e300),
    of_a_queue(-1, "concurrency"),
    of_a_queue(2**31, "concurrency"),
    of_a_queue(-0.5, "rate"),
    of_a_queue(1e300, "rate"),
    of_a_queue(1e-300, "rate"),
    *((["activity", "--hours", str(n)], "workers.activity", {"hours": n},
       ("GET", f"/api/workers/activity?hours={n}", None)) for n in (0, -5, 169, 2**70)),
    (["emit", "{open}", ""], "events.dispatch", {"context_id": "{open}", "event": {"type": ""}},
     ("POST", "/api/events/{open}", {"event": {"type": ""}})),
    (["emit", "{open}", "x" * 1001], "events.dispatch",
     {"context_id": "{open}", "event": {"type": "x" * 1001}},
     ("POST", "/api/events/{open}", {"event": {"type": "x" * 1001}})),
    (["cancel", "{open}", "--reason", "a\0b"], "tasks.cancel",
     {"context_id": "{open}", "reason": "a\0b"},
     ("POST", "/api/tasks/{open}/cancel", {"reason": "a\0b"})),
    (["queue", "pause", "a\0b"], "queues.pause", {"queue": "a\0b"},
     ("POST", "/api/queues/a%00b/pause", {})),
    (["scrub", "--all", "--env", ""], "upkeep.scrub", {"env": "", "all": True},
     ("POST", "/api/upkeep/scrub", {"env": "", "all": True})),
    *((["schedule", "backfill", "nightly", "--from", "2026-01-03", "--to", end],
       "schedules.backfill", {"name": "nightly", "begin": "2026-01-03", "end": end},
       ("POST", "/api/schedules/nightly/backfill", {"begin": "2026-01-03", "end": end}))
      for end in ("2026-01-01", "2026-01-03")),
    *((None, "contexts.list", {"since": "2026-01-03T00:00Z", "until": until},
       ("GET", f"/api/contexts?since=2026-01-03T00:00Z&until={until}", None))
      for until in ("2026-01-01T00:00Z", "2026-01-03T00:00Z")),
    (None, "queues.history", {"hours": 0}, ("GET", "/api/queues/history?hours=0", None)),
    (None, "queues.pause", {"queue": ""}, None),
    (None, "queues.resume", {"queue": ""}, None),
    (["queue", "resume", ""], "queues.resume", {"queue": ""}, None),
]  # fmt: skip


def of_contexts():
    """A number that no context has, for each verb that takes one: 0, too large, and no number."""
    for value in (0, MOST + 1, "x", 1.5):
        for command, action, path in (
            (["show"], "contexts.get", ("GET", "/api/contexts/{}")),
            (["queue", "why"], "contexts.why", ("GET", "/api/contexts/{}/why")),
            (["tree"], "contexts.tree", ("GET", "/api/contexts/{}/tree")),
            (["timeline"], "contexts.timeline", ("GET", "/api/contexts/{}/timeline")),
            (["events"], "contexts.events", ("GET", "/api/contexts/{}/events")),
            (None, "contexts.find", ("GET", "/api/contexts/{}/events/find")),
            (["state"], "contexts.state", ("GET", "/api/contexts/{}/state")),
            (["diff", "--at", "1"], "contexts.diff", ("GET", "/api/contexts/{}/diff")),
            (["logs"], "contexts.logs", None),
            (None, "contexts.children", ("GET", "/api/contexts/{}/children")),
            (None, "contexts.export", ("GET", "/api/contexts/{}/export")),
            (None, "tasks.wait", ("GET", "/api/tasks/{}/result")),
            (["cancel"], "tasks.cancel", ("POST", "/api/tasks/{}/cancel")),
            (["resume", "--enqueue"], "tasks.resume", ("POST", "/api/tasks/{}/resume")),
            (["fork", "--at", "1", "--enqueue"], "tasks.fork", ("POST", "/api/tasks/{}/fork")),
            (["archive", "restore"], "archive.restore", ("POST", "/api/archive/{}/restore")),
        ):
            method, template = path or ("", "")
            body = {} if method == "POST" else None
            yield (
                command and [*command, str(value)],
                action,
                {"context_id": value},
                path and (method, template.format(value), body),
            )


# What each door cannot read as what it should be: refused before the verb is asked, in the words
# of the door. Of the params the action and HTTP say the same.
UNREADABLE = [
    *of_contexts(),
    of_a_start("priority", "x"),
    of_a_start("delay", "5 parsecs"),
    of_a_schedule(overlap="perhaps"),
    of_a_schedule(jitter="long"),
    of_a_queue("many", "concurrency"),
    of_a_queue("fast", "rate"),
    (["run", "shop.double", "--n", "x", "--enqueue"], "tasks.start",
     {"name": "shop.double", "params": {"n": "x"}},
     ("POST", "/api/tasks/shop.double", {"params": {"n": "x"}})),
    (None, "tasks.run", {"name": "shop.double", "params": {"n": "x"}}, None),
    *((None, "contexts.suppose", {"context_id": "{open}", "event": event},
       ("GET", f"/api/contexts/{{open}}/suppose?event={event}", None)) for event in ("x", 0)),
    (["emit", "{open}", "go", "--expect", "-1"], "events.dispatch",
     {"context_id": "{open}", "event": {"type": "go"}, "expected": -1},
     ("POST", "/api/events/{open}", {"event": {"type": "go"}, "expected": -1})),
    (["log", "resume", "mailer", "0"], "log.resume", {"subscription": "mailer", "context_id": 0},
     ("POST", "/api/log/mailer/resume", {"context_id": 0})),
    (["log", "acts", "--limit", "0"], "log.latest_acts", {"limit": 0},
     ("GET", "/api/log/acts?limit=0", None)),
    (["lineage", "mart.orders", "--last", "0"], "tables.lineage",
     {"table": "mart.orders", "last": 0}, ("GET", "/api/tables/mart.orders/lineage?last=0", None)),
    (["scrub", "0", "--env", "DAMA_LEAKED"], "upkeep.scrub",
     {"env": "DAMA_LEAKED", "context_id": 0},
     ("POST", "/api/upkeep/scrub", {"env": "DAMA_LEAKED", "context_id": 0})),
    (["schedule", "backfill", "nightly", "--from", "x", "--to", "2026-01-02"],
     "schedules.backfill", {"name": "nightly", "begin": "x", "end": "2026-01-02"},
     ("POST", "/api/schedules/nightly/backfill", {"begin": "x", "end": "2026-01-02"})),
    (["ls", "--status", "NOPE"], "contexts.list", {"status": "NOPE"},
     ("GET", "/api/contexts?status=NOPE", None)),
    (["ls", "--limit", "0"], "contexts.list", {"limit": 0}, ("GET", "/api/contexts?limit=0", None)),
    (["ls", "--before", str(MOST + 1)], "contexts.list", {"before": MOST + 1},
     ("GET", f"/api/contexts?before={MOST + 1}", None)),
    (["events", "--all", "--from", "0"], "events.read", {"limit": 0},
     ("GET", "/api/events?limit=0", None)),
    (["whatif", "lifecycle", "--module", "tests.integration.shop", "--sample", "0"],
     "contexts.what_if",
     {"slice": "lifecycle", "module": "tests.integration.shop", "sample": 0},
     ("POST", "/api/contexts/whatif",
      {"slice": "lifecycle", "module": "tests.integration.shop", "sample": 0})),
    (["check", "shop.approval", "--sample", "0"], "tasks.check",
     {"name": "shop.approval", "sample": 0},
     ("POST", "/api/tasks/shop.approval/check", {"sample": 0})),
    (["fork", "--where", "task=shop.double", "--at-step", "x", "--limit", "0"], "tasks.fork_all",
     {"where": {"task": "shop.double"}, "step": "x", "limit": 0},
     ("POST", "/api/tasks/fork", {"where": {"task": "shop.double"}, "step": "x", "limit": 0})),
    (None, "contexts.import_run", {"again": "perhaps"}, None),
    (None, "slices.materialise", {"name": "lifecycle", "rebuild": "perhaps"},
     ("POST", "/api/slices/lifecycle", {"rebuild": "perhaps"})),
    (["archive", "add", "--older-than", "long"], "archive.add", {"older_than": "long"},
     ("POST", "/api/archive", {"older_than": "long"})),
    (["archive", "forget", "--older-than", "-1d", "--yes"], "archive.forget",
     {"older_than": "-1d"}, ("POST", "/api/archive/forget", {"older_than": "-1d"})),
    (["clean", "--older-than", "long"], "upkeep.clean", {"older_than": "long"},
     ("POST", "/api/upkeep/clean", {"older_than": "long"})),
]  # fmt: skip

# Their params are names, which may be any text: nothing of the name is an error, of another test.
OF_NAMES = {
    "schedules.get", "schedules.pause", "schedules.resume", "schedules.remove", "slices.drop",
    "log.drop",
}  # fmt: skip


@pytest.fixture
async def doors(store, tmp_path, monkeypatch, database_url, capsys):
    """On the test's own database."""
    async with doors_of(store, tmp_path, monkeypatch, capsys, database_url) as doors:
        yield doors


async def refusals(doors, command, action, params, request_):
    """What each door says: as a document, with the exit code or the status beside it."""
    found = {}
    if command:
        out, err, code = await doors.command([*command, "--json"])
        assert code, (command, out, err)
        found["command"] = (json.loads(out)["error"], code)
    with pytest.raises(DamaError) as refused:
        await doors.broker.call(action, doors.named(params))
    document = json.loads(json.dumps(error_document(refused.value)))
    found["action"] = (document, document["code"])
    if request_:
        answer = await doors.request(*request_)
        document = answer.json()
        assert document.pop("request_id"), request_
        found["http"] = (document, answer.status_code)
    return found


async def test_a_value_that_cannot_be_is_the_same_error_at_each_door(doors):
    for verb in WRONG:
        found = await refusals(doors, *verb)
        (document, _), *others = found.values()
        assert all(other == document for other, _ in others), (verb, found)
        assert 400 <= document["code"] < 500, (verb, document)
        if "http" in found:
            assert found["http"][1] == document["code"], verb


async def test_what_a_door_cannot_read_it_refuses_before_the_verb_is_asked(doors):
    for verb in UNREADABLE:
        found = await refusals(doors, *verb)
        if "command" in found:
            document, code = found["command"]
            assert (code, document["code"]) == (USAGE, 400), (verb, document)
        said = [as_read(found[door][0]) for door in ("action", "http") if door in found]
        assert len({json.dumps(each) for each in said}) == 1, (verb, said)
        assert said[0]["code"] in (400, 422), (verb, said)


def as_read(document):
    """A refusal without how the value was written: a number, or the text of a path."""
    fields = [each["field"] for each in document["data"] or []]
    return {"type": document["type"], "code": document["code"], "fields": fields}


async def test_a_right_that_is_missing_is_the_same_error_at_each_door(
    store, server, database_url, tmp_path, monkeypatch, capsys
):
    """Each is tried by a role that only reads: nothing changes, and the error says what helps."""
    role = "reader_at_doors"
    create_role(server, role)
    with psycopg.connect(database_url) as connection:
        for statement in await grants(database_url, role, "reader"):
            connection.execute(statement)
        # Without tokens of its own no gateway starts.
        connection.execute(f"GRANT ALL ON _data_manager_admin.token TO {role}")
        url = url_of(server, connection.info.dbname, role)
    async with (
        Store.opened(url) as reader,
        doors_of(reader, tmp_path, monkeypatch, capsys, url, keeper=store) as doors,
    ):
        doors.ids["first"] = (await store.events(doors.ids["done"]))[0].event_id
        await store.slice_tables.begin(lifecycle)
        before = await store.log.position()
        for verb in WRITES:
            found = await refusals(doors, *verb)
            (document, _), *others = found.values()
            assert document["type"] == "MISSING_RIGHT", (verb, found)
            assert "dama db grants" in document["hint"] or "as the owner" in document["hint"], verb
            assert all(other == document for other, _ in others), (verb, found)
        assert await store.log.position() == before


async def test_a_viewer_changes_nothing_by_any_verb(doors, store):
    """The token of somebody who may only read is refused before the params are looked at."""
    token = await store.tokens.add("looker", "viewer", "tests")
    doors.client.headers["Authorization"] = f"Bearer {token}"
    doors.ids["first"] = (await store.events(doors.ids["done"]))[0].event_id
    for _, action, _, (method, path, body) in WRITES:
        for given in (body, {"no such": "param"}):
            answer = await doors.request(method, path, given)
            assert (answer.status_code, answer.json()["type"]) == (403, "FORBIDDEN"), action


async def test_each_verb_is_refused_here(doors):
    """Whoever adds one adds it to the tables."""
    listed = await doors.broker.call("$node.actions", {"onlyLocal": True, "skipInternal": True})
    shipped = {e["name"]: e["action"] for e in listed if not e["name"].startswith("shop.")}
    takes = {name for name, described in shipped.items() if described.get("params")}
    writes = {name for name, described in shipped.items() if described.get("scope") != "viewer"}

    assert writes == {action for _, action, _, _ in WRITES} | NO_WRITE
    assert takes == {action for _, action, _, _ in [*WRONG, *UNREADABLE]} | OF_NAMES
