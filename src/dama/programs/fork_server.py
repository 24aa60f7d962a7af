"""The fork server: has the services loaded, so that a run in a process of its own begins at once.

`python -m dama.programs.fork_server` belongs to one worker, and ends with it. It has no threads, no
connections and no loop. For each run it forks a shim, which forks the run (`own_process.py`); both
outlive it. `ForkServer` is the worker's end of it, a socket that carries documents and locks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.definitions.registry import Registry
from dama.definitions.service import Service
from dama.errors import DamaError
from dama.programs.place import MARK
from dama.run.errors import ProgramError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dama.shapes import Json

START_SECONDS = 120.0
END_SECONDS = 2.0
LENGTH_BYTES = 4
MAIN = "__dama_main__"


class ForkServerGoneError(Exception):
    """Another one can be started."""


class ForkServer:
    """The fork server of one worker, started when it is needed first.

    Args:
        registry: Whose services it loads.
        mark: By which it and its shims know their place.
    """

    def __init__(self, registry: Registry, mark: str) -> None:
        self._registry = registry
        self._mark = mark
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._tasks: set[str] = set()

    def fork(self, request: Mapping[str, Any], lock: int) -> int:
        """Start a run under a shim; blocks meanwhile.

        Args:
            request: For `dama.programs.own_process`.
            lock: Of the run's directory; the shim has it afterwards.

        Returns:
            The pid of the shim, which is no child of this process.

        Raises:
            ProgramError: The services cannot be loaded there, or do not have the task.
            ForkServerGoneError: It was killed; whether the run was started the lock tells.
        """
        with self._lock:
            try:
                channel = self._opened()
                if request["task"] not in self._tasks:
                    raise ProgramError(
                        f"{request['task']} can have no process of its own: "
                        "it is not at the top level of a module.",
                        hint="Define its service and itself there, not in a function.",
                    )
                _send(channel, request, lock)
                return _receive(channel)[0]["pid"]
            except (OSError, EOFError) as error:
                self._close()
                raise ForkServerGoneError(f"The fork server is gone: {error}.") from error

    def close(self) -> None:
        """End it; what it started continues."""
        with self._lock:
            self._close()

    def _opened(self) -> socket.socket:
        if self._channel is None:
            self._channel, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "dama.programs.fork_server"],
                    stdin=theirs.fileno(),
                    stdout=sys.stderr if _is_file(sys.stderr) else None,
                    start_new_session=True,
                    env={**os.environ, MARK: self._mark},
                )
            self._channel.settimeout(START_SECONDS)
            _send(self._channel, {"path": sys.path, "modules": _modules(self._registry)})
            answer, _ = _receive(self._channel)
            if error := answer.get("error"):
                self._close()
                raise ProgramError(
                    f"The services cannot be loaded for a process of its own: {error}",
                    hint="The log of the worker has the traceback.",
                )
            self._tasks = set(answer["tasks"])
        return self._channel

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:  # it loads, or hangs; what it forked continues
                self._process.kill()
                self._process.wait()
            self._process = None


def _is_file(stream: object) -> bool:
    try:
        return stream.fileno() >= 0  # pyright: ignore[reportAttributeAccessIssue,reportUnknownVariableType,reportUnknownMemberType] - asks
    except (AttributeError, OSError, ValueError):
        return False


def _modules(registry: Registry) -> list[str]:
    """Where the tasks are: dotted names, and the path of a file that was started as a program."""
    names = dict.fromkeys(
        task.function.__module__ for task in registry.tasks.values() if task.is_function
    )
    if "__main__" in names:
        del names["__main__"]
        main = sys.modules["__main__"]
        path = str(Path(str(main.__file__)).absolute())
        names[main.__spec__.name if main.__spec__ else path] = None
    return list(names)


def _load(modules: Iterable[str]) -> Registry:
    registry = Registry()
    for name in modules:
        is_path = os.sep in name
        found = runpy.run_path(name, run_name=MAIN) if is_path else _vars(name)
        for value in found.values():
            if isinstance(value, Service):
                registry.add(value)
    return registry


def _vars(name: str) -> dict[str, Any]:
    return vars(importlib.import_module(name))


def _send(channel: socket.socket, document: Mapping[str, Json], lock: int | None = None) -> None:
    body = json.dumps(document).encode()
    head = len(body).to_bytes(LENGTH_BYTES)
    if lock is None:
        channel.sendall(head)
    else:
        socket.send_fds(channel, [head], [lock])
    channel.sendall(body)


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A document, and the descriptors that came with it.

    Raises:
        EOFError: There is nobody at the other end.
    """
    head, locks, _, _ = socket.recv_fds(channel, LENGTH_BYTES, 1)
    head += _read(channel, LENGTH_BYTES - len(head)) if head else b""
    if not head:
        raise EOFError("it has ended")
    return json.loads(_read(channel, int.from_bytes(head))), locks


def _read(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(size - len(parts))
        if not part:
            raise EOFError("it has ended")
        parts += part
    return bytes(parts)


def serve(channel: socket.socket) -> None:
    """Load what the worker names, then fork for each request, until the worker is gone."""
    hello, _ = _receive(channel)
    sys.path[:] = hello["path"]
    try:
        registry = _load(hello["modules"])
        own_process = importlib.import_module("dama.programs.own_process")
    except Exception as error:  # noqa: BLE001 - the worker tells it
        traceback.print_exc()
        _send(channel, {"error": f"{type(error).__name__}: {error}"})
        return
    _warm(registry)
    # Nothing is waited for: the shims belong to nobody, and the kernel may forget them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # A module of a service may have started threads of its own, which a run does without.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*fork")
    gc.collect()
    gc.freeze()  # pages of what is loaded stay shared
    _send(channel, {"tasks": registry.names})
    while True:
        request, (lock,) = _receive(channel)
        pid = os.fork()
        if pid == 0:
            channel.close()
            own_process.own(request, registry, lock)
        os.close(lock)
        _send(channel, {"pid": pid})


def _warm(registry: Registry) -> None:
    """Make what each run would make for itself otherwise."""
    for task in registry.tasks.values():
        with suppress(DamaError):  # who runs it is told
            task.arguments({})
        with suppress(DamaError):
            _ = task.result.adapter


def main() -> None:
    """Serve the worker at standard input."""
    with suppress(EOFError, ConnectionError):
        serve(socket.socket(fileno=os.dup(0)))


if __name__ == "__main__":
    main()
