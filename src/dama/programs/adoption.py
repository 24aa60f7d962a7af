"""Adoption: the fate of programs whose worker is gone, and of those that nobody wants.

A program that continues is adopted by whoever claims its run. Here is the rest: programs whose
context was cancelled, or whose run another host has, are ended, with or without a shim.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dama import clock
from dama.programs.environment import secrets_left
from dama.programs.looking import AGAIN_SECONDS
from dama.programs.masking import mask_all
from dama.programs.process import members_of, process_start, runs_below, session_of, shims_of
from dama.programs.run_directory import RunDirectories, RunDirectory, State, state_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from dama.store import Store

_log = logging.getLogger("dama.worker")

POLL_SECONDS = 0.02
START_SECONDS = 10.0
PATIENCE_SECONDS = 30.0  # for what is killed and does not go
DEFAULT_GRACE = 10.0


async def stop_bound_elsewhere(
    store: Store, directories: RunDirectories, among: Collection[int] | None = None
) -> None:
    """End the programs of this host whose contexts have ended or have another program by now.

    The epoch of the program says it, not the place: a host may have another name since, and another
    user, such as root, another place with the same files.

    Args:
        store: Where their contexts are.
        directories: Where the programs are.
        among: Only of these contexts; None for all.

    Raises:
        UnavailableError: The database does not answer; nothing was ended.
    """
    # Looked at before the database is asked: a program that runs then was bound before. One that is
    # held without a shim is not bound yet: its worker asks that itself before it starts the shim.
    opened = [each for each in directories.open() if among is None or each.context_id in among]
    looked = [(directory, state_of(directory)) for directory in opened]
    # Somebody may have removed all that says that there is a program, but not the program.
    hidden = {RunDirectory(path) for path in await asyncio.to_thread(runs_below, directories.path)}
    looked += [
        (directory, state)
        for directory in hidden.difference(opened)
        if among is None or directory.context_id in among
        if (state := state_of(directory)) is State.HELD
    ]
    found = [pair for pair in looked if _has_begun(*pair)]
    if not found:
        return
    bound = await store.queue.bound_programs([each.context_id for each, _ in found])
    unwanted = [
        (directory, state)
        for directory, state in found
        if bound.get(directory.context_id) != directory.epoch
    ]
    await asyncio.gather(*(_try_to_dispose(directory, state) for directory, state in unwanted))


def _has_begun(directory: RunDirectory, state: State) -> bool:
    """Whether there is, or was, more than a worker that is about to start the shim."""
    with suppress(OSError):
        return (
            state is not State.HELD or bool(directory.known("pid.json")) or not directory.is_held()
        )
    with suppress(OSError):  # its files cannot be seen now; a shim is started once it is bound
        return bool(shims_of(directory.path))
    return False


async def _try_to_dispose(directory: RunDirectory, state: State) -> None:
    """Each for itself: the files of one say nothing of the others."""
    try:
        await _dispose(directory, state)
    except OSError as error:  # it is tried again when something is to be looked at
        directory.let_in()
        _log.warning("context %s cannot be seen to for now: %s", directory.context_id, error)


async def _dispose(directory: RunDirectory, state: State) -> None:
    left: set[int] = set()
    secrets = secrets_left(directory)  # before its end: it has those that it was started with
    if state in (State.HELD, State.UNSUPERVISED):
        left = await end(directory)
    if left:
        return  # it is tried again when something is to be looked at
    if directory.state() in (State.ENDED, State.LOST):
        await asyncio.to_thread(mask_all, directory, secrets)
        directory.settle()
        told = directory.exit() or {}
        _log.info(
            "context %s: its program was ended: %s processes were told to, %s were killed",
            directory.context_id,
            told.get("told", "some"),
            told.get("killed", "some"),
        )
        if hung := told.get("left"):
            _log.error("context %s: %s processes of it cannot be ended", directory.context_id, hung)
    elif state is State.UNSTARTED and (lock := directory.lock()) is not None:
        directory.settle()  # who wanted to start it is gone, or marks it again
        os.close(lock)


async def end(directory: RunDirectory) -> set[int]:
    """End a program: by its shim, or where that is gone or deaf by what is left of it.

    Returns:
        The processes that could not be ended: they hang in the kernel, or belong to others.
    """
    deadline = time.monotonic() + START_SECONDS
    known: set[int] = set()
    while (state := state_of(directory)) is State.HELD and time.monotonic() < deadline:
        if (shim := _shim_of(directory)) is not None:
            known = await asyncio.to_thread(members_of, directory.path) - {shim}
            _signal(shim, signal.SIGTERM, signal.SIGCONT)
            if await _gone(directory):
                return set()
            _log.warning("context %s: its shim does not answer", directory.context_id)
            known |= await asyncio.to_thread(members_of, directory.path) - {shim}
            _signal(shim, signal.SIGKILL)
            return await _end_members(directory, known)
        if not directory.is_held():
            break  # its files are gone, and so is its shim
        await clock.sleep(POLL_SECONDS)  # it is about to start
    return await _end_members(directory, known) if state is not State.ENDED else set()


async def surely_end(directory: RunDirectory) -> None:
    """End a program, however long it takes until the host lets anybody look for it."""
    while True:
        try:
            await end(directory)
        except OSError as error:
            _log.warning("context %s cannot be seen to for now: %s", directory.context_id, error)
            await clock.sleep(AGAIN_SECONDS)
        else:
            return


def _shim_of(directory: RunDirectory) -> int | None:
    """The shim, also where its files cannot be read: a program may have closed its folder."""
    with suppress(PermissionError):
        if (shim := directory.shim()) is not None:
            return shim
    return min(shims_of(directory.path), default=None)


def _signal(pid: int, *numbers: int) -> None:
    for number in numbers:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


async def _gone(directory: RunDirectory) -> bool:
    """Wait for the shim's ladder, and somewhat longer; whether it came to its end."""
    deadline = time.monotonic() + _grace(directory) + START_SECONDS
    while is_held := state_of(directory) is State.HELD:
        if time.monotonic() > deadline:
            break
        await clock.sleep(POLL_SECONDS)
    return not is_held


async def _end_members(directory: RunDirectory, known: set[int]) -> set[int]:
    """The kill ladder without a shim."""
    kill_at = time.monotonic() + _grace(directory)
    born = {pid: since for pid in known if (since := process_start(pid))}
    told: set[int] = set()
    while members := await asyncio.to_thread(_members, directory, born):
        now = time.monotonic()
        if now > kill_at + PATIENCE_SECONDS:
            _log.error("context %s: %s cannot be ended", directory.context_id, sorted(members))
            return members
        is_late = now >= kill_at
        for pid in members if is_late else members - told:
            _signal(pid, *((signal.SIGKILL,) if is_late else (signal.SIGTERM, signal.SIGCONT)))
        told |= members
        await clock.sleep(POLL_SECONDS)
    return set()


def _members(directory: RunDirectory, born: dict[int, str]) -> set[int]:
    """What is left of a program, however it hides; those that were seen once stay known."""
    found = members_of(directory.path)
    for leader in (("pid", "started"), ("shim", "shim_started")):  # the latter of a pty
        if (known := directory.born(*leader)) is not None:
            found |= session_of(*known)
    for pid in found - born.keys():
        born[pid] = process_start(pid) or ""
    return {pid for pid, since in born.items() if since and process_start(pid) == since}


def _grace(directory: RunDirectory) -> float:
    return directory.seconds("grace", DEFAULT_GRACE)
