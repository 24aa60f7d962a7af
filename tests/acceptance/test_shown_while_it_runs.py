"""What a person sees while something runs, and how params are given, with real commands."""

import json
import subprocess

import pytest

from tests.acceptance.command import Command

SERVICE = '''
from dama import Service, Task

small = Service("small")

@small.task
async def add(task: Task, a: int, b: int = 1, more: dict[str, int] | None = None) -> int:
    """Add numbers."""
    return a + b + sum((more or {}).values())

@small.task
async def fail(task: Task) -> None:
    """Fail."""
    raise ValueError("as it\\nshould")

@small.task
async def whole(task: Task) -> int:
    """Add twice, below it."""
    return sum(await task.map(add, [{"a": 1}, {"a": 2}]))
'''
PROGRAM = r"""#!/bin/sh
printf '\033[31mfirst\033[0m of $ODD_WORD %s\n' "$ODD_WORD"
echo '::dama:: {"type": "part/read", "payload": 7}'
while [ ! -e gate ]; do sleep 0.05; done
echo 'a complaint' >&2
printf 'no end of a line'
"""
TOML = """
services = ["small"]

[programs."small.waiting"]
command = ["./waiting.sh"]
secrets = ["ODD_WORD"]
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a service, a program and their settings."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "small.py").write_text(SERVICE)
    (folder / "waiting.sh").write_text(PROGRAM)
    (folder / "waiting.sh").chmod(0o755)
    (folder / "dama.toml").write_text(TOML)
    return folder


@pytest.fixture
def environ(forked, database_url):
    """That of all commands."""
    return forked.environ(DAMA_DATABASE_URL=database_url, ODD_WORD="xyzzy-plugh")


@pytest.fixture
def dama(project, environ):
    """The command, in the project, on the test's database."""
    return Command(project, environ)


