"""Reading a bundle: it may come from anywhere, so nothing in it is taken as it is."""

from __future__ import annotations

import hashlib
import lzma
import struct
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from zipfile import BadZipFile, ZipFile

import msgspec

from dama.bundles.errors import BundleError
from dama.bundles.layout import (
    CONTEXTS,
    EVENTS,
    FORMAT,
    LARGEST_MANIFEST,
    LONGEST_LINE,
    MANIFEST,
    RUN_FILE,
    VERSION,
    BundledEvent,
    Manifest,
)
from dama.counts import number_of
from dama.store.bundles import BundledContext

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

S = TypeVar("S", bound=msgspec.Struct)

PART = 1024 * 1024
# A member is not there, is damaged, is encrypted, or is packed in a way that is not known here; or
# what a zip file says of its members is not a number, a string or a place in it.
UNREADABLE = (
    KeyError, BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    OSError, ValueError, OverflowError, struct.error,
)  # fmt: skip
DAMAGED = "It is damaged, or was changed: export it again, or take the copy that it was made from."


class Bundle:
    """A bundle that is open.

    Attributes:
        path: The file.
        manifest: What it says of itself.
        contexts: Parents before their children.
    """

    def __init__(self, path: Path, file: ZipFile) -> None:
        self.path = path
        self._file = file
        self.manifest = self._manifest()
        self.contexts = [each for each, _ in self._structs(CONTEXTS, BundledContext)]
        self._check_contexts()

    def events(self) -> Iterator[tuple[BundledEvent, str]]:
        """Its events, each with its line, which the database reads.

        Raises:
            BundleError: It is damaged, which may be found at its end only.
        """
        last = len(self.contexts)
        count = 0
        for event, line in self._structs(EVENTS, BundledEvent):
            count += 1
            if not 1 <= event.context <= last or event.version < 1:
                raise self._wrong(
                    f"line {count} of {EVENTS} is of context {event.context}, version "
                    f"{event.version}; {number_of(last, 'context')} in all, "
                    "and versions begin with 1"
                )
            yield event, line
        if count != self.manifest.events:
            raise self._wrong(
                f"it says that it has {number_of(self.manifest.events, 'event')}, got {count}"
            )

    def verify(self) -> None:
        """Read all of it once.

        Raises:
            BundleError: A part of it is not what was written.
        """
        for name in self.manifest.sha256:
            for _ in self.parts(name):
                pass

    def run_files(self) -> list[tuple[str, int, int, str, str]]:
        """What it has of runs: kind, place of the context, epoch, name, and the member."""
        found = ((RUN_FILE.fullmatch(name), name) for name in sorted(self.manifest.sha256))
        return [
            (m["kind"], int(m["context"]), int(m["epoch"]), m["name"], name)
            for m, name in found
            if m and int(m["context"]) <= len(self.contexts) and _is_plain(m["name"])
        ]

    def parts(self, name: str) -> Iterator[bytes]:
        """The bytes of a member.

        Raises:
            BundleError: They are not those that were written; found at the end.
        """
        found = hashlib.sha256()
        try:
            with self._file.open(name) as member:
                while part := member.read(PART):
                    found.update(part)
                    yield part
        except UNREADABLE as error:
            raise self._wrong(f"{name} cannot be read: {error}") from error
        if found.hexdigest() != self.manifest.sha256.get(name):
            raise self._wrong(f"the checksum of {name} is another one")

    def _manifest(self) -> Manifest:
        try:
            with self._file.open(MANIFEST) as member:
                found = msgspec.json.decode(member.read(LARGEST_MANIFEST), type=Manifest)
        except KeyError:
            raise self._wrong(f"it has no {MANIFEST}") from None
        except (msgspec.MsgspecError, *UNREADABLE) as error:
            raise self._wrong(f"{MANIFEST} cannot be read: {error}") from error
        if found.format != FORMAT:
            raise self._wrong(f"its format is {found.format!r}, not {FORMAT!r}")
        if found.version > VERSION:
            raise BundleError(
                f"{self.path} has version {found.version} of the format; this dama reads up to "
                f"version {VERSION}.",
                "Update dama here, or export it with this version.",
            )
        return found

    def _structs(self, name: str, kind: type[S]) -> Iterator[tuple[S, str]]:
        decode = msgspec.json.Decoder(kind).decode
        for number, line in enumerate(self._lines(name), 1):
            try:
                yield decode(line), line.decode()
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise self._wrong(f"line {number} of {name} is wrong: {error}") from error

    def _lines(self, name: str) -> Iterator[bytes]:
        rest = b""
        for part in self.parts(name):
            *whole, rest = (rest + part).split(b"\n")
            yield from whole
            if len(rest) > LONGEST_LINE:
                raise self._wrong(f"a line of {name} is longer than {LONGEST_LINE:,} bytes")
        if rest:
            raise self._wrong(f"the last line of {name} is cut off")

    def _check_contexts(self) -> None:
        for place, each in enumerate(self.contexts, 1):
            parent = place if each.parent is None else each.parent
            if each.context != place or not 1 <= parent <= place or each.events < 0:
                raise self._wrong(f"line {place} of {CONTEXTS} is not that of context {place}")
            if parent == place and each.parent is not None:
                raise self._wrong(f"context {place} of {CONTEXTS} is its own parent")
        if len(self.contexts) != self.manifest.contexts:
            raise self._wrong(
                f"it says that it has {number_of(self.manifest.contexts, 'context')}, "
                f"got {len(self.contexts)}"
            )

    def _wrong(self, what: str) -> BundleError:
        return BundleError(f"{self.path} is no bundle that can be imported: {what}.", DAMAGED)


@contextmanager
def opened(path: Path) -> Generator[Bundle]:
    """Open a bundle.

    Raises:
        BundleError: It is not there, or is none.
    """
    try:
        file = ZipFile(path)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror or error}.", "`dama export` writes bundles."
        ) from error
    except UNREADABLE as error:
        raise BundleError(
            f"{path} is no bundle: it is no zip file, or a damaged one.",
            "`dama export` writes bundles.",
        ) from error
    with file:
        yield Bundle(path, file)


def _is_plain(name: str) -> bool:
    """Whether a name stays in the folder that it is written into."""
    parts = name.split("/")
    return not any(part in {"", ".", ".."} or "\0" in part for part in parts)
