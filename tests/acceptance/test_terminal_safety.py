"""Nothing that is stored acts on the terminal of whoever looks at it."""

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import psycopg
import pytest

from dama.cli import main
from dama.telemetry import LINE, PlainLines

EVIL = "\x1b[31mred\x1b]0;title\x07\x9b5n\u202eback\u2028line\x7f\rover[bold]"
SERVICE = f"""
from dama import Service, Task, CallError

odd = Service("odd", description={EVIL!r})

@odd.task
async def tell(task: Task, text: str = {EVIL!r}) -> dict:
    await task.step(text[:40].replace("\\r", ""), lambda: text)
    await task.log(text, field=text)
    await task.progress(1, 2, message=text)
    await task.dispatch("odd/" + text.replace("\\r", ""), {{text: text}})
    return {{"said": text, text: 1}}

@odd.task
async def fail(task: Task) -> None:
    raise ValueError({EVIL!r})

@odd.action
async def say(call) -> str:
    return {EVIL!r}

@odd.action
async def refuse(call) -> str:
    raise CallError({EVIL!r}, {EVIL!r}, data={{"x": {EVIL!r}}})
"""
OWN = re.compile(r"\x1b\[[0-9;]*m")
# What a terminal would act on, besides the styles of our own.
ACTS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069]")
PROGRAM = "printf '\\033[32mgreen\\033[0m \\033]0;t\\007 \\033[2J \\302\\2335n\\n'; exit 3"


@pytest.fixture
def project(tmp_path, database_url, forked):
    (tmp_path / "odd.py").write_text(SERVICE)
    (tmp_path / "dama.toml").write_text(
        'services = ["odd"]\n[programs."odd.print"]\n'
        f"command = ['sh', '-c', {json.dumps(PROGRAM)}]\n"
    )
    return tmp_path, forked.environ(DAMA_DATABASE_URL=database_url, TERM="xterm")


def in_pipe(project, *arguments):
    folder, environ = project
    done = subprocess.run(
        ["dama", *arguments], cwd=folder, env=environ, capture_output=True, check=False, timeout=120
    )
    return (done.stdout + done.stderr).decode()


