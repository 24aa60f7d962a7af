"""OpenLineage: what runs read and wrote is sent, each time the same, whatever is away or killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from dama import Service, Task
from dama.app import App
from dama.config.config import load_config
from dama.definitions.registry import Registry
from dama.domain.schedule import Schedule
from dama.errors import UsageError
from dama.openlineage.exporting import NAME, Exporting
from dama.openlineage.settings import OpenLineageSettings, read_openlineage
from dama.operations import contexts, health
from dama.store import Start
from dama.testing import run
from dama.worker.scheduler import start_at
from tests.integration.lineage_schemas import hold

mart = Service("mart")
FIRING = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)
TABLES = """
CREATE TABLE readings (n int, celsius numeric(4, 1));
COMMENT ON COLUMN readings.celsius IS 'in the shade';
CREATE SCHEMA mart
"""


@mart.task(inputs=["s3://lab/raw"], outputs=["mart.daily", "readings"], retries=1, backoff=0)
async def build(task: Task) -> int:
    """Copies twice, has a subtask, and fails at first."""
    await task.copy("readings", [(1, 2), (2, 3)])
    if task.attempt == 1:
        raise ValueError("not yet")
    await task.step("make", made, {"table": "mart.daily", "rows": 7, "inputs": ["readings"]})
    await task.copy("readings", [(3, 4)])
    return await task.run(part)


@mart.task
async def part(task: Task) -> int:
    """A subtask."""
    return await task.run(detail)


@mart.task
async def detail(_: Task) -> int:
    """A subtask of it, which reads and writes nothing."""
    return 1


@mart.task
async def failing(_: Task) -> None:
    """Fails."""
    raise OSError("no such bucket")


@mart.task
async def waiting(task: Task) -> None:
    """Waits for what does not come."""
    await task.wait_for("never")


async def made(what: dict) -> dict:
    return what


class Collector:
    """Takes events over HTTP.

    Attributes:
        got: All events, in the order in which they came.
        status: What is answered.
    """

    def __init__(self, port: int = 0) -> None:
        self.got: list[dict] = []
        self.status = 201
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                collector.got.append(event)
                self.send_response(collector.answer(event))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, _: dict) -> int:
        """The status that an event is answered with."""
        return self.status

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    collector = Collector(port)
    try:
        yield collector
    finally:
        collector.close()


@pytest.fixture
def app(store, tmp_path):
    return App(store, Registry([mart]), tmp_path)


def to_file(tmp_path) -> OpenLineageSettings:
    transport = {"type": "file", "log_file_path": str(tmp_path / "events.json")}
    return OpenLineageSettings(transport, "lab", "postgres://dwh:5432")


async def exported(app, tmp_path) -> list[dict]:
    """All events, sent to a file."""
    reader = await Exporting(to_file(tmp_path)).subscription(app.store, from_beginning=True)
    await reader.catch_up()
    lines = (tmp_path / "events.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


async def until(reached) -> None:
    """Wait until something holds; what never comes is found by the limit of the test."""
    while not await reached():  # noqa: ASYNC110 - it is in a database, or with a server
        await asyncio.sleep(0.05)


async def worked(app, *ends: int) -> None:
    """Let a worker work until these contexts have ended, and then until it is idle."""

    async def have_ended() -> bool:
        return {(await app.store.context(each)).status for each in ends} <= {"DONE", "ERROR"}

    async with app.working() as worker:
        await until(have_ended)
        await worker.idle()


def told(events) -> list[tuple[str, str]]:
    return [(each["job"]["name"], each["eventType"]) for each in events]


@pytest.fixture
async def built(app, database_url, tmp_path):
    """The events of a task with subtasks that failed once, and of one that fails, by run."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLES)
    schedule = Schedule("nightly", "mart.build", cron="30 6 * * *", zone="UTC")
    started = [start_at(schedule, FIRING, app.registry), Start("mart.failing", {})]
    await worked(app, *await app.store.start(started))
    runs: dict[str, list[dict]] = {}
    for each in await exported(app, tmp_path):
        hold(each)
        runs.setdefault(each["run"]["runId"], []).append(each)
    return list(runs.values())


async def test_runs_are_told_with_what_they_read_and_wrote(built, database_url):
    """Each attempt is a run with a parent, an end and datasets; all fit the schemas."""
    hold_runs(built)
    hold_datasets(built, conninfo_to_dict(database_url)["dbname"])


