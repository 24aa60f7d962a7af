"""Masking: secrets that a program wrote into its files, overwritten in place while they grow.

A program writes straight to its files, so a secret that it prints stands there until its worker has
read that far; who reads the file through us sees the mask at once (`dama.programs.tail`). The mask
is as long as the secret and has as many lines: the places of everything else do not change. Files
whose names have one get other names when the program has ended.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dama.domain.secrets import stars
from dama.programs.tail import data_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dama.domain.secrets import Secrets
    from dama.programs.run_directory import RunDirectory

CHUNK = 256 * 1024

_log = logging.getLogger("dama.worker")


class Mask:
    """Overwrites the secrets of one file; each part of it is read once.

    Args:
        path: The file.
        secrets: What is struck out.
        only_look: Find them, and leave them there.

    Attributes:
        path: The file.
        found: How many there were.
    """

    def __init__(self, path: Path, secrets: Secrets, *, only_look: bool = False) -> None:
        self.path = path
        self._secrets = secrets
        self._only_look = only_look
        self.found = 0
        self._offset = 0
        self._inode: tuple[int, int] | None = None

    def apply(self, limit: int | None = None) -> None:
        """Look at what is new. What cannot be written now is looked at again.

        Args:
            limit: What begins here is not read yet by those who need it as it is; None for the end.
        """
        if not self._secrets:
            return
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("secrets in %s are not struck out: %s", self.path, error.strerror)
            return
        try:
            self._apply(descriptor, limit)
        finally:
            os.close(descriptor)

    def _apply(self, descriptor: int, limit: int | None) -> None:
        stat = os.fstat(descriptor)
        size = stat.st_size if limit is None else min(stat.st_size, limit)
        inode = stat.st_dev, stat.st_ino
        if size < self._offset or inode != self._inode:  # it was begun again, or replaced
            self._offset, self._inode = 0, inode
        # One that began in the last part may be whole by now.
        at = data_at(descriptor, max(self._offset - self._secrets.longest + 1, 0))
        while at < size and (data := os.pread(descriptor, min(CHUNK, size - at), at)):
            for begin, end in self._secrets.places(data):
                self.found += 1
                if not self._only_look:
                    os.pwrite(descriptor, stars(data[begin:end]), at + begin)
            self._offset = at + len(data)
            if self._offset >= size:
                break
            at = max(self._offset - self._secrets.longest + 1, at + 1)


def mask_all(directory: RunDirectory, secrets: Secrets, begun: Iterable[Mask] = ()) -> None:
    """Strike secrets out of all that a program has left: its files, and names of artifacts.

    Args:
        directory: Where it is.
        secrets: What is struck out.
        begun: What these have looked at is not looked at again.
    """
    masks = {mask.path: mask for mask in begun}
    if secrets:
        for path in (*directory.written, *directory.path.glob("*.other")):
            (masks.get(path) or Mask(path, secrets)).apply()
        strike_names(directory.artifacts, secrets)


def strike_names(folder: Path, secrets: Secrets) -> None:
    """Give files other names: whoever lists them later does not know the secrets."""
    for path, name in names_with_secrets(folder, secrets):
        try:
            rename_within(path, name)
        except OSError as error:
            shown = path.with_name(name)
            _log.warning("%s keeps a secret in its name: %s", shown, error.strerror)


def names_with_secrets(folder: Path, secrets: Secrets) -> Iterator[tuple[Path, str]]:
    """What has a secret in its name, with the name without; from below, so that no path changes."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            if (struck := secrets.strike(name)) != name:
                yield Path(place, name), struck


def rename_within(path: Path, name: str) -> None:
    """Give a file another name in its folder; with a number where something has it."""
    free, number = path.with_name(name), 1
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{name}-{number}")
    path.rename(free)
