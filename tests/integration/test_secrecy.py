# ruff: noqa: E501, S105 - shell that is read as it stands, and secrets made for the test
"""Secrets of programs: what they are given, and that none is stored, whatever they do with it."""

import asyncio
import base64
import json
import os
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from dama import Service
from dama.app import App
from dama.definitions.adhoc import adhoc
from dama.definitions.registry import Registry
from dama.operations import run_files
from dama.programs.programs import directories_of
from tests.integration.programs import Bench, until
from tests.integration.served import served
from tests.integration.test_programs import Programs, not_called

SECRET = "s3cret/&+wörd"
OF_FILE = "of-the-file-7"


@pytest.fixture
async def bench(store, tmp_path):
    """Programs; none is left behind."""
    bench = Programs(store, tmp_path)
    yield bench
    runs = await directories_of(store, Path(os.environ["DAMA_HOME"]))
    for directory in runs.open():
        for pid in (directory.shim(), directory.pid()):
            if pid is not None:
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def secrets(monkeypatch, tmp_path):
    """One in the environment of the worker, and some in a file."""
    monkeypatch.setenv("API", SECRET)
    (tmp_path / "x.env").write_text(
        f"PGHOST=db.example\nPGPASSWORD='{OF_FILE}'\nURL=https://me:url-pass-9@host/\nPIN=998877\n"
    )
    return {"secrets": ["API"], "env_files": ["x.env"]}


async def stored(bench, context, database_url):
    """All that the database and the files of a run have of it."""
    directory = await bench.directory(context)
    files = [
        p.read_text() for p in directory.path.rglob("*") if p.is_file() and p.name != "shim.pyz"
    ]
    with psycopg.connect(database_url) as database:
        tables = database.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
            " WHERE schemaname = '_data_manager_admin'"
        ).fetchall()
        rows = [
            str(database.execute(f"SELECT json_agg(t) FROM {table} t").fetchone())  # noqa: S608
            for (table,) in tables
        ]
    return "\n".join([*files, *rows])


def assert_no_secret(text):
    for secret in (SECRET, json.dumps(SECRET)[1:-1], OF_FILE, "url-pass-9", "998877", "s3cret"):
        assert secret not in text, secret


async def test_a_secret_may_be_in_a_file_of_variables_alone(bench, secrets):
    """The environment of the worker has it first, where both have it."""
    secrets = {**secrets, "secrets": ["API", "PGPASSWORD"]}
    task = bench.declare(
        "from-a-file",
        'test "$API" = "$WANTED" && echo ${#PGPASSWORD}',
        **secrets,
        env={"WANTED": SECRET},
    )
    context = await bench.performed(task)
    assert (await bench.ended(context)).status == "DONE"
    assert (await bench.directory(context)).stdout.read_text() == f"{len(OF_FILE)}\n"


async def test_no_secret_is_stored_whatever_a_program_does_with_it(bench, secrets, database_url):
    """In its logs, lines, file of events, result, artifacts and last words."""
    task = bench.declare(
        "telling",
        """
        env; env >&2
        printf '::dama:: {"type": "a/b", "payload": {"%s": ["%s", "x%sx"]}}\\n' "$API" "$PGPASSWORD" "$API"
        printf '::dama:: {"type": "n", "payload": {"pin": %s}, "meta": {"by": "%s"}}\\n' "$PIN" "$API"
        printf '{"type": "t/%s", "payload": 1}\\n' "$PGPASSWORD" >> $DAMA_EVENTS
        printf '::dama:: {"type": "%s:FINAL"}\\n' "$PGPASSWORD"
        printf '::dama:: not json %s\\n' "$API"
        printf '::dama:: {"type": ":ARTIFACT", "payload": {"path": "%s.csv"}}\\n' "$PGPASSWORD"
        touch "$DAMA_ARTIFACTS/$PGPASSWORD.csv" "$DAMA_ARTIFACTS/${PGPASSWORD}2" "$DAMA_ARTIFACTS/2$PGPASSWORD"
        printf '{"token": "%s", "pin": %s}' "$API" "$PIN" > $DAMA_RESULT
        """,
        **secrets,
    )  # fmt: skip
    context = await bench.performed(task)
    outcome = await bench.ended(context)
    assert outcome.result == {"token": "***", "pin": "***"}
    found = {e.type: e for e in await bench.events(context)}
    assert found["a/b"].payload == {"***": ["***", "x***x"]}
    assert found["n"].payload == {"pin": "***"}
    artifacts = {e.payload["path"] for e in await bench.events(context, ":ARTIFACT")}
    assert artifacts == {"***.csv", "***2", "2***"}
    left = {path.name for path in (await bench.directory(context)).artifacts.iterdir()}
    assert left == artifacts  # whoever lists them later does not know the secret
    text = await stored(bench, context, database_url)
    assert_no_secret(text)
    assert "PGHOST=db.example" in text  # what is told to people all the time


