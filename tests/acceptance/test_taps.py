"""Taps under `dama worker`: whatever is killed when, what is loaded is what was extracted, once."""

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress

import pytest

from tests.acceptance.programs import Project
from tests.integration.programs import wait_until

pytestmark = pytest.mark.timeout(300)

# Orders with a key, and a log without one; slow enough to be killed in the middle.
TAP = """
import json, os, sys, time
gate, total = sys.argv[1], 4000
args = dict(zip(sys.argv[2::2], sys.argv[3::2]))
begin = json.load(open(args["--state"]))["next"] if "--state" in args else 0
assert json.load(open(args["--config"])) == {"token": "hunter2hunter2", "most": 7}
print("extracting from", begin, "with hunter2hunter2", file=sys.stderr, flush=True)
for stream, keys in (("orders", ["id"]), ("log", [])):
    message = {"type": "SCHEMA", "stream": stream, "key_properties": keys}
    properties = {"id": {"type": "integer"}, "lines": {"type": "array"}}
    print(json.dumps({**message, "schema": {"properties": properties}}))
for n in range(begin, total):
    row = {"id": n % 700, "lines": [n]}
    print(json.dumps({"type": "RECORD", "stream": "orders", "record": row}))
    print(json.dumps({"type": "RECORD", "stream": "log", "record": {**row, "id": n}}))
    if n % 20 == 19:
        print(json.dumps({"type": "STATE", "value": {"next": n + 1}}), flush=True)
        if not os.path.exists(gate):
            time.sleep(0.02)
"""


@pytest.fixture
def project(tmp_path, database_url, forked, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "hunter2hunter2")
    project = Project(tmp_path, database_url, forked)
    project.declare(
        "sync",
        *(sys.executable, "-I", "-S", "-c", TAP, str(project.gate)),
        kind="singer", schema="shop", secrets=["SHOP_TOKEN"], retries=30, backoff=0.05,
        max_backoff=0.05,
    )  # fmt: skip
    toml = tmp_path / "dama.toml"
    toml.write_text(toml.read_text() + '\nconfig = { token = "{SHOP_TOKEN}", most = 7 }\n')
    yield project
    project.close()


def loaded(project):
    """How many rows are there."""
    with suppress(Exception):
        return project.database.execute("SELECT count(*) FROM shop.log").fetchone()[0]
    return 0


def test_loaders_and_workers_that_are_killed_lose_and_double_nothing(project):
    """Each in the middle of a load; the run continues at its last state."""
    chance = random.Random(7)
    context = project.enqueue("sync")
    project.worker()
    directory = project.directory(context)
    for number in range(6):
        at = loaded(project)
        wait_until(lambda at=at: loaded(project) > at)
        time.sleep(chance.random() / 10)
        if number % 2:
            project.kill_worker()
            project.worker()
        directory = project.directory(context)
        with suppress(ProcessLookupError, TypeError):
            os.kill(directory.pid(), signal.SIGKILL)
    project.gate.touch()
    wait_until(lambda: project.types(context)[-1] in {"FINAL", "ERROR"}, "end")

    assert project.types(context)[-1] == "FINAL"
    rows = project.database.execute("SELECT id, lines FROM shop.log ORDER BY id").fetchall()
    assert rows == [(n, [n]) for n in range(4000)]
    rows = project.database.execute("SELECT id, lines FROM shop.orders ORDER BY id").fetchall()
    assert rows == [(n, [n + 700 * ((3999 - n) // 700)]) for n in range(700)]
    assert project.types(context).count("RETRYING") >= 3
    told = json.dumps(project.events(context)) + project.directory(context).stderr.read_text()
    assert "hunter2" not in told


def test_a_tap_that_is_cancelled_is_ended_and_loads_no_more(project):
    context = project.enqueue("sync")
    project.worker()
    wait_until(lambda: loaded(project) > 0)
    directory = project.directory(context)
    project.dama("cancel", str(context))
    wait_until(directory.exit)
    assert directory.exit()["why"] == "cancelled"
    count = loaded(project)
    kept = project.database.execute(
        "SELECT state::json ->> 'next' FROM _data_manager_admin.tap_state"
    ).fetchone()
    assert kept == (str(count),)
