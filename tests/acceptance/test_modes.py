"""What is written is its user's only, whatever the umask of the starter is; programs keep that."""

import json
import re
import stat
import subprocess
import threading
import time
import urllib.request

import pytest

from dama.embedded import EmbeddedPostgres

SERVICE = """
from pathlib import Path
from dama import Service, Task

modes = Service("modes")

@modes.task
async def in_worker(task: Task, to: str) -> None:
    Path(to, "in_worker").write_text("x")

@modes.task(isolation="process")
def apart(task: Task, to: str) -> None:
    Path(to, "apart").write_text("x")

@modes.task
async def hold(task: Task) -> None:
    await task.wait_for("never")
"""
PROGRAM = """
umask > "$1/umask"; echo x > "$1/program"; mkdir "$1/folder"; echo told; echo told >&2
echo '{"a": 1}' > "$DAMA_RESULT"; echo x > "$DAMA_ARTIFACTS/made"; dama emit odd a=1
"""
UMASKS = [0o000, 0o002, 0o022, 0o077]
OF_PROGRAMS = {"result", "made"}  # in folders that nobody else can enter
ADDRESS = re.compile(r"http://\S+?:\d+")


class Project:
    """A project whose commands are started with an umask."""

    def __init__(self, folder, umask, forked, **environ):
        self.folder = folder
        self.umask = umask
        self.home = folder / "deep" / "er" / "home"
        self.out = folder / "out"
        self.environ = forked.environ(DAMA_HOME=str(self.home), **environ)
        self.out.mkdir()
        (folder / "modes.py").write_text(SERVICE)
        (folder / "dama.toml").write_text('services = ["modes"]\n')

    def use(self):
        """Write all that is written: runs of all kinds, logs, keys, tokens, an upload."""
        with subprocess.Popen(
            ["dama", "up", "--port", "0"], cwd=self.folder, env=self.environ, umask=self.umask,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as up:  # fmt: skip
            try:
                address = next(found for line in up.stdout if (found := ADDRESS.search(line)))
                rest = threading.Thread(target=up.stdout.read, daemon=True)
                rest.start()
                gateway = Gateway(address[0], (self.home / "gateway.token").read_text().strip())
                started = [
                    gateway.start("modes.in_worker", to=str(self.out)),
                    gateway.start("modes.apart", to=str(self.out)),
                ]
                held = gateway.start("modes.hold")
                gateway.ask("PUT", f"contexts/{held}/files/sent", b"sent")
                subprocess.run(
                    ["dama", "run", "--detach", "--", "sh", "-c", PROGRAM, "sh", str(self.out)],
                    cwd=self.folder, env=self.environ, umask=self.umask, check=True,
                    stdout=subprocess.DEVNULL,
                )  # fmt: skip
                for context in (*started, held + 1):
                    gateway.until_done(context)
            finally:
                up.kill()
            rest.join()  # it has ended, and changes no file any more

    def modes(self):
        """Of all that is in the home and above it, but what programs wrote."""
        found = [self.home, self.home.parent, self.home.parents[1], *self.home.rglob("*")]
        return {
            str(path.relative_to(self.folder)): stat.S_IMODE(path.lstat().st_mode)
            for path in found
            if path.name not in OF_PROGRAMS and not path.is_symlink()
        }

    def check(self):
        """Nobody else has a right in the home; elsewhere files are as their user expects."""
        modes = self.modes()
        assert any(path.endswith("/stdout") for path in modes)
        assert any(path.endswith("/sent") for path in modes)
        assert any(path.endswith(".log") for path in modes)
        assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
        for name in ("program", "in_worker", "apart"):
            mode = stat.S_IMODE((self.out / name).stat().st_mode)
            assert oct(mode) == oct(0o666 & ~self.umask), name
        assert stat.S_IMODE((self.out / "folder").stat().st_mode) == 0o777 & ~self.umask
        assert int((self.out / "umask").read_text(), 8) == self.umask


class Gateway:
    """Calls of the user of a home."""

    def __init__(self, address, token):
        self.address = address
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method, path, data=None):
        """Send a request; returns the answer."""
        url = f"{self.address}/api/{path}"
        request = urllib.request.Request(url, data, self.headers, method=method)  # noqa: S310 - our own
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            return json.loads(answer.read())

    def start(self, task, **params):
        """Start a task; returns its context."""
        return self.ask("POST", f"tasks/{task}", json.dumps({"params": params}).encode())[
            "context_id"
        ]

    def until_done(self, context):
        """Wait for the end of a context."""
        deadline = time.monotonic() + 120
        while (status := self.ask("GET", f"contexts/{context}")["status"]) != "DONE":
            assert status in {"OPEN", None}, status
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
def test_all_that_is_written_is_private_and_programs_keep_the_umask(
    tmp_path, database_url, forked, umask
):
    """With a database elsewhere."""
    project = Project(tmp_path, umask, forked, DAMA_DATABASE_URL=database_url)
    project.use()
    project.check()


@pytest.mark.parametrize("umask", [0o000], ids=oct)
def test_the_embedded_database_is_private_too(tmp_path, forked, umask):
    """Data, socket, log and locks."""
    project = Project(tmp_path, umask, forked)
    try:
        project.use()
        project.check()
    finally:
        EmbeddedPostgres(project.home).stop()


def test_within_a_home_that_others_may_enter_all_is_private(tmp_path, database_url, forked):
    """The doctor tells of the home."""
    project = Project(tmp_path, 0o000, forked, DAMA_DATABASE_URL=database_url)
    project.home.mkdir(parents=True)
    project.home.chmod(0o755)
    project.use()
    open_to_others = {path for path, mode in project.modes().items() if mode & 0o077}
    assert open_to_others == {"deep", "deep/er", "deep/er/home"}
    found = subprocess.run(
        ["dama", "doctor"], cwd=tmp_path, env=project.environ, capture_output=True, text=True,
        check=False,
    ).stdout  # fmt: skip
    assert f"chmod 700 {project.home}" in found
