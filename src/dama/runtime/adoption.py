"""Adoption: what becomes of programs whose worker is gone, and of those that nobody wants.

A program that goes on is adopted by whoever claims its run. Here is the rest: programs whose
context was cancelled, or whose run another host has, are ended, with or without a shim.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dama import clock
from dama.runtime.run_directory import RunDirectories, RunDirectory, State

if TYPE_CHECKING:
    from dama.store import Store

_log = logging.getLogger("dama.worker")

POLL_SECONDS = 0.02
START_SECONDS = 10.0
DEFAULT_GRACE = 10.0


async def stop_bound_elsewhere(store: Store, directories: RunDirectories, host: str) -> None:
    """End the programs of this host whose contexts have ended or belong to others.

    Raises:
        UnavailableError: The database does not answer; nothing was ended.
    """
    # Looked at before the database is asked: a program that runs then was bound before.
    found = [(directory, directory.state()) for directory in directories.open()]
    if not found:
        return
    bound = await store.queue.bound_programs([each.context_id for each, _ in found], host)
    unwanted = [
        (directory, state)
        for directory, state in found
        if bound.get(directory.context_id) != directory.epoch
    ]
    await asyncio.gather(*(_dispose(directory, state) for directory, state in unwanted))


async def _dispose(directory: RunDirectory, state: State) -> None:
    if state in (State.HELD, State.UNSUPERVISED):
        await end(directory)
    if directory.state() in (State.ENDED, State.LOST):
        directory.settle()
        told = directory.exit() or {}
        _log.info(
            "context %s: its program was ended: %s processes were told to, %s were killed",
            directory.context_id,
            told.get("told", "some"),
            told.get("killed", "some"),
        )
    elif state is State.UNSTARTED and (lock := directory.lock()) is not None:
        directory.settle()  # who wanted to start it is gone, or marks it anew
        os.close(lock)


async def end(directory: RunDirectory) -> None:
    """End a program: by its shim, or where that is gone by what is left of it."""
    deadline = time.monotonic() + START_SECONDS
    while (state := directory.state()) is State.HELD and time.monotonic() < deadline:
        if (shim := directory.shim()) is not None:
            with suppress(ProcessLookupError):
                os.kill(shim, signal.SIGTERM)
            await _gone(directory)
            return
        await clock.sleep(POLL_SECONDS)  # it is about to start
    if state in (State.UNSUPERVISED, State.LOST):
        await _end_members(directory)


async def _gone(directory: RunDirectory) -> None:
    """Wait for the shim's ladder, and somewhat longer."""
    deadline = time.monotonic() + _grace(directory) + START_SECONDS
    while directory.state() is State.HELD and time.monotonic() < deadline:
        await clock.sleep(POLL_SECONDS)


async def _end_members(directory: RunDirectory) -> None:
    """The kill ladder without a shim."""
    kill_at = time.monotonic() + _grace(directory)
    told: set[int] = set()
    while members := await asyncio.to_thread(members_of, directory):
        number = signal.SIGTERM if time.monotonic() < kill_at else signal.SIGKILL
        for pid in members if number == signal.SIGKILL else members - told:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        told |= members
        await clock.sleep(POLL_SECONDS)


def members_of(directory: RunDirectory) -> set[int]:
    """The processes of a program: they know where its events go, whatever their session is."""
    mark = b"\0DAMA_EVENTS=" + os.fsencode(directory.events) + b"\0"
    found: set[int] = set()
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else ():
        if entry.name.isdigit() and int(entry.name) > 1:
            with suppress(OSError):
                if mark in b"\0" + (entry / "environ").read_bytes():
                    found.add(int(entry.name))
    pid = directory.pid()
    return found if pid is None else found | {pid}


def _grace(directory: RunDirectory) -> float:
    return float((directory.read("spec.json") or {}).get("grace", DEFAULT_GRACE))