def on_terminal(project, *arguments):
    folder, environ = project
    master, slave = pty.openpty()
    with subprocess.Popen(
        ["dama", *arguments], cwd=folder, env=environ, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        data = b""
        with suppress(OSError):  # how a terminal ends
            while part := os.read(master, 65536):
                data += part
        process.wait(120)
    os.close(master)
    return data.decode().replace("\r\n", "\n")


def strings(value):
    """All texts in a document."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


@pytest.mark.timeout(300)  # fifty processes, one after the other
def test_no_printer_lets_data_act_on_the_terminal(project):
    """On a terminal and in a pipe, in listings, lines, errors and JSON."""
    shown = [in_pipe(project, "run", "odd.tell"), in_pipe(project, "run", "odd.fail")]
    in_pipe(project, "run", "odd.print")
    commands = [
        ("show", "1"), ("show", "2"), ("events", "1"), ("events", "2"), ("events", "--all"),
        ("tree", "1"), ("ls",), ("services",), ("state", "1"), ("actions",), ("call", "odd.say"),
        ("call", "odd.refuse"), ("show", "1", "--json"), ("events", "2", "--json"),
        ("ls", "--json"), ("run", f"odd.{EVIL[:8]}"), ("logs", "3"), ("queue",),
        ("run", "odd.tell", "--b\x1b[2J", "1"),
    ]  # fmt: skip
    for command in commands:
        text = in_pipe(project, *command)
        assert not ACTS.search(text), (command, ACTS.search(text), text)
        assert "\x1b" not in text, (command, text)
        shown.append(text)
    assert any("\\u202e" in text for text in shown)
    for command in [*commands, ("run", "odd.fail"), ("resume", "2")]:
        text = on_terminal(project, *command)
        # rich moves the cursor for its own drawing; whatever is data has no escape but styles.
        own = OWN.sub("", text) if command[0] not in {"run", "resume"} else ""
        assert not ACTS.search(own), (command, ACTS.search(own), own)
        assert "\x1b]0;" not in text, command
        assert "\x9b" not in text, command


LISTED = """
INSERT INTO _data_manager_admin.worker
  (host, boot_id, pid, pid_started, version, queues, labels, slots, lease_until, trouble)
  VALUES (%(evil)s, 'b', 1, '1', %(evil)s, ARRAY[%(evil)s], ARRAY[%(evil)s], 1, now() + interval '1 hour', %(evil)s);
INSERT INTO _data_manager_admin.queue_setting (queue, paused) VALUES (%(evil)s, TRUE);
INSERT INTO _data_manager_admin.subscription (name, lanes) VALUES (%(evil)s, 1);
INSERT INTO _data_manager_admin.subscription_lane (name, lane, position) VALUES (%(evil)s, 0, 0);
INSERT INTO _data_manager_admin.subscription_parked (name, context_id, lane, position, error)
  VALUES (%(evil)s, 1, 0, 1, jsonb_build_object('name', %(evil)s, 'message', %(evil)s));
INSERT INTO _data_manager_admin.schedule
  (name, task, cron, zone, params, catch_up, overlap, jitter, next_at, failure)
  VALUES (%(evil)s, %(evil)s, '* * * * *', 'UTC', '{}', 'none', 'allow', 0, now() + interval '1 hour', %(evil)s);
INSERT INTO _data_manager_admin.token (token_id, name, digest, scope, services, created_by)
  VALUES ('t', %(evil)s, '', 'viewer', ARRAY[%(evil)s], %(evil)s);
UPDATE _data_manager_admin.run_queue SET queue = %(evil)s, labels = ARRAY[%(evil)s], limit_key = %(evil)s
"""  # noqa: E501
NEWLINE = EVIL + "\nHint: forged\nError: forged"


@pytest.fixture
def listed(project, database_url):
    """All that a listing may show, with data that acts on a terminal and begins lines."""
    folder, _ = project
    in_pipe(project, "run", "odd.tell", "--enqueue")
    with psycopg.ClientCursor(psycopg.connect(database_url, autocommit=True)) as cursor:
        cursor.execute(LISTED, {"evil": NEWLINE})
        cursor.connection.close()
    scripts = folder / "scripts"
    scripts.mkdir()
    (scripts / f"{EVIL.replace('/', '')}.sh").write_text(f"#!/bin/sh\n# {EVIL}\n: $A\n")
    (folder / "crontab").write_text(f"* * * * * {EVIL}\n")
    return project


def test_no_listing_lets_data_act_on_the_terminal(listed, capfd, monkeypatch):
    """Workers, schedules, queues, tokens, subscriptions, findings, drafts and pages of help."""
    commands = [
        ("workers",), ("schedule", "ls"), ("schedule", "show", NEWLINE), ("queue", "ls"),
        ("queue", "why", "1"), ("doctor",), ("archive", "add", "--older-than", "1d", "--dry-run"),
        ("archive", "restore", "1"), ("token", "ls"), ("token", "revoke", NEWLINE),
        ("log", "status"), ("log", "resume", NEWLINE, "7"), ("import", "scripts"),
        ("import", NEWLINE), ("clean", "--dry-run"), ("nodes",), ("actions",), ("db", "status"),
        ("call", NEWLINE), ("emit", "1", NEWLINE, "a=1"), ("repl",),
        ("scrub", "1", "--env", NEWLINE),
        ("run", "odd.tell", "--help"), ("run", "odd.print", "--help"), ("run", "--help"),
        ("run", NEWLINE),
        ("--debug", "run", "odd.tell", "--text", NEWLINE, NEWLINE),
        ("--debug", "call", "odd.refuse"),
        ("workers", "--json"), ("queue", "ls", "--json"), ("doctor", "--json"), (NEWLINE,),
        ("schedule", "ls", "--json"), ("token", "ls", "--json"), ("log", "status", "--json"),
    ]  # fmt: skip
    folder, environ = listed
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DAMA_DATABASE_URL", environ["DAMA_DATABASE_URL"])
    monkeypatch.setattr("sys.stdin", io.StringIO("actions\nservices\ncall odd.refuse\n"))
    for command in commands:
        sys.modules.pop("odd", None)
        main(command)  # here: a process for each would take a second
        text = "".join(capfd.readouterr())
        assert text, command
        assert not ACTS.search(text), (command, ACTS.search(text), text)
        assert "\nHint: forged" not in text, (command, text)
        assert "\nError: forged" not in text, (command, text)
    for command in (("doctor",), ("schedule", "ls"), ("log", "status"), ("run", "odd.tell", "-h")):
        text = OWN.sub("", on_terminal(listed, *command))
        assert not ACTS.search(text), (command, ACTS.search(text), text)


def test_a_log_of_a_process_begins_no_line_with_data(capsys):
    """An error that a worker logs may hold anything."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainLines(LINE))
    record = logging.LogRecord("dama", logging.INFO, "", 0, "%s", (NEWLINE,), None)
    text = handler.format(record)
    assert "\n" not in text
    assert not ACTS.search(text)


def test_the_colours_of_a_log_pass_to_a_terminal_only(project):
    in_pipe(project, "run", "odd.print")
    text = on_terminal(project, "logs", "1")
    assert "\x1b[32mgreen\x1b[0m" in text
    assert "\\u001b]0;t\\u0007 \\u001b[2J" in text
    assert "\x1b" not in in_pipe(project, "logs", "1")


def test_json_stays_json(project):
    in_pipe(project, "run", "odd.tell")
    document = json.loads(in_pipe(project, "show", "1", "--json"))
    assert EVIL in set(strings(document))
