"""Cleaning: what runs leave on a host goes when nobody needs it any more."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from stat import S_IRWXU
from typing import TYPE_CHECKING, cast

from dama import clock
from dama.config.duration import parse_duration
from dama.config.table import nearest, shown
from dama.errors import InvalidDefinitionError
from dama.programs.run_directory import WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dama.programs.run_directory import RunDirectories, RunDirectory
    from dama.store import Store

DAY = 86400.0
FOREVER = "forever"
BATCH = 1000
GONE = ".gone"  # at the name of a folder that is being removed
SOONEST, LATEST = 60.0, 3600.0

_log = logging.getLogger("dama.worker")


@dataclass(frozen=True)
class Keep:
    """How long things stay after the last event of their context, in seconds; None for no limit.

    Attributes:
        logs: How long the files of runs stay, and the working folders of trees that failed: a
            duration such as "30d", or "forever".
        work: How long the working folders of trees that are done stay.
    """

    logs: float | None = 30 * DAY
    work: float | None = DAY


@dataclass
class Cleaned:
    """What was removed.

    Attributes:
        runs: The files of so many runs.
        folders: So many working folders.
        bytes: What they took on the disk.
    """

    runs: int = 0
    folders: int = 0
    bytes: int = 0


def read_keep(values: Mapping[str, object], source: str) -> Keep:
    """Read `[keep]` of a settings file.

    Raises:
        InvalidDefinitionError: A key is unknown, or no duration.
    """
    known = [field.name for field in fields(Keep)]
    chosen: dict[str, float | None] = {}
    for name, value in values.items():
        where = f"{source}: keep.{name}"
        if name not in known:
            raise InvalidDefinitionError(
                f"{where} is {shown(value)}: there is no such key.", nearest(name, known)
            )
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidDefinitionError(
                f"{where} is {shown(value)}.", f'Write {name} = "30d" or "{FOREVER}".'
            )
        chosen[name] = None if value == FOREVER else parse_duration(value, of=where)
    return Keep(**chosen)


async def clean_always(
    store: Store,
    directories: Callable[[], RunDirectories],
    keep: Keep,
    well: Callable[[], None] = lambda: None,
) -> None:
    """Clean once in a while; hosts and workers do not do so at the same moment.

    Args:
        store: As of `clean`.
        directories: Gives what there is on this host.
        keep: The policy.
        well: Called when it was done.
    """
    while True:
        await clock.sleep(random.uniform(SOONEST, LATEST))
        done = await clean(store, directories(), keep)
        well()
        if done.bytes:
            _log.info("cleaned %s runs and %s working folders", done.runs, done.folders)


async def clean(
    store: Store, directories: RunDirectories, keep: Keep, *, dry_run: bool = False
) -> Cleaned:
    """Remove what is older than the policy wants, of contexts that have ended.

    Args:
        store: Knows the contexts; of those that it does not know, the files' age counts.
        directories: What there is on this host.
        keep: The policy.
        dry_run: Only say what would be removed.
    """
    done = Cleaned()
    if not dry_run:
        await asyncio.to_thread(_remove_begun, directories)
    runs, folders = _Runs(directories, keep), _Folders(directories, keep)
    for kind, read_ends in ((runs, store.ends), (folders, store.windows.tree_ends)):
        found = await asyncio.to_thread(kind.candidates)
        for place in range(0, len(found), BATCH):
            part = found[place : place + BATCH]
            ends = await read_ends(part)
            for number in part:
                # Removing takes its time, in which a tree may be resumed: it is asked for again.
                if kind.is_over(ends.get(number)) and (
                    dry_run or kind.is_over((await read_ends([number])).get(number))
                ):
                    await asyncio.to_thread(kind.remove, number, done, dry_run=dry_run)
    return done


class _Runs:
    """The files of runs."""

    def __init__(self, directories: RunDirectories, keep: Keep) -> None:
        self._directories = directories
        self._keep = keep

    def candidates(self) -> list[int]:
        """Contexts whose files have not changed for as long as they are kept."""
        if self._keep.logs is None:
            return []
        return [n for n in _numbers(self._directories.path) if self._is_old(n, self._keep.logs)]

    def _is_old(self, context_id: int, seconds: float) -> bool:
        with suppress(OSError):
            runs = self._directories.of_context(context_id)
            return all(_age(run.path) >= seconds for run in runs)
        return False

    def is_over(self, end: tuple[str, float] | None) -> bool:
        """Whether the policy lets them go."""
        return end is None or (end[0] != "OPEN" and end[1] >= cast("float", self._keep.logs))

    def remove(self, context_id: int, done: Cleaned, *, dry_run: bool) -> None:
        """Remove those that nobody holds."""
        for run in self._directories.of_context(context_id):
            if _is_wanted(run):
                continue
            done.runs += 1
            done.bytes += _removed(run.path, dry_run=dry_run)
        with suppress(OSError):  # a run that is held, or a new one
            (self._directories.path / str(context_id)).rmdir()


class _Folders:
    """The working folders of trees."""

    def __init__(self, directories: RunDirectories, keep: Keep) -> None:
        self._directories = directories
        self._keep = keep

    def candidates(self) -> list[int]:
        """Roots whose folder has not changed for as long as it is kept at least."""
        least = min((s for s in (self._keep.logs, self._keep.work) if s is not None), default=None)
        if least is None:
            return []
        work = self._directories.path / WORK
        return [root for root in _numbers(work) if _age(work / str(root)) >= least]

    def is_over(self, end: tuple[str, float] | None) -> bool:
        """Whether the policy lets it go; a tree that failed may be resumed, and needs it then."""
        if end is None:
            return self._keep.work is not None
        status, age = end
        kept = self._keep.work if status == "DONE" else self._keep.logs
        return status != "OPEN" and kept is not None and age >= kept

    def remove(self, context_id: int, done: Cleaned, *, dry_run: bool) -> None:
        """Remove it, at one moment: a tree that is resumed then finds all of it or nothing."""
        folder = self._directories.work(context_id)
        if not dry_run:
            with suppress(OSError):  # somebody else cleans
                folder = folder.rename(folder.with_name(f"{context_id}{GONE}"))
        done.folders += 1
        done.bytes += _removed(folder, dry_run=dry_run)


def _is_wanted(run: RunDirectory) -> bool:
    """Whether something is to be done for a run, or somebody owns it; also when nobody can tell."""
    with suppress(OSError):
        return run.is_open() or run.is_held()
    return True


def _remove_begun(directories: RunDirectories) -> None:
    """Remove what a cleaner that was killed had begun to remove."""
    for folder in (directories.path / WORK).glob(f"*{GONE}"):
        _removed(folder, dry_run=False)


def _numbers(folder: Path) -> list[int]:
    with suppress(FileNotFoundError):
        return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())
    return []


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # somebody else cleans
        return 0.0


def _removed(folder: Path, *, dry_run: bool) -> int:
    """The bytes that it took."""
    if not dry_run:
        _open_up(folder)
    size = sum(_sizes(folder))
    if not dry_run:
        shutil.rmtree(folder, ignore_errors=True)
    return size


def _open_up(folder: Path) -> None:
    """Make its folders such that what is in them can be removed: some tools protect their files."""
    with suppress(OSError):
        folder.chmod(S_IRWXU)
    for parent, names, _ in os.walk(folder):
        for name in names:
            with suppress(OSError):
                path = Path(parent, name)
                if not path.is_symlink() and path.stat().st_mode & S_IRWXU != S_IRWXU:
                    path.chmod(S_IRWXU)


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                yield Path(parent, name).lstat().st_blocks * 512
