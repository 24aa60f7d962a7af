"""The table of values at the doors that need a worker, HTTP or a bus: kept, or refused and said."""

import json
from typing import Any

import httpx
import psycopg
import pytest

from dama import Service, SyncTask, Task
from dama.app import App
from dama.broker.wire.values import NotJsonError, as_json
from dama.definitions.registry import Registry
from dama.domain.exact import decode
from dama.gateway.server import serving
from dama.gateway.settings import GatewaySettings
from dama.operations import tasks
from dama.operations.ends import Ends
from dama.shipped.node import node_of
from tests.plain_http import NO_TLS
from tests.values import KINDS, SAME, Refused, is_same

values = Service("values")
seen: dict[str, Any] = {}


@values.task
async def result(task: Task, name: str) -> Any:
    """Return a value."""
    return KINDS[name].value


@values.task
def result_of_thread(task: SyncTask, name: str) -> Any:
    """Return a value."""
    return KINDS[name].value


@values.task
async def step(task: Task, name: str) -> None:
    """Give a value back from a step."""
    seen[name] = await task.step("give", lambda: KINDS[name].value)


@values.task
async def transactional(task: Task, name: str) -> None:
    """Give a value back from a transactional step."""

    def give(connection: Any) -> Any:
        connection.execute("INSERT INTO given VALUES (%s)", [name])
        return KINDS[name].value

    seen[name] = await task.step("give", give, transactional=True)


@values.task
async def dispatched(task: Task, name: str) -> None:
    """Put a value into an event."""
    await task.dispatch("given", {"value": KINDS[name].value})


@values.task
async def logged(task: Task, name: str) -> None:
    """Put a value into a line of the history."""
    await task.log("given", value=KINDS[name].value)


@values.task
async def child(task: Task, value: Any) -> Any:
    """Return what was given."""
    return value


@values.task
async def parent(task: Task, name: str) -> None:
    """Give a value to a subtask and take it back."""
    seen[name] = await task.run(child, {"value": KINDS[name].value})


@values.action
async def give(call: Any, name: str) -> Any:
    """Give a value."""
    return KINDS[name].value


@values.action
async def give_within(call: Any, name: str) -> Any:
    """Give a value within rows."""
    return {"rows": [{"price": 1}, {"price": KINDS[name].value}]}


@pytest.fixture
async def app(store, tmp_path):
    """A process with a worker and a gateway."""
    seen.clear()
    async with store.database._pool.connection() as connection:
        await connection.execute("CREATE TABLE public.given (name text)")
    app = App(store, Registry([values]), tmp_path)
    async with (
        node_of(app, {}, ""),
        serving(app, GatewaySettings(port=0)) as address,
        httpx.AsyncClient(base_url=address, timeout=60, verify=NO_TLS) as client,
        app.working(),
    ):
        text = (tmp_path / "gateway.token").read_text().strip()
        client.headers["Authorization"] = f"Bearer {text}"
        yield app, client


async def outcomes_of(app, task, names):
    """Run a task for each name; the outcomes by name."""
    ids = {name: await tasks.start(app, task, {"name": name}) for name in names}
    ends = Ends(app)
    found = {id_: await ends.wait(id_) for id_ in ids.values()}
    await ends.close()
    return {name: found[id_] for name, id_ in ids.items()}


def judge(name, outcome, back):
    """What is wrong with an outcome; empty when it is that of the table."""
    kind = KINDS[name]
    wanted = kind.kept
    if isinstance(wanted, Refused):
        message = (outcome.error or {}).get("message", "")
        right = outcome.status == "ERROR" and wanted.words in message
        return "" if right else f"{name}: {outcome.status} {message[:200]}"
    if outcome.status != "DONE":
        return f"{name}: {outcome.status} {outcome.error['message'][:200]}"
    right = is_same(back, kind.value) if wanted is SAME else back == wanted
    return "" if right else f"{name}: came back as {back!r:.100}"


@pytest.mark.parametrize("task", ["values.result", "values.result_of_thread"])
async def test_a_result_is_kept_or_the_run_fails_and_says_why(app, task):
    """No value ends a run without an end, or is stored as something else."""
    found = await outcomes_of(app[0], task, KINDS)

    wrong = [judge(name, outcome, outcome.result) for name, outcome in found.items()]
    assert [line for line in wrong if line] == []


@pytest.mark.parametrize("task", ["values.step", "values.transactional", "values.parent"])
async def test_steps_and_subtasks_give_back_what_was_kept(app, task):
    """The first run gets the same as a replay would."""
    found = await outcomes_of(app[0], task, KINDS)

    wrong = [judge(name, outcome, seen.get(name)) for name, outcome in found.items()]
    assert [line for line in wrong if line] == []


