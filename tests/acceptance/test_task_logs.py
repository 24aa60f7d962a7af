"""What tasks write to the standard log is theirs: shown while they run, and kept, with levels."""

import json
import logging
import re
import stat
import subprocess
import threading
from contextlib import ExitStack
from contextvars import copy_context
from pathlib import Path

import pytest

from dama.domain.secrets import Secrets
from dama.programs.run_directory import RunDirectory, State
from dama.programs.run_log import RunLog, RunLogHandler, log_to_runs, logged
from dama.programs.tail import first_byte
from dama.telemetry import TaskLines

SERVICE = """
import asyncio, logging, time
from pathlib import Path

from dama import Service, SyncTask, Task

logs = Service("logs")
log = logging.getLogger("flights")

def say(name: str) -> None:
    log.debug("%s: details", name)
    log.info("%s: rows\\x1b[2J\\nof two lines", name)
    log.warning("%s: late", name)
    try:
        raise ValueError("bad\\n::dama:: {}")
    except ValueError:
        log.exception("%s: lost", name)
    log.info("%d rows", "no number")

@logs.task
async def in_loop(task: Task, name: str = "a") -> str:
    say(name)
    return await task.step("blocking", blocking, name)

def blocking(name: str) -> str:
    log.info("%s: in a step", name)
    return name

@logs.task
def in_thread(task: SyncTask, name: str = "a") -> str:
    say(name)
    return name

@logs.task(isolation="process")
def in_process(task: SyncTask, name: str = "a") -> str:
    say(name)
    return name

@logs.task
async def held(task: Task, name: str, other: str) -> None:
    log.info("%s before", name)
    Path(name).touch()
    while not Path(other).exists():
        await asyncio.sleep(0.02)
    await asyncio.to_thread(log.info, "%s after", name)

@logs.task
async def pair(task: Task) -> None:
    await task.map(held, [{"name": "one", "other": "two"}, {"name": "two", "other": "one"}])

@logs.task
async def silent(task: Task) -> None:
    await task.log("an event")
"""
MODES = ["in_loop", "in_thread", "in_process"]
LINE = re.compile(
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) flights: ", re.MULTILINE
)


@pytest.fixture
def environ(forked, database_url, tmp_path):
    return forked.environ(DAMA_DATABASE_URL=database_url, DAMA_HOME=str(tmp_path / "home"))


