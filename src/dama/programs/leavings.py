"""What a program leaves when it has ended: its result, its artifacts, the sizes of its logs.

Only regular files of bounded size are read, and nothing is waited for, whatever a program left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dama.domain.errors import InvalidEventError
from dama.domain.event import Event, check_event
from dama.domain.exact import decode
from dama.programs.looking import TRANSIENT, seen
from dama.programs.masking import strike_names
from dama.programs.regular import read_regular
from dama.programs.shipping import BATCH

if TYPE_CHECKING:
    from pathlib import Path

    from dama.domain.secrets import Secrets
    from dama.programs.run_directory import RunDirectory
    from dama.programs.shipping import Shipper
    from dama.store import Append

LARGEST_RESULT = 1024 * 1024
MOST_ARTIFACTS = 10_000
LONGEST_NAME = 200

_log = logging.getLogger("dama.worker")


class Leavings:
    """What one program leaves.

    Args:
        directory: Where.
        shipper: Tells of it.
        secrets: What is struck out of names.

    Attributes:
        left_out: What it left and nobody keeps, and why, by kind.
    """

    def __init__(self, directory: RunDirectory, shipper: Shipper, secrets: Secrets) -> None:
        self._directory = directory
        self._shipper = shipper
        self._secrets = secrets
        self.left_out: dict[str, str] = {}

    async def result(self) -> object:
        """What it left as its result; None when it left none that can be used, which is told."""
        path = self._directory.result
        try:
            return await seen(lambda: _result_in(path))
        except (OSError, ValueError, RecursionError, InvalidEventError) as error:
            what = str(error) if not isinstance(error, OSError) else error.strerror or repr(error)
            why = f"{what.rstrip('.')}. It is in {path}."
            self.left_out["result"] = why
            await self._shipper.warn("result/warn", f"The result of the program is left out: {why}")
            return None

    async def ship_artifacts(self) -> None:
        """Tell of each file that it left and did not tell of itself."""
        if self._secrets:
            await asyncio.to_thread(strike_names, self._directory.artifacts, self._secrets)
        found, hidden = await seen(self._artifacts)
        strike = self._secrets.strike
        told: Counter[str] = Counter()
        items: list[Append] = []
        for name, size in found[:MOST_ARTIFACTS]:
            payload, key = described(name, size), _artifact_key(name)
            if strike(name) != name:  # the bytes of the name would tell it
                payload, key = described(strike(name), size), _artifact_key(strike(name))
            told[key] += 1
            key += f"#{told[key]}" if told[key] > 1 else ""
            items.append(self._shipper.item(":ARTIFACT", payload, key))
        for place in range(0, len(items), BATCH):
            await self._shipper.append(items[place : place + BATCH])
        folder = self._directory.artifacts
        if rest := len(found) - len(items):
            self.left_out["artifacts"] = f"{rest} of {len(found)} files in {folder} have no event"
        elif hidden:
            self.left_out["artifacts"] = strike(f"{hidden}. It is in {folder}.")

    def logs(self) -> dict[str, Any]:
        """Where the logs are, and how large."""
        directory = self._directory
        sizes = {"stdout": _size(directory.stdout), "stderr": _size(directory.stderr)}
        return {"path": str(directory.path), **sizes}

    def _artifacts(self) -> tuple[list[tuple[str, int]], str]:
        """The files that it did not tell of itself, in order; and why some may be missing."""
        folder, strike = self._directory.artifacts, self._secrets.strike
        found: list[tuple[str, int]] = []
        problems: list[str] = []

        def note(error: OSError) -> None:
            if error.errno in TRANSIENT:
                raise error
            name = os.path.relpath(error.filename, folder)
            if not (isinstance(error, FileNotFoundError) and name == "."):  # it left none at all
                problems.append(f"{name[:LONGEST_NAME]}: {error.strerror}")

        for parent, _, names in os.walk(folder, onerror=note):
            for each in names:
                path = os.path.join(parent, each)  # noqa: PTH118 - of many
                name = os.path.relpath(path, folder)
                told = {strike(name), strike(path)} & self._shipper.artifacts
                try:
                    status = os.lstat(path)
                except OSError as error:
                    note(error)
                    continue
                if stat.S_ISREG(status.st_mode) and not told:
                    found.append((name, status.st_size))
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return sorted(found), f"{problems[0]}{more}" if problems else ""


def _result_in(path: Path) -> object:
    """The result that a file has; None when it is empty or not there.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large, or not JSON.
        InvalidEventError: No event can hold it.
    """
    text = _read_result(path)
    if not text.strip():
        return None
    result: object = decode(text)
    check_event(Event("result", result))
    return result


def _read_result(path: Path) -> bytes:
    """A result of bounded size, of a regular file; empty when there is none. Waits for nothing.

    Raises:
        OSError: It is none.
        ValueError: It is too large.
    """
    if not os.path.lexists(path):
        return b""
    return read_regular(path, LARGEST_RESULT)


def readable(name: str) -> str:
    """The name of a file as text; it need not be UTF-8, and then has replacements."""
    return os.fsencode(name).decode(errors="replace")


def described(name: str, size: int) -> dict[str, Any]:
    """An artifact; of a name that is not UTF-8 the bytes are there as well, in hexadecimal."""
    if (shown := readable(name)) == name:
        return {"path": name, "bytes": size}
    return {"path": shown, "bytes": size, "path_hex": os.fsencode(name).hex()}


def _artifact_key(name: str) -> str:
    shown = readable(name)
    return f"artifact/{shown}" if shown == name else f"artifact/{shown}/{os.fsencode(name).hex()}"


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