def hold_runs(built):
    """Their kinds, their parents, their errors."""
    first, second = (run for run in built if told(run)[0][0] == "mart.build")
    assert [each["eventType"] for each in first] == ["START", "RUNNING", "FAIL"]
    kinds = [each["eventType"] for each in second]
    assert (kinds[0], kinds[-1]) == ("START", "COMPLETE")
    assert set(kinds[1:-1]) == {"RUNNING"}  # what steps wrote; and that it was back from its wait
    of = {told(run)[0][0]: run for run in built}
    assert told(of["mart.failing"]) == [("mart.failing", "START"), ("mart.failing", "FAIL")]
    assert told(of["mart.detail"]) == [("mart.detail", "START"), ("mart.detail", "COMPLETE")]

    facets = second[-1]["run"]["facets"]
    assert facets["nominalTime"]["nominalStartTime"] == "2026-03-01T06:30:00.000000Z"
    assert "parent" not in facets
    error = first[-1]["run"]["facets"]["errorMessage"]
    assert (error["message"], error["programmingLanguage"]) == ("ValueError: not yet", "python")
    assert "not yet" in error["stackTrace"]
    parent = of["mart.detail"][-1]["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == of["mart.part"][0]["run"]["runId"]
    assert parent["root"]["run"]["runId"] == second[0]["run"]["runId"]
    assert parent["root"]["job"]["name"] == "mart.build"


def hold_datasets(built, name):
    """Those that the task declares and those that its steps say, with their rows and columns."""
    *_, second = (run for run in built if told(run)[0][0] == "mart.build")
    ended = second[-1]
    assert [(each["namespace"], each["name"]) for each in ended["inputs"]] == [
        ("s3://lab", "raw"),
        ("postgres://dwh:5432", f"{name}.public.readings"),
    ]
    outputs = {each["name"].removeprefix(f"{name}."): each for each in ended["outputs"]}
    assert set(outputs) == {"mart.daily", "public.readings"}
    rows = {n: each["outputFacets"]["outputStatistics"]["rowCount"] for n, each in outputs.items()}
    assert rows == {"mart.daily": 7, "public.readings": 1}  # the others were of the first attempt
    fields = outputs["public.readings"]["facets"]["schema"]["fields"]
    assert [(each["name"], each["type"], each.get("description")) for each in fields] == [
        ("n", "integer", None),
        ("celsius", "numeric(4,1)", "in the shade"),
    ]
    assert not outputs["mart.daily"].get("facets")  # there is no such table


async def test_what_is_cancelled_is_aborted_unless_it_never_began(app, tmp_path):
    """Of a run that never began nothing is known elsewhere."""
    begun, never = await app.store.start(
        [Start("mart.waiting", {}), Start("mart.waiting", {}, delay=3600)]
    )

    async def is_started() -> bool:
        return (await app.store.context(begun)).version > 1

    async with app.working():
        await until(is_started)
        await contexts.cancel(app, begun)
        await contexts.cancel(app, never)

    events = await exported(app, tmp_path)
    assert told(events) == [("mart.waiting", "START"), ("mart.waiting", "ABORT")]
    assert len({each["run"]["runId"] for each in events}) == 1


async def test_an_attempt_that_another_worker_continues_is_one_run(app, database_url, tmp_path):
    """The second epoch is no second run, but a failure begins another."""
    run(detail, database=database_url, crash_after="STARTED")

    events = await exported(app, tmp_path)
    assert [each["eventType"] for each in events] == ["START", "RUNNING", "COMPLETE"]
    assert len({each["run"]["runId"] for each in events}) == 1


async def test_what_is_away_stops_no_run_and_gets_all_when_it_is_back(app, monkeypatch):
    """The doctor says it meanwhile, and no more after that."""
    monkeypatch.setattr("dama.duty.LONGEST_PAUSE", 0.2)
    with collecting() as collector:
        url = collector.url
    app.openlineage = OpenLineageSettings({"type": "http", "url": url})

    async def troubled() -> bool:
        return any(each.name == "worker" for each in await health.examine(app))

    async def well() -> bool:
        return len(collector.got) > 1 and not await troubled()

    (context_id,) = await app.store.start([Start("mart.detail", {})])
    await app.store.database.rows("create_subscription", {"name": NAME, "lanes": 1, "after": 0})
    async with app.working():
        await until(troubled)
        found = next(each for each in await health.examine(app) if each.name == "worker")
        assert found.level == "fail"
        assert f"Events of OpenLineage wait, since {url} does not take them" in found.found

        with collecting(int(url.rpartition(":")[2])) as collector:
            await until(well)
    assert told(collector.got) == [("mart.detail", "START"), ("mart.detail", "COMPLETE")]
    assert (await app.store.context(context_id)).status == "DONE"


async def test_what_is_refused_waits_alone(app):
    """An event that is refused for what it is parks its context; the others are sent."""
    await worked(app, *await app.store.start([Start("mart.failing", {}), Start("mart.detail", {})]))
    with collecting() as collector:
        collector.answer = lambda e: 422 if e["job"]["name"] == "mart.failing" else 201
        settings = OpenLineageSettings({"type": "http", "url": collector.url})
        reader = await Exporting(settings).subscription(app.store, from_beginning=True)
        await reader.catch_up()

    done = [each for each in told(collector.got) if each[0] == "mart.detail"]
    assert set(done) == {("mart.detail", "START"), ("mart.detail", "COMPLETE")}
    (parked,) = await app.store.log.parked()
    assert (parked.subscription, "422" in parked.error["message"]) == (NAME, True)


def started(folder, url: str) -> subprocess.Popen:
    """`dama openlineage` in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "dama.cli", "openlineage", "--all", "--once"],
        cwd=folder,
        env=os.environ | {"DAMA_DATABASE_URL": url},
        stderr=subprocess.PIPE,
    )


async def test_who_sends_may_be_killed_at_any_event(app, database_url, tmp_path):
    """All is sent at least once, in its order, with the same ids and the same content."""
    await worked(app, *await app.store.start([Start("mart.part", {}), Start("mart.failing", {})]))
    wanted = await exported(app, tmp_path)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE _data_manager_admin.subscription_lane SET position = 0")
    with collecting() as collector:
        killed: list[int] = []
        sender: list[subprocess.Popen] = []

        def answer(_: dict) -> int:
            if len(collector.got) in {2, 7}:
                killed.append(sender[-1].pid)
                os.kill(sender[-1].pid, signal.SIGKILL)
            return 201

        collector.answer = answer
        (tmp_path / "dama.toml").write_text(
            f'[openlineage]\nnamespace = "lab"\ndatasets = "postgres://dwh:5432"\n'
            f'[openlineage.transport]\ntype = "http"\nurl = "{collector.url}"\n'
        )
        for _ in range(3):
            sender.append(started(tmp_path, database_url))
            _, errors = await asyncio.to_thread(sender[-1].communicate)
    assert len(killed) == 2
    assert sender[-1].returncode == 0, errors
    firsts = list({json.dumps(each, sort_keys=True): each for each in collector.got}.values())
    assert firsts == wanted


def test_wrong_settings_are_refused(tmp_path, monkeypatch):
    """With the key that is wrong, before anything runs."""
    monkeypatch.chdir(tmp_path)
    for text, words in [
        ("transport = {}", "transport"),
        ("transport = { type = 1 }", "a table with a type"),
        ('transport = { type = "console" }\nnamespaces = "x"', "Did you mean 'namespace'"),
        ('transport = { type = "console" }\nfilters = ["x"]', "a list of tables"),
    ]:
        (tmp_path / "dama.toml").write_text(f"[openlineage]\n{text}\n")
        with pytest.raises(UsageError, match="openlineage") as refused:
            read_openlineage(load_config())
        assert words in f"{refused.value} {refused.value.hint}"
    for transport in ({"type": "http"}, {"type": "no.such.Transport"}, {"type": "file"}):
        with pytest.raises(UsageError, match="cannot be used"):
            Exporting(OpenLineageSettings(transport))


def test_a_broken_event_does_not_fit_the_schemas():
    """What holds the others."""
    facet = {"_producer": "https://x", "_schemaURL": "https://openlineage.io/spec/facets/1-0-1/"
             "ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet"}  # fmt: skip
    event = {
        "eventTime": "2026-03-01T06:30:00Z", "producer": "https://x", "eventType": "FAIL",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "01890a5d-ac96-774b-bcce-b302099a8057", "facets": {}},
        "job": {"namespace": "lab", "name": "a.b"},
    }  # fmt: skip
    hold(event)
    for broken in (
        event | {"run": {"runId": "7"}},
        event | {"eventType": "DONE"},
        event | {"job": {"name": "a.b"}},
        event | {"rows": 7},
        event | {"eventTime": "yesterday"},
        event | {"run": event["run"] | {"facets": {"errorMessage": facet}}},
        event | {"run": event["run"] | {"facets": {"errorMessage": facet | {
            "message": 7, "programmingLanguage": "python"}}}},
    ):  # fmt: skip
        with pytest.raises((AssertionError, ValueError)):
            hold(broken)