@pytest.fixture
def dama(tmp_path, environ):
    """The command, in a project with tasks that log."""
    (tmp_path / "logs.py").write_text(SERVICE)
    (tmp_path / "dama.toml").write_text('services = ["logs"]\n')

    def run(*arguments):
        return subprocess.run(
            ["dama", *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("mode", MODES)
def test_lines_of_the_log_are_shown_and_kept(dama, mode, tmp_path):
    shown = dama("run", f"logs.{mode}").stderr
    kept = dama("logs", "1").stdout

    assert set(LINE.findall(kept)) == {"INFO", "WARNING", "ERROR"}
    assert "INFO flights: a: rows\\u001b[2J\\nof two lines\n" in kept
    assert "INFO flights: %d rows [cannot be formatted: TypeError" in kept
    assert "\n  ValueError: bad\n  ::dama:: {}\n" in kept  # what it says begins no line
    assert "| " + next(line for line in kept.splitlines() if "late" in line) in shown
    assert "Logging error" not in shown
    assert [shown.count(f"a: {word}") for word in ("rows", "late", "lost")] == [1, 1, 1]
    assert shown.index("a: lost") < shown.index("done in")
    assert ("a: in a step" in kept) == (mode == "in_loop")
    assert "context 1" not in kept  # what the worker says of it
    files = [path for path in (tmp_path / "home" / "runs").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in files} == {0}


@pytest.mark.parametrize(
    ("mode", "level", "levels"),
    [
        ("in_loop", "debug", {"DEBUG", "INFO", "WARNING", "ERROR"}),
        ("in_thread", "ERROR", {"ERROR"}),
        ("in_process", "error", {"ERROR"}),
    ],
)
def test_a_level_is_chosen(dama, mode, level, levels):
    shown = dama("run", f"logs.{mode}", "--log-level", level).stderr

    assert set(LINE.findall(dama("logs", "1").stdout)) == levels
    assert ("a: details" in shown, "a: late" in shown) == (level == "debug", level == "debug")


def test_lines_are_shown_from_a_level_on(dama):
    """What follows a line belongs to it; what has no level is never hidden."""
    dama("run", "logs.in_loop")

    def shown(*options):
        return dama("logs", "1", *options).stdout

    assert LINE.findall(shown("--level", "warning")) == ["WARNING", "ERROR"]
    assert "  ValueError: bad" in shown("--level", "error")
    assert "WARNING" not in shown("--level", "ERROR", "--follow")
    assert shown("--level", "critical") == ""
    assert LINE.findall(shown("--level", "warning", "--tail", "1")) == []
    assert shown("--level", "warning", "--tail", "9").startswith(shown("--level", "warning"))
    assert shown("--level", "debug") == shown()
    assert "cannot be combined" in dama("logs", "1", "--level", "info", "--bytes", "0:9").stderr


def test_a_worker_keeps_them_and_says_levels(dama):
    for mode in MODES:
        dama("run", "--enqueue", f"logs.{mode}")
    dama("run", "--enqueue", "logs.pair")
    dama("run", "--enqueue", "logs.silent")

    said = dama("worker", "--until-idle", "--log-level", "debug").stderr
    numbers = {row["task"]: row["context_id"] for row in json.loads(dama("ls", "--json").stdout)}

    for mode in MODES:
        kept = dama("logs", str(numbers[f"logs.{mode}"])).stdout
        assert set(LINE.findall(kept)) == {"DEBUG", "INFO", "WARNING", "ERROR"}
    assert re.search(r"INFO dama.worker context \d+: logs.in_loop starts", said)
    assert "WARNING flights a: late" in said
    silent = dama("logs", str(numbers["logs.silent"]))
    assert "has logged nothing on this host" in silent.stderr


def test_runs_at_once_do_not_mix(dama):
    shown = dama("run", "logs.pair").stderr

    assert shown.count("one before") == shown.count("two after") == 1
    for context_id in ("2", "3"):
        kept = dama("logs", context_id).stdout
        name = kept.splitlines()[0].split()[-2]
        assert [line.split(": ")[1] for line in kept.splitlines()] == [
            f"{name} before",
            f"{name} after",
        ]


def test_a_quiet_worker_keeps_them(dama):
    dama("run", "--enqueue", "logs.in_thread")
    said = dama("worker", "--until-idle", "--quiet").stderr

    assert "a: rows" not in said
    assert "a: late" in said
    assert "INFO flights: a: rows" in dama("logs", "1").stdout


@pytest.fixture
def handler():
    """The handler as a worker has it; the log of the tests is as it was afterwards."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    log_to_runs(logging.INFO)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def run_log(tmp_path, **options):
    directory = RunDirectory(tmp_path / "runs" / "7" / "1")
    return directory, RunLog(directory, lambda: [Secrets(["xyzzy-plugh"])], **options)


@pytest.mark.usefixtures("handler")
def test_a_log_is_bounded_and_keeps_the_newest(tmp_path):
    directory, log = run_log(tmp_path, cap=100_000)
    with logged(log):
        for number in range(3000):
            logging.getLogger("flights").info("%s %s", number, "x" * 1000)
        assert directory.state() is State.HELD

    assert directory.stdout.stat().st_blocks * 512 < 400_000
    assert first_byte(directory.stdout) > 0
    assert directory.stdout.read_bytes().count(b": 2999 x") == 1
    assert not directory.is_held()


@pytest.mark.usefixtures("handler")
def test_a_long_line_is_cut_and_secrets_are_struck_out(tmp_path):
    directory, log = run_log(tmp_path)
    with logged(log):
        logging.getLogger("flights").info("of xyzzy-plugh %s", "x" * 1_000_000)

    text = directory.stdout.read_text()
    assert len(text) < 70_000
    assert "INFO flights: of *** xxx" in text


@pytest.mark.usefixtures("handler")
def test_what_cannot_be_written_stops_nobody(tmp_path):
    directory, log = run_log(tmp_path)
    directory.path.parent.mkdir(parents=True)
    directory.path.write_text("in its place")
    with logged(log):
        logging.getLogger("flights").info("lost")
    logging.getLogger("flights").info("of no run")

    assert directory.path.read_text() == "in its place"
    assert any(isinstance(each, RunLogHandler) for each in logging.getLogger().handlers)


class Odd:
    """What is logged, and can be neither shown nor formatted."""

    def __str__(self):
        raise RuntimeError("no words\nfor it")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["%s and %s", 1], "%s and %s [cannot be formatted: TypeError"),
        (["%(rows)d", {"lines": 1}], "%(rows)d [cannot be formatted: KeyError"),
        ([Odd()], "Odd [cannot be formatted: RuntimeError: no words\\nfor it]"),
        (["%s", Odd()], "%s [cannot be formatted: RuntimeError: no words\\nfor it]"),
        (["%s", "\ud800"], "\\ud800"),
        ([None], "None"),
        ([{"rows": 3}], "{'rows': 3}"),
        (["a\u2028b\x85c\rd"], "INFO flights: a"),
    ],
)
def test_whatever_is_logged_is_one_line(tmp_path, arguments, kept):
    directory, log = run_log(tmp_path)
    handler = RunLogHandler()  # by itself: those of pytest raise what a record raises
    handler.setFormatter(TaskLines())
    message, *rest = arguments
    record = logging.LogRecord("flights", logging.INFO, "", 0, message, tuple(rest), None)
    with logged(log):
        handler.handle(record)

    lines = directory.stdout.read_bytes().decode().splitlines()
    assert len(lines) == 1
    assert kept in lines[0]


@pytest.mark.usefixtures("handler")
def test_threads_that_outlive_their_run_write_to_nobody_else(tmp_path):
    """A descriptor that was closed is soon that of another file."""
    directory, log = run_log(tmp_path)
    others = tmp_path / "others"
    stop = threading.Event()

    def talk():
        while not stop.is_set():
            logging.getLogger("flights").info("of the first")

    with logged(log):
        logging.getLogger("flights").info("begun")
        threads = [threading.Thread(target=copy_context().run, args=[talk]) for _ in range(3)]
        for thread in threads:
            thread.start()
        while directory.stdout.read_text().count("of the first") < 10:
            pass
    with ExitStack() as files:
        for number in range(50):
            files.enter_context(Path(f"{others}{number}").open("wb"))
        stop.set()
        for thread in threads:
            thread.join()

    assert {path.read_bytes() for path in tmp_path.glob("others*")} == {b""}
