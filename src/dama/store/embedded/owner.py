"""The owner: which account runs the server when root asks for one and namespaces are refused.

Some containers forbid user namespaces. The server then runs as `postgres`, or as `nobody`: its data
belong to that account, connections need a password, since others may use the account too, and the
programs are copied where it can read them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.store.embedded import launcher
from dama.store.embedded.errors import UnwritableHomeError

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True)
class Owner:
    """An account.

    Attributes:
        name: As the system knows it.
        uid: Its user id.
        gid: Its group id.
    """

    name: str
    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """Whether it may use a folder, with all that is above it."""
        return self._test("-x", folder)

    def can_execute(self, program: Path) -> bool:
        """Whether it may run a program."""
        return self._test("-x", program)

    def give(self, path: Path) -> None:
        """Make it the owner of a file or of a folder with all that is in it."""
        for found in (path, *path.rglob("*")):
            os.chown(found, self.uid, self.gid, follow_symlinks=False)

    def _test(self, flag: str, path: Path) -> bool:
        command = launched("/usr/bin/test", flag, str(path), owner=self)
        return subprocess.run(command, check=False, cwd="/").returncode == 0  # noqa: S603


def find_owner() -> Owner | None:
    """The account for the server; None when this process's own, or a namespace, will do."""
    if os.getuid() != 0:
        return None
    probe = subprocess.run(  # noqa: S603 - a harmless program
        launched("/usr/bin/test", "1"), check=False, capture_output=True
    )
    if probe.returncode != launcher.REFUSED:
        return None
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(name, entry.pw_uid, entry.pw_gid)
    raise UnwritableHomeError(
        f"PostgreSQL can not run as root, and there is no account {' or '.join(ACCOUNTS)}.",
        "Run dama as another user, or name a database with DAMA_DATABASE_URL.",
    )


def launched(program: str, *arguments: str, owner: Owner | None = None) -> list[str]:
    """A command that runs a program without the rights of root."""
    if os.getuid() != 0:
        return [program, *arguments]
    account = [f"{owner.uid}:{owner.gid}"] if owner else ["-"]
    return [sys.executable, "-I", "-S", launcher.__file__, *account, program, *arguments]


def readable_binaries(binaries: Path, home: Path, owner: Owner) -> Path:
    """The folder of the programs, copied into the home when the account can not read it."""
    if owner.can_execute(binaries / "postgres"):
        return binaries
    copy = home / "postgres" / "bin"
    if not copy.exists():
        fresh = home / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(binaries.parent, fresh, symlinks=True)
        fresh.chmod(0o755)
        fresh.rename(copy.parent)
    return copy
