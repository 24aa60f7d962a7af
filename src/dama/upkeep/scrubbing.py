"""Scrubbing: a secret that got in leaves the database and the files of this host.

What programs left as artifacts and in their working folders is their own: only names are changed
there. Other hosts have files of their own, so the act is repeated there.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.programs.masking import Mask, names_with_secrets, rename_within
from dama.programs.packed import EARLIER, NAME
from dama.programs.programs import directories_of
from dama.programs.run_directory import RunDirectory
from dama.store.scrub import scrubbing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from dama.domain.secrets import Secrets
    from dama.programs.run_directory import RunDirectories
    from dama.store import Store

OWN = ("lock", NAME, EARLIER)  # of a run's directory, and without data


@dataclass(frozen=True)
class Where:
    """What is looked at, and why.

    Attributes:
        context_id: One context; None for the whole store.
        tree: All contexts of its tree.
        reason: Kept with the act.
    """

    context_id: int | None = None
    tree: bool = False
    reason: str = ""

    @property
    def document(self) -> dict[str, object]:
        """The payload of the event that begins the act."""
        kind = "tree" if self.tree else "context"
        where = "all" if self.context_id is None else {kind: self.context_id}
        return {"where": where, "reason": self.reason}


@dataclass(frozen=True)
class Scrubbed:
    """What was struck out, or would be.

    Attributes:
        rows: Rows of the database, by table.
        kept: Rows that have it in a word that acts, such as a name, and were left as they are.
        files: Files of this host.
        context_id: The context of the act; None when there was nothing to do.
    """

    rows: Mapping[str, int]
    kept: Mapping[str, int]
    files: int
    context_id: int | None


async def scrub(
    store: Store, home: Path, secrets: Secrets, where: Where, *, by: str, dry_run: bool = False
) -> Scrubbed:
    """Strike a secret out of all that is stored, and put the act on record.

    Args:
        store: The database; its connection must be that of the owner of the tables.
        home: The folder of dama's files on this host.
        secrets: The secret.
        where: What is looked at, and why.
        by: Who does it.
        dry_run: Only say where it is.

    Raises:
        MissingRightError: The role is not the owner of the tables.
        UnknownContextError: There is no such context.
    """
    conninfo = store.database.conninfo
    async with scrubbing(conninfo, secrets, where.document, {"user": by}) as act:
        if where.context_id is not None:
            await act.choose(where.context_id, tree=where.tree)
        await (act.count() if dry_run else act.strike())
        files = HostFiles(await directories_of(store, home), home, act.contexts)
        count = await asyncio.to_thread(files.strike, secrets, only_look=dry_run)
        if count and not dry_run:
            await act.begin()
        await act.end(count)
    return Scrubbed(act.rows, act.kept, count, act.context_id)


class HostFiles:
    """The files that may have it: those of runs, and the logs of this host.

    Args:
        directories: Of the programs of one database.
        home: Where the logs of runs in the background are.
        contexts: Only those of these; None for all.
    """

    def __init__(
        self, directories: RunDirectories, home: Path, contexts: Collection[int] | None
    ) -> None:
        self._directories = directories
        self._home = home
        self._contexts = contexts

    def strike(self, secrets: Secrets, *, only_look: bool) -> int:
        """Strike a secret out of them; returns how many had it."""
        count = 0
        for path in self._paths():
            if path.suffix == ".json":
                count += _strike_document(path, secrets, only_look=only_look)
            elif _is_file(path):
                mask = Mask(path, secrets, only_look=only_look)
                mask.apply()
                count += bool(mask.found)
        return count + sum(
            _strike_names(run.artifacts, secrets, only_look=only_look) for run in self._runs()
        )

    def _paths(self) -> Iterator[Path]:
        for run in self._runs():
            yield from (p for p in sorted(run.path.iterdir()) if p.name not in OWN and _is_file(p))
        for log in sorted((self._home / "logs").glob("*.log")):
            if self._contexts is None or log.stem in map(str, self._contexts):
                yield log
        if self._contexts is None:
            yield from sorted(self._home.glob("postgres.log*"))

    def _runs(self) -> Iterator[RunDirectory]:
        if self._contexts is None:
            folder = self._directories.path
            names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
            contexts = [int(name) for name in names if name.isdecimal()]
        else:
            contexts = sorted(self._contexts)
        for context_id in contexts:
            yield from self._directories.of_context(context_id)


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _strike_document(path: Path, secrets: Secrets, *, only_look: bool) -> int:
    """A document of ours: replaced as a whole, so that it stays one."""
    directory = RunDirectory(path.parent)
    found = directory.read(path.name)
    struck = secrets.strike_all(found)
    if found is None or struck == found:
        return 0
    if not only_look:
        directory.write(path.name, struck)
    return 1


def _strike_names(folder: Path, secrets: Secrets, *, only_look: bool) -> int:
    """The names of what a program left."""
    count = 0
    for path, name in names_with_secrets(folder, secrets):
        count += 1
        if not only_look:
            rename_within(path, name)
    return count
