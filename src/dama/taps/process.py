"""The process of a tap: started with its files, read line by line, ended with its loader.

It writes to a pipe that is read no faster than its records are loaded, so it waits instead of
filling memory. What it says on standard error is the program's.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dama.config.private_file import private
from dama.definitions.tap import filled
from dama.taps.messages import TapError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PART = 1024 * 1024
LONGEST = 256 * 1024 * 1024  # of one line
GRACE = 5.0
LINGER = 1.0  # that its output may stay open when it has ended
OWN = "DAMA_TAP"  # what the loader is told by, and the tap is not


class Process:
    """A tap that runs.

    Args:
        argv: Of the tap.
        folder: For its files.
        config: With placeholders, or the path of a file.
        catalog: The path of a file.
        values: Of the placeholders.
        state: Where it continues, as JSON; None for the beginning.

    Raises:
        TapError: It cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        *,
        config: Mapping[str, Any] | str | None,
        catalog: str | None,
        values: Mapping[str, Any],
        state: str | None,
    ) -> None:
        self.name = Path(argv[0]).name
        self._parts: list[bytes] = []
        self._size = 0
        files: list[int] = []
        command = [*argv]
        if isinstance(config, str):
            command += ["--config", config]
        elif config is not None:
            command += ["--config", _in_memory(filled(config, values), folder, files)]
        command += [] if catalog is None else ["--catalog", catalog]
        command += [] if state is None else ["--state", _kept(state, folder)]
        try:
            self._process, self._reader = _started(command, files)
        except OSError as error:
            raise TapError(
                f"{argv[0]} cannot be started: {error.strerror}.",
                "Give the path of the tap in the environment where it is installed, as in "
                '["/opt/taps/shop/bin/tap-shop"].',
            ) from error
        finally:
            for descriptor in files:
                os.close(descriptor)

    def lines(self, seconds: float) -> list[bytes] | None:
        """The next lines; none when there are none within this time; None at the end.

        Raises:
            TapError: A line is too long to be kept.
        """
        if not self._is_ready(seconds):
            if self._process.poll() is None or self._is_ready(LINGER):
                return []
            part = b""  # another process of it has the pipe still
        else:
            part = os.read(self._reader, PART)
        if not part:
            rest = b"".join(self._parts)
            self._parts, self._size = [], 0
            return [rest] if rest.strip() else None
        first, *others = part.split(b"\n")
        if not others:
            self._parts.append(part)
            self._size += len(part)
            if self._size > LONGEST:
                raise TapError(f"{self.name} wrote a line of more than {LONGEST:,} bytes.")
            return []
        lines = [b"".join([*self._parts, first]), *others]
        self._parts, self._size = [lines[-1]], len(lines[-1])
        return [line for line in lines[:-1] if line.strip()]

    def _is_ready(self, seconds: float) -> bool:
        """Whether there is something to read within this time, be it the end."""
        poll = select.poll()  # select() takes no descriptor from 1,024 on
        poll.register(self._reader, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def wait(self) -> int:
        """Its exit code, when it has closed its output; negative for a signal."""
        return self._process.wait()

    def end(self) -> None:
        """End it, if it has not ended."""
        with suppress(OSError):
            os.close(self._reader)
        if self._process.poll() is None:
            self._process.terminate()
            deadline = time.monotonic() + GRACE
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            self._process.kill()
        self._process.wait()


def _started(command: Sequence[str], files: Sequence[int]) -> tuple[subprocess.Popen[bytes], int]:
    """A process, and where its output is read."""
    environment = {n: value for n, value in os.environ.items() if not n.startswith(OWN)}
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=writer, env=environment, pass_fds=files
        )
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    return process, reader


def _kept(state: str, folder: Path) -> str:
    file = folder / "tap-state.json"
    with open(file, "w", encoding="utf-8", opener=private) as opened:
        opened.write(state)
    return str(file)


def _in_memory(config: object, folder: Path, files: list[int]) -> str:
    """The path of a file with the config, whose secrets are on no disk where the system allows."""
    text = msgspec.json.encode(config)
    if not hasattr(os, "memfd_create"):
        file = folder / "tap-config.json"
        with open(file, "wb", opener=private) as opened:
            opened.write(text)
        return str(file)
    descriptor = os.memfd_create("config")
    os.write(descriptor, text)
    files.append(descriptor)
    return f"/proc/self/fd/{descriptor}"
