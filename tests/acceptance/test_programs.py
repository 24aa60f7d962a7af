"""Programs outlive `dama worker`, and whoever comes next knows what became of them."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from dama.embedded import EmbeddedPostgres
from dama.programs.process import process_start
from dama.store import schema
from tests.acceptance.programs import CODES, COMMANDS, DAMA, Project, assert_whole, needs_node
from tests.integration.programs import wait_until

# Many processes, on a machine that may have others: each wait has its own limit.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def project(tmp_path, database_url, forked):
    """Programs and workers; none is left behind."""
    project = Project(tmp_path, database_url, forked)
    yield project
    project.close()


@needs_node
def test_programs_go_on_when_their_worker_is_killed_and_the_next_one_adopts_them(project):
    """The same processes, each of their lines once, and their true exit codes."""
    contexts = {name: project.enqueue(name) for name in COMMANDS}
    project.worker()
    directories = {name: project.directory(context) for name, context in contexts.items()}
    wait_until(lambda: all(len(project.ticks(c)) > 5 for c in contexts.values()))
    pids = {name: directory.pid() for name, directory in directories.items()}
    project.kill_worker()
    counted = {name: len(project.ticks(context)) for name, context in contexts.items()}

    project.worker()
    wait_until(
        lambda: all(len(project.ticks(c)) > counted[n] + 5 for n, c in contexts.items()), "ticks"
    )
    assert {name: directory.pid() for name, directory in directories.items()} == pids
    project.gate.touch()
    wait_until(lambda: all(project.types(c)[-1] == "ERROR" for c in contexts.values()), "ends")

    for name, context in contexts.items():
        assert project.types(context) == ["INITIAL", "STARTED", "ADOPTED", "ERROR"]
        assert_whole(project, context, directories[name], CODES[name])


def test_a_program_that_ended_while_no_worker_was_there_has_its_true_exit_code(project):
    context = project.enqueue("bash")
    project.worker()
    directory = project.directory(context)
    wait_until(lambda: len(project.ticks(context)) > 5)
    project.kill_worker()
    project.gate.touch()
    wait_until(directory.exit)

    project.worker()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert project.types(context) == ["INITIAL", "STARTED", "ADOPTED", "ERROR"]
    assert_whole(project, context, directory, 3)


def test_a_worker_that_is_told_to_stop_does_not_wait_for_programs(project):
    """They continue without it; SIGTERM is no reason to lose hours of work."""
    context = project.enqueue("bash")
    worker = project.worker(grace=600)
    directory = project.directory(context)
    wait_until(lambda: len(project.ticks(context)) > 2)
    pid = directory.pid()
    worker.terminate()
    assert worker.wait(timeout=150) == 0
    assert directory.pid() == pid

    project.worker()
    wait_until(lambda: "ADOPTED" in project.types(context))
    assert directory.pid() == pid
    project.gate.touch()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert_whole(project, context, directory, 3)


def test_a_program_without_its_shim_is_not_started_again_and_can_be_cancelled(project):
    context = project.enqueue("bash")
    project.worker()
    directory = project.directory(context)
    wait_until(lambda: len(project.ticks(context)) > 2)
    pid = directory.pid()
    os.kill(directory.shim(), signal.SIGKILL)
    project.kill_worker()

    project.worker()
    wait_until(lambda: "ADOPTED" in project.types(context))
    adopted = next(p for t, p, _ in project.events(context) if t.endswith(":ADOPTED"))
    assert adopted == {"state": "unsupervised", "pid": pid}
    counted = len(project.ticks(context))
    wait_until(lambda: len(project.ticks(context)) > counted)
    assert directory.pid() == pid
    project.dama("cancel", str(context))
    wait_until(lambda: process_start(pid) is None)
    assert project.types(context) == ["INITIAL", "STARTED", "ADOPTED", "CANCELLED"]


def test_without_shim_and_program_a_run_is_lost(project):
    """Both were killed: nobody knows how it ended, and that is said. What it told is kept."""
    context = project.enqueue("bash")
    project.worker()
    directory = project.directory(context)
    wait_until(lambda: len(project.ticks(context)) > 2)
    project.kill_worker()
    pid = directory.pid()
    size = directory.events.stat().st_size
    wait_until(lambda: directory.events.stat().st_size > size + 500)
    os.kill(directory.shim(), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process_start(pid) is None)

    project.worker()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert project.types(context) == ["INITIAL", "STARTED", "LOST", "ERROR"]
    told = directory.events.read_text().count("\n")
    assert project.ticks(context) == list(range(1, told + 1))


def test_cancelling_ends_a_program_while_no_worker_is_there(project):
    context = project.enqueue("bash")
    project.worker()
    directory = project.directory(context)
    wait_until(lambda: len(project.ticks(context)) > 2)
    project.kill_worker()
    project.dama("cancel", str(context))
    assert directory.exit()["why"] == "cancelled"
    assert directory.pid() is None


def test_a_program_needs_no_declaration(project):
    """No shell and no placeholder touches its arguments; it starts where the command was typed."""
    script = 'printf "%s|" "$@"; pwd; exit 3'
    told = project.dama("run", "--", "sh", "-c", script, "sh", "{a}", "b c", "$HOME", check=False)
    assert told.returncode == 1
    assert "sh ended with exit code 3" in told.stderr
    assert project.directory(1).stdout.read_text() == f"{{a}}|b c|$HOME|{project.folder}\n"
    shown = project.dama("run", "--json", "--", "sh", "-c", 'echo "[1]" > "$DAMA_RESULT"')
    assert json.loads(shown.stdout)["result"] == [1]


def test_the_output_of_a_program_is_shown(project):
    """By lines, with progress bars as a person saw them last; by bytes, as they are."""
    script = "printf '1%%\\r2%%\\r3%%\\n'; seq 100; printf 'end\\377' | tee /dev/stderr"
    project.dama("run", "--", "bash", "-c", script)
    shown = project.dama("logs", "1").stdout.splitlines()
    assert shown == ["3%", *(str(i) for i in range(1, 101)), "end\ufffd"]
    assert project.dama("logs", "1", "--tail", "2").stdout.splitlines() == ["100", "end\ufffd"]
    assert project.dama("logs", "1", "--bytes", "3:6").stdout == "2%\n"  # \r is a newline here
    assert project.dama("logs", "1", "--stderr").stdout == "end\ufffd\n"
    (document,) = json.loads(project.dama("logs", "1", "--json").stdout)
    assert document["stdout"]["bytes"] == Path(document["stdout"]["path"]).stat().st_size
    refused = project.dama("logs", "1", "--bytes", "x", check=False)
    assert (refused.returncode, "1000:2000" in refused.stderr) == (2, True)
    Path(document["stdout"]["path"]).unlink()
    assert json.loads(project.dama("logs", "1", "--json").stdout)[0]["stdout"]["bytes"] == 0
    gone = project.dama("logs", "1", check=False)
    assert (gone.returncode, "somebody removed it" in gone.stderr) == (4, True)


def test_the_output_is_followed_while_the_program_runs(project):
    context = project.enqueue("bash")
    project.worker()
    project.directory(context)
    following = subprocess.Popen(
        [DAMA, "logs", str(context), "-f"],
        cwd=project.folder,
        env=project.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    first = [following.stdout.readline() for _ in range(20)]
    assert first == [f"line {i}\n" for i in range(1, 21)]
    project.gate.touch()
    lines = [*first, *following.stdout]
    assert following.wait() == 0
    following.stdout.close()
    last = int((project.directory(context).path / "last").read_text())
    assert lines == [f"line {i}\n" for i in range(1, last + 1)]


def test_a_context_without_a_program_has_no_logs(project):
    assert project.dama("logs", "99", check=False).returncode == 4


@pytest.mark.parametrize("ends_meanwhile", [False, True])
def test_events_arrive_once_and_in_order_when_the_database_was_away(
    tmp_path, forked, ends_meanwhile
):
    """The files are the spool: the program notices nothing."""
    server = EmbeddedPostgres(tmp_path / "pg", fsync=False)
    server.start()
    asyncio.run(schema.migrate(server.url))
    project = Project(tmp_path, server.url, forked)
    try:
        context = project.enqueue("bash")
        project.worker()
        directory = project.directory(context)
        wait_until(lambda: len(project.ticks(context)) > 5)
        project.database.close()
        server.stop()
        size = directory.events.stat().st_size
        told = directory.events.read_bytes().count(b"\n")
        wait_until(lambda: directory.events.stat().st_size > size + 2000)
        if ends_meanwhile:
            project.gate.touch()
            wait_until(directory.exit)
        server.start()
        project.database = psycopg.connect(server.url, autocommit=True)
        wait_until(lambda: len(project.ticks(context)) > told)
        project.gate.touch()
        wait_until(lambda: project.types(context)[-1] == "ERROR")
        assert_whole(project, context, directory, 3)
        assert project.types(context).count("STARTED") == 1
    finally:
        project.close()
        server.stop()
