"""`dama logs -f` of a run that has not begun waits for it, and says once why it waits."""

import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.command import Command

SERVICE = """
import logging

from dama import Service, Task

logs = Service("logs")

@logs.task
async def speaks(task: Task) -> None:
    for number in range(3):
        logging.getLogger("flights").info("line %s", number)

@logs.task
async def silent(task: Task) -> None:
    pass

logs.program("prints", command=["sh", "-c", "echo one; sleep 0.3; echo two"])
"""
Follow = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def dama(dama: Command) -> Command:
    (dama.folder / "logs.py").write_text(SERVICE)
    (dama.folder / "dama.toml").write_text('services = ["logs"]\n')
    return dama


@pytest.fixture
def follow(dama: Command) -> Iterator[Follow]:
    """Begin to follow a run, and wait for the line that says why it does not run."""
    begun: list[subprocess.Popen[str]] = []

    def _begin(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["dama", "logs", "1", "-f", *options],
            cwd=dama.folder,
            env=dama.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said == (
            "Context 1 has no log on this host yet; waiting for it. No worker is alive.\n"
        )
        return process

    yield _begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("task", "lines"),
    [("logs.speaks", ["line 0", "line 1", "line 2"]), ("logs.prints", ["one", "two"])],
)
def test_it_is_followed_when_it_begins(
    dama: Command, follow: Follow, task: str, lines: list[str]
) -> None:
    dama("run", "--enqueue", task, check=True)
    following = follow()

    dama("worker", "--until-idle", check=True)
    out, err = following.communicate(timeout=30)

    assert [line.split(": ")[-1] for line in out.splitlines()] == lines
    assert (following.returncode, err) == (0, "")


@pytest.mark.parametrize("options", [[], ["--tail", "2"], ["--level", "info"]])
def test_a_chosen_part_of_it_is_awaited_too(
    dama: Command, follow: Follow, options: list[str]
) -> None:
    dama("run", "--enqueue", "logs.speaks", check=True)
    following = follow(*options)

    dama("worker", "--until-idle", check=True)

    assert "line 2\n" in following.communicate(timeout=30)[0]


def test_it_ends_with_a_run_that_logs_nothing(dama: Command, follow: Follow) -> None:
    dama("run", "--enqueue", "logs.silent", check=True)
    following = follow()

    dama("worker", "--until-idle", check=True)
    out, err = following.communicate(timeout=30)

    assert (following.returncode, out) == (4, "")
    assert "Context 1 has run no program, and has logged nothing on this host." in err


def test_it_ends_with_a_run_that_is_cancelled(dama: Command, follow: Follow) -> None:
    dama("run", "--enqueue", "logs.speaks", check=True)
    following = follow()

    dama("cancel", "1", check=True)
    out, err = following.communicate(timeout=30)

    assert (following.returncode, out) == (4, "")
    assert "has logged nothing on this host" in err


def test_ctrl_c_ends_the_wait(dama: Command, follow: Follow) -> None:
    dama("run", "--enqueue", "logs.speaks", check=True)
    following = follow()

    following.send_signal(signal.SIGINT)
    out, err = following.communicate(timeout=30)

    assert (following.returncode, out) == (130, "")
    assert err == "Interrupted.\n"


@pytest.mark.parametrize("options", [[], ["-f", "--run", "1"], ["-f", "--json"]])
def test_others_do_not_wait(dama: Command, options: list[str]) -> None:
    dama("run", "--enqueue", "logs.speaks", check=True)

    shown = dama("logs", "1", *options)

    assert shown.returncode == 4
    assert "has logged nothing on this host" in shown.stderr
    assert "waiting" not in shown.stderr