@pytest.mark.parametrize("begin", [["small.waiting"], ["--", "./waiting.sh"]])
def test_a_program_s_output_is_shown_as_it_comes(project, environ, begin):
    """Not when it has ended: the program continues only after its first line was read here."""
    command = ["dama", "run", *begin]
    with subprocess.Popen(
        command, cwd=project, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        lines = []
        while not lines or "first" not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        (project / "gate").touch()
        result, rest = process.communicate()

    shown = "".join(lines) + rest
    assert process.returncode == 0
    assert "\033" not in shown  # the reader is a pipe
    assert [shown.count(f"| {text}") for text in ("first", "a complaint", "no end")] == [1, 1, 1]
    assert "part/read" in shown  # as an event
    assert "::dama::" not in shown
    assert shown.index("| no end of a line") < shown.index("done in")
    assert "first" not in result
    assert "xyzzy-plugh" not in shown


def test_json_stays_one_document_beside_the_output(project, dama):
    (project / "gate").touch()

    done = dama("run", "small.waiting", "--json")

    assert json.loads(done.stdout)["result"] == {"exit_code": 0}
    assert "| first" in done.stderr


def test_quiet_leaves_the_result(project, dama):
    (project / "gate").touch()

    program = dama("run", "--quiet", "small.waiting")
    task = dama("run", "small.add", "--a", "3", "--quiet")
    failed = dama("run", "small.fail", "--quiet")
    again = dama("resume", "3", "--quiet")

    assert (json.loads(program.stdout), program.stderr) == ({"exit_code": 0}, "")
    assert (task.stdout, task.stderr) == ("4\n", "")
    assert (failed.stdout, failed.returncode) == ("", 1)
    assert failed.stderr == "Error: Context 3 failed: ValueError: as it\n  should\n"
    assert again.stderr == failed.stderr


def test_params_are_given_as_a_document(project, dama, tmp_path):
    """A file, standard input, or the document itself; options beside it win."""
    (project / "params.json").write_text('{"a": 3, "more": {"x": 10}}')

    results = [
        dama("run", "small.add", "--quiet", "--params", "params.json"),
        dama("run", "small.add", "--quiet", "--params", "-", text='{"a": 4}'),
        dama("run", "small.add", "--quiet", "--params", "params.json", "--a", "30", "--b", "0"),
        dama("run", "--params", '{"a": 7}', "--quiet", "small.add"),
    ]

    assert [each.stdout for each in results] == ["14\n", "5\n", "40\n", "8\n"]


def test_params_that_are_no_document_are_refused_before_anything_starts(dama):
    for given, words in (
        ("none.json", "neither JSON"),
        ('{"a": 1, "c": 2}', "c is not one of its params"),
    ):
        failed = dama("run", "small.add", "--params", given)
        assert failed.returncode == 2
        assert words in failed.stderr
    assert dama("ls").stdout == "Nothing has run here yet.\n"


def test_a_command_takes_no_params(dama):
    failed = dama("run", "--params", "{}", "--", "true")

    assert failed.returncode == 2
    assert "what follows `--` is a command" in failed.stderr


def test_params_are_a_document_wherever_tasks_start(project, dama):
    (project / "params.json").write_text('{"a": 3}')
    (project / "start.json").write_text('{"name": "small.add", "params": {"a": 8}}')

    called = dama("call", "tasks.start", "--params", "start.json")
    added = dama(
        *("schedule", "add", "daily", "small.add", "--cron", "0 4 * * *"),
        *("--params", "params.json", "--param", "b=5"),
    )
    shown = dama("schedule", "show", "daily", "--json")
    emitted = dama("emit", "1", "a/b", "--payload", "params.json")

    assert json.loads(called.stdout)["context_id"] == 1
    assert added.returncode == 0, added.stderr
    assert json.loads(shown.stdout)["schedule"]["params"] == {"a": 3, "b": "5"}
    assert emitted.returncode == 0, emitted.stderr


def test_a_worker_says_in_a_line_each_what_starts_and_how_it_ends(project, dama):
    """And nothing with --quiet, and JSON where the log is JSON."""
    (project / "gate").touch()

    for task in ("small.whole", "small.fail", "small.waiting"):
        dama("run", task, "--enqueue")
    plain = dama("worker", "--until-idle").stderr.splitlines()
    dama("run", "small.fail", "--enqueue")
    as_json = dama("worker", "--until-idle", DAMA_LOG="json").stderr.splitlines()
    dama("run", "small.fail", "--enqueue")
    quiet = dama("worker", "--until-idle", "--quiet")

    for task, end in (
        ("small.whole", "is done after"),
        ("small.fail", "failed: ValueError: as it should"),
        ("small.waiting", "is done after"),
    ):
        lines = [line for line in plain if f"{task} " in line]
        assert [f"{task} starts" in lines[0], f"{task} {end}" in lines[-1]] == [True, True], plain
    assert sum("small.add starts" in line for line in plain) == 2
    documents = [json.loads(line) for line in as_json if line.startswith("{")]
    assert [each["task"] for each in documents] == ["small.fail", "small.fail"]
    assert "failed: ValueError" in documents[1]["message"]
    assert (quiet.stdout, quiet.stderr, quiet.returncode) == ("", "", 0)


@pytest.mark.parametrize("command", [["services"], ["run", "small.add"], ["worker"]])
def test_a_module_that_exits_ends_no_command_without_a_word(project, dama, command):
    (project / "small.py").write_text(f"{SERVICE}\nimport sys\nsys.exit()\n")

    failed = dama(*command)

    assert failed.returncode == 2
    assert "The module 'small' ends the process" in failed.stderr


def test_what_nobody_would_perform_says_so_where_a_person_looks(dama):
    """A gateway alone queues it, and without a word it would wait there forever."""
    started = json.loads(dama("call", "tasks.start", "name=small.add", 'params={"a": 1}').stdout)
    queued = json.loads(dama("run", "small.add", "--a", "1", "--enqueue", "--json").stdout)
    in_words = dama("run", "small.add", "--a", "1", "--enqueue").stdout
    listed = dama("ls").stdout
    documents = json.loads(dama("ls", "--json").stdout)
    shown = dama("show", "1").stdout
    result = dama("call", "tasks.wait", "context_id=1", "--timeout", "45")
    dama("worker", "--until-idle")
    ended = json.loads(dama("ls", "--json").stdout)

    assert started["no_worker"] is True
    assert "no live worker has the task small.add" in started["warning"]
    assert queued["no_worker"] is True
    assert "No live worker has this task" in in_words
    assert listed.count("queued, no worker") == 3
    assert {each["no_worker"] for each in documents} == {True}
    assert "No worker is alive" in shown
    assert result.returncode != 0
    assert "Context 1 is still queued: no live worker has the task small.add" in result.stderr
    assert "NO_WORKER" in result.stderr
    assert {each["no_worker"] for each in ended} == {False}
