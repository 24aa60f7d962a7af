"""Undeclared commands: only the worker's own user has one run, whichever door another tries."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dama.app import App
from dama.config.private_file import PrivateFileError
from dama.definitions.adhoc import adhoc
from dama.definitions.errors import UndeclaredCommandError
from dama.definitions.registry import Registry
from dama.domain.schedule import Schedule
from dama.operations import contexts, schedules, tasks
from dama.run.commands import Commands
from dama.run.starts import start_of
from dama.shipped.node import node_of
from tests.integration.served import served

NOBODY = 65534


@pytest.fixture
def home() -> Path:
    return Path(os.environ["DAMA_HOME"])


@pytest.fixture
def app(store, home):
    return App(store, Registry([]), home)


def params_of(path: Path) -> dict:
    return {"command": ["touch", str(path)], "cwd": None, "env": None}


async def ended(app, context_id):
    """Let a worker run it; give its outcome."""
    async with app.working():
        return await over(app, context_id)


async def over(app, context_id):
    async with asyncio.timeout(60):
        while (outcome := await contexts.outcome(app, context_id)).status == "OPEN":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return outcome


async def test_the_user_of_the_worker_has_a_command_run(app, home, tmp_path):
    context = await tasks.start(app, adhoc.name, params_of(tmp_path / "made"), undeclared=True)
    assert (await ended(app, context)).status == "DONE"
    assert (tmp_path / "made").exists()
    key = home / "commands.key"
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)


async def test_a_start_without_the_right_is_refused_at_each_door(app, store, home, tmp_path):
    """HTTP with the token of an admin, actions, Python, schedules, subtasks: none is a shell."""
    made = tmp_path / "made"
    params = params_of(made)
    with pytest.raises(UndeclaredCommandError):
        await tasks.start(app, adhoc.name, params)
    with pytest.raises(UndeclaredCommandError):
        start_of(adhoc, params)  # of subtasks and of `start_many`
    with pytest.raises(UndeclaredCommandError):
        await schedules.add(app, Schedule("s", adhoc.name, "* * * * *", params=params))
    async with node_of(app, {}, "") as node:
        broker = await node.broker()
        for action in ("tasks.start", "tasks.run"):
            for meta in ({}, {"$commands": True, "undeclared": True, "user": "root"}):
                with pytest.raises(UndeclaredCommandError):
                    await broker.call(action, {"name": adhoc.name, "params": params}, meta=meta)
    admin = {"Authorization": f"Bearer {await store.tokens.add('a', 'admin', 'tests')}"}
    async with served(store, home, working=False) as client:
        for path, body in (
            ("/api/tasks/programs.run", {"params": params}),
            ("/api/tasks/programs%2Erun", {"params": params}),
        ):
            answer = await client.post(path, json=body, headers=admin)
            assert (answer.status_code, answer.json()["type"]) == (403, "UNDECLARED_COMMAND"), path
    assert not made.exists()


async def test_a_setting_and_the_scope_admin_together_give_the_right(store, home, tmp_path):
    made = tmp_path / "made"
    tokens = {s: await store.tokens.add(s, s, "tests") for s in ("operator", "admin")}
    tokens["narrow"] = await store.tokens.add(
        "narrow", "admin", "t", services=["tasks", "programs"]
    )
    body = {"params": params_of(made)}
    async with served(store, home, tokens=True, undeclared_commands=True) as client:
        for name, status in (("operator", 403), ("narrow", 403), ("admin", 202)):
            headers = {"Authorization": f"Bearer {tokens[name]}"}
            answer = await client.post("/api/tasks/programs.run", json=body, headers=headers)
            assert answer.status_code == status, name
        assert (
            await over(App(store, Registry([]), home), answer.json()["context_id"])
        ).status == "DONE"
    assert made.exists()


ROWS = """
SELECT context_id FROM _data_manager_admin.start_contexts(%s::jsonb)
"""


def row_of(start) -> str:
    """A start as SQL takes it, with whatever was changed in it."""
    from dama.store.items import start_item

    return json.dumps([start_item(start)])


async def refused(app, database_url, row, made):
    """Put a row into the queue as SQL does; the worker must end it without executing anything."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        ((context,),) = connection.execute(ROWS, [row]).fetchall()
    outcome = await ended(app, context)
    assert (outcome.status, outcome.error["name"]) == ("ERROR", "UndeclaredCommandError")
    assert not made.exists()
    runs = [e for e in await app.store.events(context) if e.type.endswith(":STARTED")]
    assert len(runs) == 1
    return outcome.error["message"]


FORGERIES = {
    "bare": lambda s: replace(s, meta={}, labels=(), key=None),
    "with the label": lambda s: replace(s, meta={}, key=None),
    "another command": lambda s: replace(s, params={"command": [*s.params["command"], "x"]}),
    "another folder": lambda s: replace(s, params={**s.params, "cwd": "/"}),
    "another variable": lambda s: replace(s, params={**s.params, "env": {"LD_PRELOAD": "x"}}),
    "a further param": lambda s: replace(s, params={**s.params, "later": "x"}),
    "another start": lambda s: replace(s, key="mine"),
    "no start key": lambda s: replace(s, key=None),
    "another nonce": lambda s: with_proof(s, nonce="0" * 32),
    "half a proof": lambda s: replace(s, meta={"proof": {"nonce": s.meta["proof"]["nonce"]}}),
    "a list": lambda s: replace(s, meta={"proof": [s.meta["proof"]]}),
    "numbers": lambda s: with_proof(s, nonce=1, mac=2),
    "not ASCII": lambda s: with_proof(s, mac="é" * 64),
    "empty": lambda s: with_proof(s, mac=""),
}


