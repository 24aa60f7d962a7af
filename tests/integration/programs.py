"""Programs under a real shim, and ways to wait for what they do."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

from dama.definitions.adhoc import adhoc
from dama.programs.environment import inherited
from dama.programs.launch import Launch, spawn
from dama.programs.programs import directories_of
from dama.programs.run_directory import RunDirectories, RunDirectory
from dama.run.commands import Commands
from dama.run.starts import start_of
from dama.worker.worker import Worker

PATIENCE = 60.0  # of a busy machine


def wait_until(
    condition: Callable[[], object], what: str = "it", *, patience: float = PATIENCE
) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.005)


async def until(condition: Callable[[], object]) -> None:
    """As `wait_until`, while the loop continues."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.005)


def begun(directory: RunDirectory) -> int | None:
    """The pid of a program that is past the gate of its shim, so that its end is its own."""
    pid = directory.pid()
    with suppress(OSError):
        if pid and "shim.log" not in str(Path(f"/proc/{pid}/fd/1").readlink()):
            return pid
    return None


def marked(mark: str) -> list[int]:
    """The processes that have a mark in their environment, however they hid."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if f"MARK={mark}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


class Bench:
    """Tasks of a registry, workers for them, and what became of them."""

    def __init__(self, store, registry):
        self.store = store
        self.registry = registry

    @asynccontextmanager
    async def worker(self, **settings):
        """A worker."""
        async with Worker(self.store, self.registry, **settings).working() as worker:
            yield worker

    async def start(self, task, **params):
        """Queue it; give its context."""
        commands = Commands(Path(os.environ["DAMA_HOME"])) if task is adhoc else None
        key = str(uuid4()) if commands else None
        start = start_of(task, params, key=key, commands=commands)
        (context_id,) = await self.store.start([start])
        return context_id

    async def ended(self, context_id):
        """Wait for its end; how it ended."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = (await self.store.outcomes([context_id])).get(context_id)
                if found is not None and found.status != "OPEN":
                    return found
                await asyncio.sleep(0.01)

    async def running(self, context_id):
        """The files of its latest run, once its program has begun."""
        runs = await directories_of(self.store, Path(os.environ["DAMA_HOME"]))
        await until(lambda: any(map(begun, runs.of_context(context_id))))
        return runs.of_context(context_id)[-1]


class Shims:
    """The shims that a test starts; `close` kills what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.directories = RunDirectories(folder)
        self.shims: dict[RunDirectory, int] = {}
        self.mark = f"{folder}/"
        self._count = 0

    def start(self, *argv: str, kind: type[Launch] = Launch, **options: object) -> RunDirectory:
        """Start a program under a shim."""
        self._count += 1
        directory = self.directories.of(self._count, 1)
        directory.make()
        lock = directory.lock()
        assert lock is not None
        environment = inherited(os.environ) | {"MARK": self.mark}
        launch = kind(
            argv,
            **{
                "environment": environment,
                "cwd": str(directory.path),
                "grace": 0.3,
                **options,
            },
        )
        self.shims[directory] = spawn(directory, launch, lock)
        os.close(lock)
        return directory

    def ended(self, directory: RunDirectory) -> dict:
        """Wait for the shim's end; how the program ended."""
        _, how = os.waitpid(self.shims.pop(directory), 0)
        told = directory.exit()
        assert told is not None, (how, (directory.path / "shim.log").read_text())
        return told

    def close(self) -> None:
        """Kill what is left."""
        for pid in [*self.shims.values(), *marked(self.mark)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self.shims.values():
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
