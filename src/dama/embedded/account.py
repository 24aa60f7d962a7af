"""The account: who the server runs as, since PostgreSQL refuses to run as root.

Whoever is not root runs it as himself. Root runs it as the owner of the home; in a home of his own
he stays himself, in a user namespace. Where namespaces are refused, as in many containers, he
lends the data to an account that has a name. Such an account is shared with other programs, so the
server then asks for a password. Folders above the home are never changed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dama.embedded import launcher
from dama.embedded.binaries import binaries_within, copy_installation
from dama.embedded.errors import UnwritableHomeError

LENT_TO = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """Who the server runs as.

    Attributes:
        uid: The owner of its data, as seen from outside.
        word: What the launcher is told.
        shared: Whether other programs run as the same user.
    """

    uid: int
    word: str
    shared: bool = False

    @property
    def is_other(self) -> bool:
        """Whether it is somebody else than who runs this."""
        return self.uid != os.getuid()

    def own(self, path: Path) -> None:
        """Give a file, or a folder with all in it, to this account."""
        if not self.is_other:
            return
        os.chown(path, self.uid, -1, follow_symlinks=False)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(Path(folder, name), self.uid, -1, follow_symlinks=False)

    def check_reach(self, home: Path) -> None:
        """See that the account comes to the home; opens the home itself, and nothing above.

        Raises:
            UnwritableHomeError: A folder above is closed for it.
        """
        if not self.is_other:
            return
        if home.stat().st_uid == 0:
            home.chmod(0o711)
        if closed := self._closed(home):
            raise UnwritableHomeError(
                f"{closed} is closed for uid {self.uid}, which PostgreSQL runs as here: this "
                "machine grants root no user namespace.",
                "Name a folder that it can reach with DAMA_HOME, such as /var/lib/dama.",
            )

    def readable(self, binaries: Path, home: Path) -> Path:
        """The folder of binaries, or of a copy in the home when the account cannot read it."""
        if not self.is_other or not self._closed(binaries / "postgres"):
            return binaries
        # The inode tells installations apart: an upgrade gets a copy of its own.
        copy = home / f"binaries-{(binaries / 'postgres').stat().st_ino}"
        if not copy.exists():
            fresh = home / "binaries.new"
            shutil.rmtree(fresh, ignore_errors=True)
            copy_installation(binaries, fresh)
            self.own(fresh)
            fresh.rename(copy)
        return copy / binaries_within(binaries)

    def _closed(self, path: Path) -> Path | None:
        """The outermost folder or file on the way to a path, and itself, that it may not enter."""
        real = path.resolve()
        for place in (*reversed(real.parents), real):
            found = place.stat()
            needed = stat.S_IXUSR if found.st_uid == self.uid else stat.S_IXOTH
            if not found.st_mode & needed:
                return place
        return None


def choose_account(data: Path) -> Account:
    """Who runs the server of a data folder, which need not exist yet; its home does."""
    if os.getuid() != 0:
        return Account(os.getuid(), launcher.SELF)
    owner = (data if data.exists() else data.parent).stat()
    if owner.st_uid:
        shared = owner.st_uid in {uid for uid, _ in _lent_to()}
        return Account(owner.st_uid, f"{owner.st_uid}:{owner.st_gid}", shared)
    if _namespaces_work():
        return Account(0, launcher.NAMESPACE)
    for uid, gid in _lent_to():
        return Account(uid, f"{uid}:{gid}", shared=True)
    raise UnwritableHomeError(
        "PostgreSQL does not run as root, and there is neither a user namespace nor an account "
        f"named {' or '.join(LENT_TO)} here.",
        "Run dama as another user, or name a database with DAMA_DATABASE_URL.",
    )


def _namespaces_work() -> bool:
    command = [sys.executable, "-I", "-S", launcher.__file__, launcher.NAMESPACE]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _lent_to() -> list[tuple[int, int]]:
    entries = {entry.pw_name: (entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}
    return [entries[name] for name in LENT_TO if name in entries]
