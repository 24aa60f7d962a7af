"""Asking an engine: one of its commands, with a limit of time."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from dama.launchers.launcher import AwayError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


async def ask(
    command: Sequence[str],
    *,
    timeout: float,
    text: str = "",
    environ: Mapping[str, str] | None = None,
) -> tuple[int, str, str]:
    """Run a command of an engine. One that takes too long is ended with all that it has started.

    Args:
        command: With its arguments.
        timeout: Seconds that it may take.
        text: What it gets on standard input.
        environ: Variables that it gets besides those of this process.

    Returns:
        Its exit code, and what it printed on both streams.

    Raises:
        AwayError: It cannot be started, or takes longer.
    """
    # Files, not pipes: a script has answered when it is over, whatever holds its output open.
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(text.encode())
        given.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=given,
                stdout=out,
                stderr=err,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise AwayError(f"{command[0]} cannot be started: {error.strerror}.") from error
        try:
            async with asyncio.timeout(timeout):
                code = await process.wait()
        except TimeoutError:
            raise AwayError(f"{command[0]} has not answered for {timeout:g} s.") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return code, _written(out), _written(err)


def _written(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def last_line(text: str) -> str:
    """What a command complained of last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def exit_of(text: str) -> tuple[int | None, int]:
    """The exit code and the signal: CODE:SIGNAL, or one number as that of `wait`."""
    code, _, signal = text.partition(":")
    if signal.isdecimal() and code.isdecimal():
        return int(code), int(signal)
    return (int(code) >> 8, int(code) & 127) if code.isdecimal() else (None, 0)
