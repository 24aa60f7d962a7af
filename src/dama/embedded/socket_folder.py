"""The socket of the server: in the home, private to one user, and kept when it is cleared away.

The file is in the folder `socket` of the home. Where that path is too long for a socket, or has a
comma, it is reached by a short link below XDG_RUNTIME_DIR or the folder of temporary files, which
whoever connects makes again. A server cannot make a socket again that somebody removed, so a second
name of the same file is kept among the data, and the first is made again from it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dama.config.private_file import PRIVATE_FOLDER
from dama.embedded.errors import SocketPathError

if TYPE_CHECKING:
    from dama.embedded.account import Account

PORT = 5432  # names the socket only: there is no network
SOCKET = f".s.PGSQL.{PORT}"
LIMIT = 103 if sys.platform == "darwin" else 107
LISTEN_SECONDS = 5.0


class Socket:
    """The socket of a home, under its two names.

    Args:
        home: The home.
        data: The folder of its data.
    """

    def __init__(self, home: Path, data: Path) -> None:
        self._folder = home / "socket"
        self._second = data / "server.socket"

    @property
    def path(self) -> Path:
        """Where the server makes it."""
        return self._folder / SOCKET

    @property
    def folder(self) -> Path:
        """How the folder is named to PostgreSQL and to libpq.

        Raises:
            SocketPathError: All places are too long.
        """
        return self._folder if _fits(self._folder) else _choose_link(self._folder)

    @property
    def is_whole(self) -> bool:
        """Whether it can be reached, and would be if one of its names were removed."""
        with suppress(OSError):
            return self._second.samefile(self.path) and (self.folder / SOCKET).exists()
        return False

    def make_folder(self, account: Account) -> None:
        """Make the folder for one account only, and the link to it.

        Raises:
            SocketPathError: Somebody else was there first.
        """
        with suppress(FileExistsError):
            self._folder.mkdir(PRIVATE_FOLDER)
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.getuid(), account.uid}:
            raise _not_ours(self._folder, found)
        self._folder.chmod(PRIVATE_FOLDER)
        account.own(self._folder)
        self._link()

    def mend(self, account: Account) -> bool:
        """Give the socket of a living server back what it has lost; whether it can be reached."""
        self.make_folder(account)
        with suppress(OSError):  # a file system without hard links: there is one name only
            if not self.path.exists():
                os.link(self._second, self.path)
            elif not self._second.exists() or not self._second.samefile(self.path):
                self._second.unlink(missing_ok=True)
                os.link(self.path, self._second)
        return self.path.exists()

    def accepts(self) -> bool:
        """Whether somebody listens, under either name; no path is too long for this."""
        return any(_connects(path) for path in (self.path, self._second))

    def _link(self) -> None:
        link = self.folder
        if link == self._folder or (link.is_symlink() and link.readlink() == self._folder):
            return
        with suppress(FileNotFoundError):
            found = link.lstat()
            if found.st_uid != os.getuid() or not stat.S_ISLNK(found.st_mode):
                raise _not_ours(link, found)
            link.unlink()
        with suppress(FileExistsError):  # another one made it meanwhile
            link.symlink_to(self._folder)


def _choose_link(target: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(target.parent))).hexdigest()[:12]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    links = [Path(base, f"dama-{os.getuid()}-{name}.link") for base in (runtime, "/tmp")]  # noqa: S108 - the owner is checked
    for link in links:
        if _fits(link):
            return link
    raise SocketPathError(
        f"The path {links[-1]} is too long for a socket ({LIMIT} bytes).",
        "Name a shorter folder with DAMA_HOME or XDG_RUNTIME_DIR.",
    )


def _fits(folder: Path) -> bool:
    # To libpq and to PostgreSQL's setting a comma separates two folders.
    return len(os.fsencode(folder / SOCKET)) <= LIMIT and "," not in str(folder)


def _connects(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            short = f"/proc/self/fd/{folder}/{path.name}"
            client.settimeout(LISTEN_SECONDS)
            client.connect(short if sys.platform == "linux" else os.fspath(path))
        finally:
            os.close(folder)
        return True
    return False


def _not_ours(path: Path, found: os.stat_result) -> SocketPathError:
    return SocketPathError(
        f"{path} belongs to another user (uid {found.st_uid}) or is not a folder.",
        "Remove it, or name another folder with DAMA_HOME or XDG_RUNTIME_DIR.",
    )
