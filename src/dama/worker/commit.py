"""The commit of the code: what Git has checked out where a worker starts, read from its files."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = 12  # of its digits: as Git shortens them in a large repository
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out in a folder or above it; None where that is unknown.

    What was changed since and not committed is not seen.
    """
    with suppress(OSError, UnicodeDecodeError):
        whole = folder.absolute()
        for place in (whole, *whole.parents):
            if (place / ".git").exists():
                return _head(place / ".git")
    return None


def _head(git: Path) -> str | None:
    if git.is_file():  # of a work tree or a submodule: the file names the folder
        git = git.parent / git.read_text().removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text().strip()
    if head.startswith("ref: "):
        common = git / "commondir"
        shared = git / common.read_text().strip() if common.is_file() else git
        head = _reference(head[5:], [git, shared])
    return head[:SHOWN] if _COMMIT.fullmatch(head) else None


def _reference(name: str, folders: list[Path]) -> str:
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).read_text().strip()
    for folder in folders:
        packed = folder / "packed-refs"
        for line in packed.read_text().splitlines() if packed.is_file() else ():
            commit, _, packed_name = line.partition(" ")
            if packed_name == name:
                return commit
    return ""
