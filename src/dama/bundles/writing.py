"""Writing a bundle: beside its place first, so that a file of its name is always a whole one."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING
from zipfile import ZipFile

import msgspec

from dama.bundles.errors import BundleError
from dama.bundles.layout import (
    CONTEXTS,
    EVENTS,
    FORMAT,
    MANIFEST,
    VERSION,
    Manifest,
    member,
)
from dama.config.private_file import keep_on_disk, private
from dama.domain.exact import compact

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from dama.store.bundles import BundledContext


class Writer:
    """What is written of a bundle so far."""

    def __init__(self, file: ZipFile) -> None:
        self._file = file
        self._sums: dict[str, str] = {}
        self.contexts = 0
        self.events = 0

    def add_contexts(self, contexts: Sequence[BundledContext]) -> None:
        """The contexts, parents before their children."""
        self.contexts = len(contexts)
        self.add(CONTEXTS, (compact(context) + b"\n" for context in contexts))

    @contextmanager
    def adding_events(self) -> Generator[EventWriter]:
        """Add events, some at a time."""
        with self._file.open(member(EVENTS), "w", force_zip64=True) as into:
            writer = EventWriter(into)
            yield writer
        self.events = writer.count
        self._sums[EVENTS] = writer.checksum

    def add(self, name: str, parts: Iterable[bytes]) -> None:
        """Add a member.

        Args:
            name: Of the member.
            parts: Its bytes.
        """
        found = hashlib.sha256()
        with self._file.open(member(name), "w", force_zip64=True) as into:
            for part in parts:
                found.update(part)
                into.write(part)
        self._sums[name] = found.hexdigest()

    def close(self) -> None:
        """Write what is in it; nothing comes after that."""
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            contexts=self.contexts,
            events=self.events,
            sha256=self._sums,
        )
        text = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2)
        self._file.writestr(member(MANIFEST), text + b"\n")


class EventWriter:
    """Takes lines of events."""

    def __init__(self, into: IO[bytes]) -> None:
        self._into = into
        self._sum = hashlib.sha256()
        self.count = 0

    def add(self, lines: Sequence[str]) -> None:
        """Add lines, without their ends."""
        data = "".join(f"{line}\n" for line in lines).encode()
        self._sum.update(data)
        self._into.write(data)
        self.count += len(lines)

    @property
    def checksum(self) -> str:
        """Of all lines so far."""
        return self._sum.hexdigest()


@contextmanager
def written(path: Path) -> Generator[Writer]:
    """Write a bundle; it gets its name when the block has ended, and is on the disk then.

    Raises:
        BundleError: There is such a file, or it cannot be written.
    """
    with placed(path) as part, ZipFile(part, "w") as file:
        writer = Writer(file)
        yield writer
        writer.close()


@contextmanager
def placed(path: Path) -> Generator[Path]:
    """Write a file beside its place; it gets its name when the block has ended.

    Raises:
        BundleError: There is such a file, or it cannot be written.
    """
    _refuse_existing(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        os.close(private(str(part), os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        yield part
        _refuse_existing(path)
        keep_on_disk(part)
        part.replace(path)
        keep_on_disk(path.parent)
    except OSError as error:
        if error.errno is None:  # of what is read meanwhile, such as a time that is over
            raise
        raise BundleError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Name a file in a folder that is there, with room for it.",
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise BundleError(f"{path} is there already.", "Name another file, or remove it first.")