@pytest.mark.parametrize(
    "end",
    ['echo "no $API" >&2; exit 3', 'head -c 490 /dev/zero | tr "\\0" x >&2; echo "$API" >&2; exit 3',
     'echo "$PGPASSWORD" >&2; kill -9 $$', "exec /nowhere/$PGPASSWORD"],
)  # fmt: skip
async def test_no_secret_is_in_the_last_words(bench, secrets, database_url, end):
    """Nor a part of one, where the words are cut."""
    task = bench.declare("failing", end, retries=1, backoff=0.01, **secrets)
    context = await bench.performed(task)
    assert (await bench.ended(context)).status == "ERROR"
    assert_no_secret(await stored(bench, context, database_url))


async def test_the_log_of_a_program_that_runs_shows_no_secret(bench, secrets):
    """It is struck out while the file grows, also when a secret comes in two parts."""
    script = 'echo "$API" > x; printf %s "${API:0:5}"; until [ -e go ]; do sleep 0.02; done; '
    task = bench.declare("long", f"{script} echo ${{API:5}}; exec sleep 600", cwd=".", **secrets)
    context = await bench.start(task)
    async with bench.worker():
        directory = await bench.running(context)
        await until(lambda: directory.stdout.stat().st_size == 5)
        (bench.folder / "go").touch()
        await until(lambda: directory.stdout.stat().st_size > 5)
        await until(lambda: set(directory.stdout.read_text().strip()) == {"*"})
        await bench.store.cancel([context], "enough", {})
        await until(directory.exit)


async def test_a_worker_that_adopts_a_program_strikes_out_what_it_was_started_with(
    bench, secrets, monkeypatch, database_url
):
    """The secret was changed, and the file is gone, since the program began."""
    script = (
        'until [ -e go ]; do sleep 0.02; done; echo "$API $PGPASSWORD"; echo "$API" >&2; exit 1'
    )
    task = bench.declare("adopted", script, cwd=".", **secrets)
    context = await bench.start(task)
    async with bench.worker():
        await bench.running(context)
    monkeypatch.setenv("API", "another one")
    (bench.folder / "x.env").unlink()
    async with bench.worker():
        while not await bench.events(context, ":ADOPTED"):  # noqa: ASYNC110 - no event of ours
            await asyncio.sleep(0.01)
        (bench.folder / "go").touch()
        assert (await bench.ended(context)).status == "ERROR"
    assert_no_secret(await stored(bench, context, database_url))


@pytest.mark.parametrize("release", ["without secrets", "without it", "with a function"])
async def test_what_was_a_secret_at_the_start_stays_one_whatever_a_release_declares(
    bench, secrets, database_url, release
):
    """A new release has no need of the secret; the program that runs has it all the same."""
    script = """until [ -e go ]; do sleep 0.02; done
        echo "$API $PGPASSWORD"; echo "$API" >&2; exit 1"""
    context = await bench.start(bench.declare("released", script, cwd=".", **secrets))
    async with bench.worker():
        await bench.running(context)
    service = Service("p")
    if release == "without secrets":
        values = {"command": ["bash", "-c", script], "cwd": "."}
        service.declare("released", values, place="test", base=bench.folder)
    elif release == "with a function":
        service.task(name="released")(not_called)
    released = Bench(bench.store, Registry([service]))
    early = "UPDATE _data_manager_admin.run_queue SET host_until = now() WHERE state = 'queued'"
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(early)
    async with released.worker():
        (bench.folder / "go").touch()
        assert (await released.ended(context)).status == "ERROR"
    assert_no_secret(await stored(bench, context, database_url))


