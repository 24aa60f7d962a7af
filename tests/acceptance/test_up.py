"""`dama up` as it is run: what it starts, what it says, what is left when it ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from dama.embedded import EmbeddedPostgres
from tests.plain_http import NO_TLS

DAMA = str(Path(sys.executable).with_name("dama"))
SERVICE = '''
"""One task."""
from dama import Service, Task

small = Service("small")

@small.task
async def add(task: Task, a: int) -> int:
    """Add one."""
    return a + 1
'''
WAITING = """import asyncio
    from pathlib import Path
    while not Path("go").exists():
        await asyncio.sleep(0.05)
    return a + 1"""


class Ups:
    """`dama up` in a project, with a home of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.environ = {**os.environ, "DAMA_HOME": str(folder / "home")}
        self.server = EmbeddedPostgres(folder / "home")
        self.processes = []
        (folder / "small.py").write_text(SERVICE)
        (folder / "dama.toml").write_text('services = ["small"]\n')

    def start(self, *arguments, **environ):
        """Start one; return when it says that it runs, with what it said."""
        process = subprocess.Popen(
            [DAMA, "up", "--port", "0", *arguments],
            cwd=self.folder,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        return process, "".join(said)

    def dama(self, *arguments):
        """Another command of the project."""
        return subprocess.run(
            [DAMA, *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def ups(tmp_path):
    """Ended at the end, with their server."""
    ups = Ups(tmp_path)
    yield ups
    for process in ups.processes:
        process.kill()
        process.communicate()
    ups.server.stop()


def stopped(process, number=signal.SIGTERM):
    """Tell it to stop; the exit code, and what it said on standard error."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=150)
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_starts_a_database_and_a_worker_and_leaves_only_the_database(ups, number):
    """One command says what runs, where, and how to stop it."""
    process, said = ups.start()

    assert "embedded PostgreSQL" in said
    assert str(ups.folder) in said
    assert "1 task with 16 slots" in said
    with psycopg.connect(ups.server.url) as connection:
        assert connection.execute("SELECT count(*) FROM _data_manager_admin.worker").fetchone() == (
            1,
        )

    code, errors = stopped(process, number)

    assert code == 0, errors
    assert "Stop it with: dama db stop" in errors
    assert ups.server.status().running
    assert "is stopped" in ups.dama("db", "stop").stdout
    assert not ups.server.status().running


def test_up_may_end_when_nothing_is_left_to_do(ups):
    """For a crontab: the database stays for the next time."""
    assert ups.dama("db", "migrate").returncode == 0
    with psycopg.connect(ups.server.url) as connection:
        connection.execute(
            "SELECT _data_manager_admin.start_contexts("
            """'[{"task": "small.add", "event": {"type": "small.add:INITIAL",
                  "payload": {"a": 1}}}]')"""
        )
    ups.server.stop()

    process, _ = ups.start("--until-idle")
    process.communicate(timeout=150)

    assert process.returncode == 0
    assert '"result": 2' in ups.dama("show", "1", "--json").stdout


def test_a_database_that_ran_before_stays(ups):
    """Somebody started it for more than this."""
    ups.server.start()
    process, _ = ups.start()

    _, errors = stopped(process)

    assert "dama db stop" in errors
    assert ups.server.status().running


def test_a_database_that_others_use_stays(ups):
    """A run in another terminal is not torn down."""
    process, _ = ups.start()
    with psycopg.connect(ups.server.url) as connection:
        _, errors = stopped(process)

        assert "The database stays" in errors
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.timeout(120)
def test_a_worker_keeps_its_database_reachable(ups):
    """Nobody needs to type a command for a socket that was cleared away."""
    ups.start()
    pid = ups.server.status().pid
    shutil.rmtree(ups.folder / "home" / "socket")
    deadline = time.monotonic() + 60
    while not (ups.folder / "home" / "socket" / ".s.PGSQL.5432").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)

    with psycopg.connect(ups.server.url) as connection:
        assert connection.execute("SELECT 7").fetchone() == (7,)
    assert ups.server.status().pid == pid


@pytest.mark.timeout(120)
def test_ups_that_are_killed_again_and_again_leave_one_server(ups):
    """Whoever started it: it is neither ended nor started again."""
    pid = None
    for _ in range(4):
        process, _ = ups.start()
        pid = pid or ups.server.status().pid
        shutil.rmtree(ups.folder / "home" / "socket")
        process.kill()
        process.wait()
        assert ups.dama("ls").returncode == 0
    assert stopped(ups.start()[0])[0] == 0

    assert ups.server.status().pid == pid
    assert "shutdown" not in Path(ups.server.status().log).read_text()


def test_a_configured_database_is_used_as_it_is_unless_asked(ups, empty_database_url):
    """It may belong to others, who run another version."""
    refused, _ = ups.start(DAMA_DATABASE_URL=empty_database_url)
    _, errors = refused.communicate(timeout=150)

    assert refused.returncode == 3
    assert "dama db migrate" in errors

    process, said = ups.start("--migrate", DAMA_DATABASE_URL=empty_database_url)

    assert "DAMA_DATABASE_URL" in said
    assert stopped(process)[0] == 0
    assert not ups.server.status().running


@pytest.mark.timeout(120)
def test_up_prints_the_address_of_its_pages(ups):
    """Whoever types the first command sees where to look; no secret is in what a service logs."""
    _, said = ups.start()

    fields = dict(line.split(maxsplit=1) for line in said.splitlines() if line.count(" ") >= 1)
    assert fields["pages"].strip() == fields["gateway"].strip() + "/"
    assert "ticket" not in said
    assert "dama open" in said
    with httpx.Client(follow_redirects=True, verify=NO_TLS) as browser:
        assert "Log in" in browser.get(fields["pages"].strip()).text


@pytest.mark.timeout(120)
def test_a_run_prints_the_address_of_its_page_which_logs_in_once(ups):
    """What `make demo` does: the page is there while it runs, without typing a token."""
    (ups.folder / "dama.toml").write_text('services = ["small"]\n[gateway]\nport = 0\n')
    (ups.folder / "small.py").write_text(SERVICE.replace("return a + 1", WAITING))
    process = subprocess.Popen(
        [DAMA, "run", "--page", "small.add", "--a", "1"],
        cwd=ups.folder, env=ups.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    ups.processes.append(process)
    address = next(line for line in process.stderr if line.startswith("Its page: ")).split()[-1]

    with httpx.Client(follow_redirects=True, verify=NO_TLS) as browser:
        page = browser.get(address)
    with httpx.Client(follow_redirects=True, verify=NO_TLS) as other:
        refused = other.get(address)
    (ups.folder / "go").touch()
    output, errors = process.communicate(timeout=150)

    assert page.url.path == "/contexts/1"
    assert "small.add" in page.text
    assert refused.status_code == 401
    assert process.returncode == 0, errors
    assert "2" in output
    assert "dama open 1" in errors


@pytest.mark.timeout(120)
def test_a_run_shows_its_page_on_the_gateway_that_is_there(ups):
    """No second server beside `dama up`."""
    process, said = ups.start()
    address = next(line.split()[1] for line in said.splitlines() if line.startswith("gateway "))

    ran = ups.dama("run", "--page", "small.add", "--a", "1")

    assert ran.returncode == 0, ran.stderr
    assert f"Its page: {address}/login?ticket=" in ran.stderr
    assert process.poll() is None