async def test_a_refused_result_of_a_transactional_step_takes_its_sql_back(app, database_url):
    """What the step wrote and its event are one commit, and there is no event."""
    await outcomes_of(app[0], "values.transactional", ["zero", "NaN", "Decimal"])

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT name FROM given").fetchall() == [("zero",)]


@pytest.mark.parametrize("task", ["values.dispatched", "values.logged"])
async def test_an_event_of_a_run_holds_nothing_but_json(app, task):
    """With the path to what is not."""
    found = await outcomes_of(app[0], task, KINDS)

    wrong = []
    for name, outcome in found.items():
        kind = KINDS[name]
        wanted = kind.kept if kind.payload is None else kind.payload
        message = (outcome.error or {}).get("message", "")
        if isinstance(wanted, Refused) != (outcome.status == "ERROR"):
            wrong.append(f"{name}: {outcome.status} {message[:200]}")
        elif isinstance(wanted, Refused) and "payload.value" not in message:
            wrong.append(f"{name}: {message[:200]}")
    assert wrong == []


async def test_what_is_not_kept_exactly_is_said_in_the_event(app):
    """jsonb has no negative zero: the event says so beside the value."""
    _, client = app
    started = await client.post(
        "/api/tasks/values.result", json={"params": {"name": "negative zero"}}
    )
    id_ = started.json()["context_id"]
    await client.get(f"/api/tasks/{id_}/result")

    final = (await client.get(f"/api/contexts/{id_}/events")).json()["events"][-1]

    assert final["payload"] == 0
    assert final["meta"]["notes"] == [
        "payload: -0.0 is kept as 0.0; numbers of PostgreSQL have no negative zero."
    ]


def wire_of(name):
    """What the answer of an action is for a kind of value."""
    kind = KINDS[name]
    if kind.wire is not None:
        return kind.wire
    return kind.value if kind.kept is SAME else kind.kept


async def test_the_answer_of_an_action_is_what_json_has_for_it_or_an_error(app):
    """Over HTTP a NaN is not null, and what JSON has no form for is an error with its path."""
    _, client = app
    wrong = []
    for name in KINDS:
        answer = await client.post("/api/values/give_within", json={"name": name})
        wanted = wire_of(name)
        if isinstance(wanted, Refused):
            error = answer.json()
            right = answer.status_code == 500 and wanted.words in error["message"]
            right = right and "result" in error["message"] and error["code"] != 70
        elif isinstance(KINDS[name].kept, dict):
            right = answer.status_code == 200
        elif answer.status_code != 200:
            right = False
        else:
            back = decode(answer.content)["rows"][1]["price"]
            right = (
                is_same(back, wanted) or back == wanted or back == json.loads(as_json(wanted, ""))
            )
        if not right:
            wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")
    assert wrong == []


@pytest.mark.parametrize("name", KINDS)
def test_a_packet_of_the_bus_holds_the_same_as_an_answer(name):
    """One encoder writes both."""
    packet = {"sender": "a", "data": {"rows": [KINDS[name].value]}}
    wanted = wire_of(name)

    if isinstance(wanted, Refused):
        with pytest.raises(NotJsonError, match="packet") as caught:
            as_json(packet, "packet")
        assert wanted.words in str(caught.value)
    else:
        back = decode(as_json(packet, "packet"))["data"]["rows"][0]
        is_class = isinstance(KINDS[name].kept, dict)
        assert is_class or is_same(back, wanted) or back == wanted or back == list(wanted)


async def test_digits_go_through_http_and_come_out_as_they_were(app):
    """Into an event by POST, out of it by GET, and through an action."""
    _, client = app
    started = await client.post("/api/tasks/values.result", json={"params": {"name": "zero"}})
    id_ = started.json()["context_id"]
    number = "0.12345678901234567890123"
    async with app[0].store.database._pool.connection() as connection:
        await connection.execute("INSERT INTO _data_manager_admin.etl_context (task) VALUES (NULL)")
        await connection.execute(
            "SELECT _data_manager_admin.dispatch(%s, ':INITIAL', '{}')", [id_ + 1]
        )
    body = f'{{"event": {{"type": "given", "payload": [{number}, 1e2, 5e-324]}}}}'

    posted = await client.post(
        f"/api/events/{id_ + 1}", content=body, headers={"content-type": "application/json"}
    )
    read = await client.get(f"/api/contexts/{id_ + 1}/events")

    assert posted.status_code == 200, posted.text
    assert number in read.text
    assert decode(read.content)["events"][-1]["payload"] == [float(number), 100, 5e-324]
