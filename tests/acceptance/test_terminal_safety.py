"""Nothing that is stored acts on the terminal of whoever looks at it."""

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

DAMA = str(Path(sys.executable).with_name("dama"))
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
def project(tmp_path, database_url):
    (tmp_path / "odd.py").write_text(SERVICE)
    (tmp_path / "dama.toml").write_text(
        'services = ["odd"]\n[programs."odd.print"]\n'
        f"command = ['sh', '-c', {json.dumps(PROGRAM)}]\n"
    )
    return tmp_path, {**os.environ, "DAMA_DATABASE_URL": database_url, "TERM": "xterm"}


def in_pipe(project, *arguments):
    folder, environ = project
    done = subprocess.run(
        [DAMA, *arguments], cwd=folder, env=environ, capture_output=True, check=False, timeout=60
    )
    return (done.stdout + done.stderr).decode()


def on_terminal(project, *arguments):
    folder, environ = project
    master, slave = pty.openpty()
    with subprocess.Popen(
        [DAMA, *arguments], cwd=folder, env=environ, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        data = b""
        with suppress(OSError):  # how a terminal ends
            while part := os.read(master, 65536):
                data += part
        process.wait(60)
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