@pytest.mark.parametrize("how", ["quoted", "escaped"])
async def test_no_line_of_a_key_is_stored(bench, tmp_path, database_url, how):
    """In a file of variables, printed as a whole, by line, in an event and in the result."""
    lines = [base64.b64encode(os.urandom(48)).decode() for _ in range(5)] + ["q1A="]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    written = f'"{key}"' if how == "quoted" else "'{}'".format(key.replace("\n", "\\n"))
    (tmp_path / "key.env").write_text(f"KEY={written}\n")
    task = bench.declare(
        "with-a-key",
        """
        printf '%b\\n' "$KEY"; env; printf '%b' "$KEY" | sed 's/^/  > /' >&2
        printf '%b' "$KEY" | while IFS= read -r line; do echo "$line"; sleep 0.01; done
        printf '%b' "$KEY" | python3 -c '
        import json, sys
        key = sys.stdin.read()
        print("::dama::", json.dumps({"type": "k", "payload": {"all": key, key[28:70]: key.split()}}))
        print(json.dumps({"key": key, "lines": key.splitlines()}), file=open(sys.argv[1], "w"))
        ' "$DAMA_RESULT"
        printf '::dama:: {"type": "after"}\\n'
        """.replace("\n        ", "\n"),
        env_files=["key.env"],
    )  # fmt: skip
    context = await bench.performed(task)
    outcome = await bench.ended(context)
    assert outcome.status == "DONE", outcome.error
    assert [e.type for e in await bench.events(context)][-2:] == ["after", f"{task.name}:FINAL"]
    text = await stored(bench, context, database_url)
    assert [line for line in lines if line in text] == []
    assert text.count("-----BEGIN") > 3  # it is still seen what was there


async def test_what_a_cancelled_program_prints_last_is_struck_out(bench, secrets, database_url):
    """Its worker follows it no longer when it is told to end."""
    script = """
        trap 'printf "%s\\n" "$API"; echo "$PGPASSWORD" >&2; touch "$DAMA_ARTIFACTS/$PGPASSWORD"; exit' TERM
        touch x; while :; do sleep 0.02; done
    """
    task = bench.declare("cancelled", script, cwd=".", **secrets)
    context = await bench.start(task)
    async with bench.worker():
        directory = await bench.running(context)
        await until((bench.folder / "x").exists)
        await bench.store.cancel([context], "enough", {})
        await until(lambda: not directory.is_open())
    assert directory.stdout.stat().st_size > 5
    assert_no_secret(await stored(bench, context, database_url))
    assert not [path for path in directory.artifacts.iterdir() if OF_FILE in path.name]


async def test_no_door_to_a_log_shows_what_no_worker_has_struck_out(
    bench, secrets, monkeypatch, tmp_path, forked
):
    """The program continues without one; whoever reads need not have its environment."""
    script = 'until [ -e go ]; do sleep 0.02; done; printf "a %s\\nb %s %s" "$API" "$PGPASSWORD" "${API:0:5}"; touch x; exec sleep 600'
    task = bench.declare("alone", script, cwd=".", **secrets)
    context = await bench.start(task)
    async with bench.worker():
        directory = await bench.running(context)
    (bench.folder / "go").touch()
    await until((bench.folder / "x").exists)
    monkeypatch.delenv("API")
    home = Path(os.environ["DAMA_HOME"])
    size = directory.stdout.stat().st_size
    assert SECRET in directory.stdout.read_text()

    async with served(bench.store, home, working=False) as client:
        address = f"/api/contexts/{context}/logs"
        whole = (await client.get(address)).text
        assert whole == f"a {'*' * len(SECRET.encode())}\nb {'*' * len(OF_FILE)} s3cre"
        for begin in range(size - 8):
            headers = {"Range": f"bytes={begin}-{begin + 7}"}
            part = await client.get(address, headers=headers)
            assert part.text == whole[begin : begin + 8]
        app = App(bench.store, bench.registry, home)
        lines = [line async for line in run_files.lines_of(app, context)]
        assert lines == whole.splitlines()
    environ = forked.environ(DAMA_DATABASE_URL=bench.store.database.conninfo)
    for arguments in ([], ["--tail", "2"], ["--bytes", "4:"]):
        command = [forked.dama, "logs", str(context), *arguments]
        shown = await asyncio.to_thread(
            subprocess.run, command, env=environ, cwd=tmp_path, capture_output=True, text=True
        )
        assert shown.stdout.strip() == whole[4 if "--bytes" in arguments else 0 :]
    os.kill(directory.pid(), signal.SIGKILL)


