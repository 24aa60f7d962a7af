"""Archived trees in files: out of the database for years, each a bundle that can come back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from dama.bundles import reading
from dama.bundles.errors import BundleError
from dama.config.private_file import make_private
from dama.operations import bundles
from dama.store.errors import UnknownContextError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

    from dama.app import App
    from dama.operations.bundles import Imported

IN_A_FOLDER = 1000
MOST_COPIES = 1000


@dataclass(frozen=True)
class Filed:
    """What was moved into files.

    Attributes:
        trees: How many, each a file of its own.
        contexts: How many they have.
        events: How many they have.
        bytes: The size of the files.
    """

    trees: int = 0
    contexts: int = 0
    events: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class FiledTree:
    """A tree in a file.

    Attributes:
        path: The file.
        context_id: Of its root.
        task: Of its root.
        status: Of its root.
        created_at: Of its root.
        contexts: How many it has.
        events: How many they have.
        error: What is wrong with the file; None where nothing is.
    """

    path: str
    context_id: int | None = None
    task: str | None = None
    status: str | None = None
    created_at: datetime | None = None
    contexts: int = 0
    events: int = 0
    error: str | None = None


async def add(app: App, folder: Path, age: timedelta) -> Filed:
    """Move trees that were archived for longer than an age into files, one at a time.

    A tree leaves the database when its file is on the disk and was read again. Whatever is cut off
    in the middle leaves it in one place or in both; the next time it is looked at again.

    Args:
        app: Where they are.
        folder: Where to; made where it is missing.
        age: Since they were archived.

    Raises:
        BundleError: A file cannot be written, or is not what was written.
    """
    done, after = Filed(), 0
    top = folder / await app.store.database.identity()
    while roots := await app.store.archive.archived(age, after=after):
        for root in roots:
            found = await _file(app, top / f"{root // IN_A_FOLDER * IN_A_FOLDER}", root)
            if found is not None:
                done = Filed(
                    done.trees + 1, done.contexts + found.contexts,
                    done.events + found.events, done.bytes + found.bytes,
                )  # fmt: skip
        after = roots[-1]
    return done


def listed(folder: Path, *, verify: bool = False) -> Iterator[FiledTree]:
    """The trees in the files of a folder, by their paths.

    Args:
        folder: Where.
        verify: Whether all of each file is read, and its checksums are held against it.
    """
    for path in sorted(folder.rglob("*.zip")):
        try:
            with reading.opened(path) as bundle:
                if verify:
                    bundle.verify()
                root = bundle.contexts[0] if bundle.contexts else None
                manifest = bundle.manifest
        except BundleError as error:
            yield FiledTree(str(path), error=error.message)
            continue
        tree = FiledTree(str(path), contexts=manifest.contexts, events=manifest.events)
        yield tree if root is None else replace(
            tree, context_id=root.context_id, task=root.task, status=root.status,
            created_at=root.created_at,
        )  # fmt: skip


async def restore(app: App, folder: Path, context_id: int) -> Imported:
    """Bring a tree back from its file, as it was; the file stays.

    Args:
        app: Where to: the database that it ran in.
        folder: Where its file is.
        context_id: Of its root.

    Raises:
        UnknownContextError: No file there has it.
        BundleError: Its file is damaged.
        IdempotencyConflictError: An idempotency key of it belongs to another context now.
    """
    here = await app.store.database.identity()
    place = folder / here / f"{context_id // IN_A_FOLDER * IN_A_FOLDER}"
    paths = sorted(place.glob(f"{context_id}*.zip"), key=lambda path: path.stat().st_mtime_ns)
    fitting = [path for path in paths if path.name.partition(".")[0] == str(context_id)]
    if not fitting:
        raise UnknownContextError(
            f"No file in {folder} has context {context_id} of this database.",
            f"`dama archive ls {folder}` lists what is there.",
        )
    return await bundles.import_bundle(app, fitting[-1])


async def _file(app: App, folder: Path, root: int) -> bundles.Exported | None:
    """Write the file of a tree and take the tree away; None where it has changed meanwhile."""
    await asyncio.to_thread(make_private, folder)
    part = folder / f".{root}.new"
    await asyncio.to_thread(part.unlink, missing_ok=True)
    done = await bundles.export(app, [root], part, plainly=True)
    path = await asyncio.to_thread(_settled, part, folder, root)
    with reading.opened(path) as bundle:
        await asyncio.to_thread(bundle.verify)
    if await app.store.archive.forget_exported(root, done.contexts, done.events):
        return replace(done, path=str(path))
    return None


def _settled(part: Path, folder: Path, root: int) -> Path:
    """Give a file its name; one that is there is the same, or an earlier state of the tree."""
    data = part.read_bytes()
    for number in range(1, MOST_COPIES):
        path = folder / (f"{root}.zip" if number == 1 else f"{root}.{number}.zip")
        if not path.exists():
            part.rename(path)
            return path
        if path.read_bytes() == data:
            part.unlink()
            return path
    raise BundleError(f"{folder} has {MOST_COPIES} files of context {root}.", "Move some away.")
