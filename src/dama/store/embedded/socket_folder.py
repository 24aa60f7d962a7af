"""The folder of the server's socket: private to one user, and short enough for a socket.

It is in the home; where the path of the home is too long it is below XDG_RUNTIME_DIR or the folder
of temporary files, named for the home. A living server tells itself where its socket is.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dama.store.embedded.errors import SocketPathError

if TYPE_CHECKING:
    from dama.store.embedded.account import Account

PORT = 5432  # names the socket only: there is no network
SOCKET = f".s.PGSQL.{PORT}"
LIMIT = 103 if sys.platform == "darwin" else 107


def choose_socket_folder(home: Path) -> Path:
    """Where the socket of a home goes.

    Raises:
        SocketPathError: All places are too long.
    """
    name = hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:12]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    elsewhere = [Path(base, f"dama-{os.getuid()}-{name}") for base in (runtime, "/tmp")]  # noqa: S108 - the owner is checked
    for folder in (home / "socket", *elsewhere):
        if _fits(folder):
            return folder
    raise SocketPathError(
        f"The path {elsewhere[-1]} is too long for a socket ({LIMIT} bytes).",
        "Name a shorter folder with DAMA_HOME or XDG_RUNTIME_DIR.",
    )


def make_socket_folder(folder: Path, account: Account) -> None:
    """Make it, for one account only.

    Raises:
        SocketPathError: Somebody else was there first.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.getuid(), account.uid}:
        raise SocketPathError(
            f"{folder} belongs to another user (uid {found.st_uid}) or is not a folder.",
            "Remove it, or name another folder with DAMA_HOME or XDG_RUNTIME_DIR.",
        )
    folder.chmod(0o700)
    account.own(folder)


def _fits(folder: Path) -> bool:
    # To libpq and to PostgreSQL's setting a comma separates two folders.
    return len(os.fsencode(folder / SOCKET)) <= LIMIT and "," not in str(folder)