async def environment_of(bench, context):
    """What a program of ours has written of its environment."""
    directory = await bench.directory(context)
    lines = directory.stdout.read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


async def test_a_program_inherits_what_every_program_needs_and_no_more(bench, monkeypatch):
    """The worker's connection string and passwords are its own."""
    for name in ("DAMA_DATABASE_URL", "PGPASSWORD", "PGHOST", "AWS_SECRET", "AWS_REGION", "OTHER"):
        monkeypatch.setenv(name, f"value of {name}")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")
    context = await bench.performed(bench.declare("plain", "env"))
    found = await environment_of(bench, context)
    assert found["HOME"] == os.environ["HOME"]
    assert (found["LC_ALL"], found["TZ"]) == ("C.UTF-8", "UTC")
    allowed = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL"}
    of_bash = {"PWD", "SHLVL", "_", "OLDPWD"}
    of_protocol = {"PGAPPNAME", "PYTHONUNBUFFERED", "TRACEPARENT"}
    rest = {n for n in found if not n.startswith(("DAMA_", "LC_"))}
    assert rest <= allowed | of_bash | of_protocol
    assert "DAMA_DATABASE_URL" not in found


@pytest.mark.parametrize(
    ("inherit", "wanted"),
    [
        (["AWS_*"], {"AWS_SECRET", "AWS_REGION"}),
        (["PG*", "DAMA_*"], {"PGHOST"}),
        (["*"], {"PGHOST", "AWS_SECRET", "AWS_REGION", "OTHER"}),
        (["OTHER", "PGPASSWORD"], {"OTHER", "PGPASSWORD"}),
        (["DAMA_DATABASE_URL"], {"DAMA_DATABASE_URL"}),
    ],
)
async def test_more_is_inherited_when_it_is_declared(bench, monkeypatch, inherit, wanted):
    """By the declaration or for the whole project; passwords by their full names only."""
    names = ("DAMA_DATABASE_URL", "PGPASSWORD", "PGHOST", "AWS_SECRET", "AWS_REGION", "OTHER")
    for name in names:
        monkeypatch.setenv(name, f"value of {name}")
    contexts = [await bench.performed(bench.declare("declared", "env", inherit=inherit))]
    bench.registry.let_inherit(inherit, "dama.toml")
    contexts.append(await bench.performed(bench.declare("of_project", "env")))
    for context in contexts:
        found = await environment_of(bench, context)
        assert found.keys() & set(names) == wanted
        if "PGPASSWORD" in wanted:  # it is a secret then, too
            assert found["PGPASSWORD"] == "*" * len("value of PGPASSWORD")


async def test_a_program_that_nobody_declared_inherits_as_the_others_do(bench, monkeypatch):
    """What it is given by name comes besides."""
    for name in ("PGPASSWORD", "PGHOST", "OTHER"):
        monkeypatch.setenv(name, f"value of {name}")
    plain = await bench.performed(adhoc, command=["env"], env={"GIVEN": "1"})
    found = await environment_of(bench, plain)
    assert found.keys() & {"PGPASSWORD", "PGHOST", "OTHER", "GIVEN"} == {"GIVEN"}
    more = await bench.performed(adhoc, command=["env"], inherit=["PGHOST", "PGPASSWORD"])
    found = await environment_of(bench, more)
    assert found["PGHOST"] == "value of PGHOST"
    assert set(found["PGPASSWORD"]) == {"*"}


async def test_a_missing_secret_is_not_tried_again(bench):
    """The next attempt would not find it either."""
    task = bench.declare("lacking", "true", secrets=["NOWHERE"], retries=3, backoff=0.01)
    context = await bench.performed(task)
    outcome = await bench.ended(context)
    assert "NOWHERE" in outcome.error["message"]
    assert len(await bench.events(context, ":STARTED")) == 1
