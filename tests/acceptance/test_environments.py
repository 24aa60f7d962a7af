"""Several environments in one controller: contexts apart, and one that is away hurts nobody."""

import json
import re
import signal
import subprocess
import time

import httpx
import psycopg
import pytest

from tests.conftest import fresh_database, url_of
from tests.plain_http import NO_TLS

SERVICE = '''
"""One task."""
from dama import Service, Task

small = Service("small")

@small.task
async def add(task: Task, a: int) -> int:
    """Add one."""
    return a + 1
'''
SETTINGS = """
services = ["small"]
[environments]
one = "{one}"
two = "${{TWO}}"
late = "{late}"
[gateway]
environment_path = "/dama-admin/:pgEnv"
"""


@pytest.fixture
def two_url(server, template):
    yield from fresh_database(server, template)


@pytest.fixture
def project(tmp_path, server, database_url, two_url, forked):
    (tmp_path / "small.py").write_text(SERVICE)
    late = url_of(server, "late_environment", "dama")
    (tmp_path / "dama.toml").write_text(SETTINGS.format(one=database_url, late=late))
    environ = forked.environ(DAMA_HOME=str(tmp_path / "home"), TWO=two_url)
    environ.pop("DAMA_DATABASE_URL", None)
    yield Project(tmp_path, environ)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS late_environment WITH (FORCE)")


class Project:
    def __init__(self, folder, environ):
        self.folder, self.environ = folder, environ

    def begin(self, *arguments):
        return subprocess.Popen(
            ["dama", *arguments],
            cwd=self.folder,
            env=self.environ,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments):
        return subprocess.run(
            ["dama", *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True,
            check=False,
        )  # fmt: skip


def address_of(process):
    """Where it listens, as it says at its start; what it says later is read by nobody."""
    for line in process.stderr:
        if found := re.search(r"one: (http://\S+)/one/", line):
            return found[1]
    raise AssertionError("It has ended.")


def until(client, path, is_reached):
    while not is_reached(answer := client.get(path)):
        time.sleep(0.05)
    return answer


def test_one_controller_serves_several_environments(project, server, template):
    process = project.begin("up", "--port", "0")
    try:
        address = address_of(process)
        with httpx.Client(base_url=address, verify=NO_TLS) as client:
            ready = until(client, "/ready", lambda r: {*r.json().values()} == {"ok", "away"})
            if ready.json()["two"] != "ok":
                until(client, "/ready", lambda r: r.json()["one"] == r.json()["two"] == "ok")
            token = (project.folder / "home/gateway.token").read_text().strip()
            client.headers["Authorization"] = f"Bearer {token}"
            contexts_are_apart(client)
            one_that_is_away_is_said(client)
            pages_name_the_environment(address, token)
            commands_take_an_environment(project)
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE late_environment TEMPLATE {template}")
            until(client, "/api/late/contexts", lambda r: r.status_code == 200)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    finally:
        process.kill()
        process.communicate()


def contexts_are_apart(client):
    """Each of an API of its own, below its name; what names none is the first."""
    started = client.post("/api/two/tasks/small.add", json={"params": {"a": 1}})
    assert started.status_code == 202
    place = started.headers["location"]
    assert place.startswith("/two/api/contexts/")
    until(client, place, lambda r: r.json()["status"] == "DONE")
    assert client.get(place).json()["result"] == 2
    for path in ("/api/two/contexts", "/two/api/contexts", "/dama-admin/two/api/contexts"):
        assert [each["task"] for each in client.get(path).json()["contexts"]] == ["small.add"]
    for path in ("/api/contexts", "/api/one/contexts"):
        assert client.get(path).json()["contexts"] == []
    assert client.get("/api/three/contexts").status_code == 404


def one_that_is_away_is_said(client):
    """Its requests are told so, a person's too."""
    away = client.get("/api/late/contexts")
    assert (away.status_code, away.json()["data"]) == (503, {"environment": "late"})
    page = client.get("/late/contexts", headers={"Accept": "text/html"})
    assert page.status_code == 503
    assert '<a href="/one/">' in page.text


def pages_name_the_environment(address, token):
    """Logged in to one is not logged in to another; links stay, the switch leaves."""
    with httpx.Client(base_url=address, verify=NO_TLS, follow_redirects=True) as browser:
        form = browser.get("/two/queues")
        assert form.url.path == "/two/login"
        field = re.search(r'name="form_token" value="(\w*)"', form.text)
        logged_in = browser.post(
            "/two/login",
            data={"token": token, "next": "/queues", "form_token": field[1] if field else ""},
            headers={"Origin": address},
        )
        assert (logged_in.status_code, logged_in.url.path) == (200, "/two/queues")
        assert 'href="/two/contexts"' in logged_in.text
        assert re.search(r"<a href='/two/' aria-current=\"true\">two</a>", logged_in.text)
        assert "<a href='/one/'>one</a>" in logged_in.text
        assert not re.search(r'(href|src|action)="/(?!two/)', logged_in.text)
        assert browser.get("/one/queues").url.path == "/one/login"
        assert browser.get("/queues").url.path == "/login"


def commands_take_an_environment(project):
    """The first one without `--pg-env`."""
    listed = project.run("ls", "--json", "--pg-env", "two")
    assert [each["task"] for each in json.loads(listed.stdout)] == ["small.add"]
    assert json.loads(project.run("ls", "--json").stdout) == []
    unknown = project.run("ls", "--pg-env", "three")
    assert "late, one, two" in unknown.stderr
    nothing = project.run("show", "999", "--pg-env", "two")
    assert "`dama --pg-env two ls`" in nothing.stderr
    opened = project.run("open", "--print", "--pg-env", "two")
    assert "/two/login?ticket=" in opened.stdout


def test_a_worker_until_idle_says_which_it_could_not_reach(project):
    """It works in the others, and its exit code says that something is left."""
    started = project.run("run", "small.add", "--a", "3", "--enqueue", "--pg-env", "two")
    assert (started.returncode, "dama --pg-env two events" in started.stdout) == (0, True)
    done = project.run("worker", "--until-idle")
    assert (done.returncode, "environment late is away" in done.stderr) == (1, True)
    (listed,) = json.loads(project.run("ls", "--json", "--pg-env", "two").stdout)
    assert listed["status"] == "DONE"
