"""A cluster for all tests of a process, and a project that has work for it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.command import Command
from tests.conftest import fresh_database
from tests.engines.places import KINDS, Place
from tests.engines.pods import running_pods
from tests.engines.slurm import Slurm, running_slurm
from tests.forked import Forked

PROJECT = """
import asyncio, os, time
from pathlib import Path
from dama import Service, Task

work = Service("work")


@work.task(labels={"slurm"})
async def where(task: Task, number: int = 0) -> str:
    return os.environ.get("SLURMD_NODENAME", "here")


@work.task(labels={"slurm"}, timeout="2h")
async def long(task: Task) -> str:
    return os.environ.get("SLURMD_NODENAME", "here")


@work.task()
async def all_of(task: Task, count: int = 4) -> list[str]:
    return await task.map(where, [{"number": n} for n in range(count)])


@work.task(labels={"slurm"}, timeout="10m")
async def steps(task: Task, folder: str) -> int:
    done = 0
    for n in range(20):
        done += await task.step(f"step-{n}", one_step, folder)
    return done


async def one_step(folder: str) -> int:
    with Path(folder, "done").open("a") as file:
        file.write(os.environ.get("SLURMD_NODENAME", "here") + "\\n")
    await asyncio.sleep(0.25)
    return 1
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """One cluster for all tests of this process."""
    with running_slurm(tmp_path_factory.mktemp("slurm") / "c") as cluster:
        yield cluster


@pytest.fixture(scope="module", params=[*KINDS, "kubernetes"])
def place(
    request: pytest.FixtureRequest,
    server,
    template,
    forked: Forked,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """A project with the launcher of a kind, and a worker that looks after it."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "project").mkdir()
    for url in fresh_database(server, template):
        environ = forked.environ(DAMA_DATABASE_URL=url, DAMA_HOME=str(folder / "home"))
        with ExitStack() as stack:
            if request.param == "kubernetes":
                place: Place = stack.enter_context(running_pods(folder, environ, url))
            else:
                slurm: Slurm = request.getfixturevalue("slurm")
                path = environ["PATH"] + ":" + slurm.environ["PATH"]
                environ |= {**slurm.environ, "PATH": path}
                place = Place(Command(folder / "project", environ), slurm, request.param)
            stack.callback(place.close)
            place.launch()
            yield place


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with some tasks."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "work.py").write_text(PROJECT)
    (folder / "dama.toml").write_text('services = ["work"]\n')
    return folder


@pytest.fixture
def dama(project: Path, database_url: str, forked: Forked, slurm: Slurm) -> Command:
    """The command, in the project, on the test's database, with the commands of Slurm."""
    home = project.parent / "home"
    (home / "jobs").mkdir(parents=True)
    env_file = home / "job.env"
    env_file.write_text(f"DAMA_DATABASE_URL='{database_url}'\n")
    env_file.chmod(0o600)
    environ = forked.environ(DAMA_DATABASE_URL=database_url, DAMA_HOME=str(home))
    own = {**slurm.environ, "PATH": environ["PATH"] + ":" + slurm.environ["PATH"]}
    return Command(project, environ | own)