def with_proof(start, **changes):
    return replace(start, meta={"proof": {**start.meta["proof"], **changes}})


@pytest.mark.parametrize("name", FORGERIES)
async def test_a_row_in_the_queue_is_no_right(name, app, home, database_url, tmp_path):
    """Whoever may write to the database is not the user of the worker."""
    made = tmp_path / "made"
    signed = start_of(adhoc, params_of(made), commands=Commands(home))
    message = await refused(app, database_url, row_of(FORGERIES[name](signed)), made)
    assert "does not run the command" in message


async def test_a_proof_of_another_key_is_no_right(app, home, database_url, tmp_path):
    made = tmp_path / "made"
    theirs = start_of(adhoc, params_of(made), commands=Commands(tmp_path / "other"))
    row = row_of(replace(theirs, labels=[Commands(home).label()]))
    await refused(app, database_url, row, made)


async def test_a_proof_is_good_for_one_context(app, home, database_url, tmp_path):
    """A copy of a row, where its key was freed: by a restore, or by who owns the tables."""
    made = tmp_path / "made"
    signed = start_of(adhoc, params_of(made), commands=Commands(home))
    (context,) = await app.store.start([signed])
    assert (await ended(app, context)).status == "DONE"
    made.unlink()
    assert await app.store.start([signed]) == [context]  # by its key: the same context
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET dama.rewrite_history = 'on'")
        connection.execute("UPDATE _data_manager_admin.etl_context SET idempotency_key = NULL")
    message = await refused(app, database_url, row_of(signed), made)
    assert f"context {context} of" in message


async def test_a_retry_of_its_own_context_needs_no_new_proof(app, tmp_path):
    script = tmp_path / "fails-once"
    script.write_text('#!/bin/sh\n[ -e "$0.ran" ] || { touch "$0.ran"; exit 1; }\n')
    script.chmod(0o700)
    context = await tasks.start(app, adhoc.name, {"command": [str(script)]}, undeclared=True)
    assert (await ended(app, context)).status == "ERROR"
    await contexts.resume(app, context)
    assert (await ended(app, context)).status == "DONE"


async def test_a_worker_without_the_key_does_not_claim_it(app, store, tmp_path):
    """It waits for one that has it, instead of failing somewhere else."""
    context = await tasks.start(app, adhoc.name, params_of(tmp_path / "made"), undeclared=True)
    other = App(store, Registry([]), tmp_path / "elsewhere")
    async with other.working() as worker:
        await worker.idle()
    assert (await store.context(context)).run.state == "queued"
    assert (await ended(app, context)).status == "DONE"


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
async def test_a_key_that_others_may_know_is_no_key(app, store, home, tmp_path, mode):
    await tasks.start(app, adhoc.name, params_of(tmp_path / "made"), undeclared=True)
    (home / "commands.key").chmod(mode)
    with pytest.raises(PrivateFileError, match="commands"):
        await tasks.start(app, adhoc.name, params_of(tmp_path / "made"), undeclared=True)
    async with app.working() as worker:  # it does other work, and none of this kind
        await worker.idle()
    assert not (tmp_path / "made").exists()


async def test_a_link_and_a_short_file_are_no_keys(home, tmp_path):
    home.mkdir(parents=True, exist_ok=True)
    (tmp_path / "k").write_bytes(b"x" * 32)
    (tmp_path / "k").chmod(0o600)
    (home / "commands.key").symlink_to(tmp_path / "k")
    with pytest.raises(PrivateFileError):
        Commands(home).label()
    (home / "commands.key").unlink()
    (home / "commands.key").touch(0o600)
    with pytest.raises(UndeclaredCommandError):
        Commands(home).label()


def test_many_make_one_key(tmp_path):
    """A worker and a terminal that need it first at the same moment."""
    code = (
        "import sys,pathlib;from dama.run.commands import Commands;"
        "print(Commands(pathlib.Path(sys.argv[1])).label())"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["commands.key"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_another_account_cannot_sign(home, tmp_path):
    """Neither read the key nor put one of its own there."""
    Commands(home).label()
    code = (
        "import os,sys,pathlib;from dama.run.commands import Commands;"
        f"os.setgroups([]);os.setgid({NOBODY});os.setuid({NOBODY});"
        "print(Commands(pathlib.Path(sys.argv[1])).label())"
    )
    for parent in (home, *home.parents):
        if parent.stat().st_uid == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)  # only the key itself is in the way
    done = subprocess.run(
        [sys.executable, "-c", code, str(home)], check=False, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "PrivateFileError" in done.stderr or "PermissionError" in done.stderr
    key = home / "commands.key"
    os.chown(key, NOBODY, NOBODY)
    with pytest.raises(PrivateFileError, match="belongs to the user"):
        Commands(home).label()
