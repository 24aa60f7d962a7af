"""Workers that are killed by their runs, hung up on, or forked by them; all are real processes."""

import signal
import subprocess
import time

import psycopg
import pytest

SERVICE = '''
"""What takes a worker down."""
import asyncio, ctypes, multiprocessing, os, pathlib
from dama import Service, SyncTask, Task

deadly = Service("deadly")

@deadly.task(retries=5)
async def leaves(task: Task) -> None:
    """Leave without a word."""
    with open("tries", "a") as file:
        file.write("x")
    os._exit(7)

@deadly.task
def crashes(task: SyncTask) -> None:
    """Crash in C."""
    with open("tries", "a") as file:
        file.write("x")
    ctypes.string_at(0)

@deadly.task
async def quits(task: Task) -> None:
    """Leave with a word, in a task of its own."""
    async def inner():
        raise SystemExit(3)
    await asyncio.gather(inner(), asyncio.sleep(0.1))

@deadly.task
async def waits(task: Task) -> int:
    """Be there."""
    pathlib.Path("begun").touch()
    while not pathlib.Path("go").exists():
        await asyncio.sleep(0.02)
    return 42

@deadly.task
async def forks(task: Task) -> list[int]:
    """Fork, and end the forks with SIGTERM."""
    def work() -> list[int]:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, [-1, 2])
    return await asyncio.to_thread(work)
'''


class Project:
    """A project with deadly tasks."""

    def __init__(self, folder, url, forked):
        self.folder = folder
        self.url = url
        self.environ = forked.environ(DAMA_DATABASE_URL=url)
        self.started = []
        (folder / "deadly.py").write_text(SERVICE)
        (folder / "dama.toml").write_text('services = ["deadly"]\n')

    def dama(self, *arguments, **options):
        return subprocess.run(
            ["dama", *arguments], cwd=self.folder, env=self.environ, timeout=120, check=False,
            capture_output=True, text=True, **options,
        )  # fmt: skip

    def start(self, *arguments):
        process = subprocess.Popen(
            ["dama", *arguments], cwd=self.folder, env=self.environ, stderr=subprocess.DEVNULL
        )
        self.started.append(process)
        return process

    def queue(self, task):
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(
                "SELECT context_id FROM _data_manager_admin.start_contexts(jsonb_build_array("
                "jsonb_build_object('task', %(task)s::text, 'event', jsonb_build_object("
                "'type', %(task)s || ':INITIAL', 'payload', '{}'::jsonb))))",
                {"task": f"deadly.{task}"},
            ).fetchone()[0]

    def last(self, context):
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(
                "SELECT type, payload FROM _data_manager_admin.event_store_prototype "
                "WHERE etl_context_id = %s ORDER BY version DESC LIMIT 1",
                [context],
            ).fetchone()

    def exists(self, name, seconds=60):
        deadline = time.monotonic() + seconds
        while not (self.folder / name).exists():
            assert time.monotonic() < deadline, name
            time.sleep(0.02)


@pytest.fixture
def project(tmp_path, database_url, forked):
    project = Project(tmp_path, database_url, forked)
    yield project
    for process in project.started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("task", ["leaves", "crashes"])
def test_a_run_that_kills_its_worker_is_set_aside(project, task):
    """After three of them, with the reason; a person may give it a new chance."""
    context = project.queue(task)
    codes = [project.dama("worker", "--until-idle").returncode for _ in range(4)]
    type_, payload = project.last(context)
    assert [code != 0 for code in codes] == [True, True, True, False]
    assert (type_, payload["name"]) == (f"deadly.{task}:ERROR", "PoisonError")
    assert "3 workers died" in payload["message"]
    assert (project.folder / "tries").read_text() == "xxx"


def test_who_was_only_there_is_tried_in_a_process_of_its_own(project):
    """The one that kills is found; the other one ends as it would have."""
    guilty, innocent = project.queue("leaves"), project.queue("waits")
    for _ in range(3):
        assert project.dama("worker", "--until-idle").returncode != 0
    (project.folder / "go").touch()
    assert project.dama("worker", "--until-idle").returncode == 0
    assert project.last(guilty)[1]["name"] == "PoisonError"
    assert "process that it was given of its own" in project.last(guilty)[1]["message"]
    assert project.last(innocent) == ("deadly.waits:FINAL", 42)


def test_an_exit_in_a_task_of_a_task_ends_no_worker(project):
    context = project.queue("quits")
    assert project.dama("worker", "--until-idle").returncode == 0
    assert project.last(context)[1]["name"] == "ExitError"


def test_a_pool_of_forks_tells_no_worker_to_stop(project):
    context = project.queue("forks")
    done = project.dama("worker", "--until-idle")
    assert "Told to stop" not in done.stderr
    assert project.last(context) == ("deadly.forks:FINAL", [1, 2])


def test_a_terminal_that_hangs_up_lets_runs_end(project):
    """As SIGTERM does."""
    context = project.queue("waits")
    worker = project.start("worker")
    project.exists("begun")
    worker.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(1)
    (project.folder / "go").touch()
    assert worker.wait(60) == 0
    assert project.last(context) == ("deadly.waits:FINAL", 42)
