"""The data: made once, complete or not at all, and never touched by another major version.

They are made in `data.new` and renamed when they are on disk, so a process that dies half-way
leaves nothing that looks finished. The settings are written into `postgresql.conf` then; later they
are the owner's to change there.
"""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

from dama.config.private_file import PRIVATE_FILE, PRIVATE_FOLDER, keep_on_disk
from dama.embedded.errors import VersionMismatchError, start_error

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

    from dama.embedded.account import Account
    from dama.embedded.programs import Programs

DATABASE = "dama"
USER = "dama"
SETTINGS: Mapping[str, str] = {
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_compression": "on",  # a load writes more than a small disk likes
    "jit": "off",  # compiling takes longer than our queries
    "cluster_name": "dama",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",  # nothing else would be in most logs
}
PASSWORDS_ONLY = "local all all scram-sha-256\n"


def version_of(data: Path) -> str | None:
    """The major version that wrote the data; None before the first start."""
    path = data / "PG_VERSION"
    return path.read_text().strip() if path.exists() else None


def check_version(data: Path, wanted: str | None) -> None:
    """See that the data are of the server's version.

    Raises:
        VersionMismatchError: They are of another one; says how to come over.
    """
    found = version_of(data)
    if found not in {None, wanted}:
        raise VersionMismatchError(
            f"The data in {data} are of PostgreSQL {found}, the server here is {wanted}.",
            f"Dump them with a PostgreSQL {found} (name its folder in DAMA_POSTGRES_BIN) and "
            "restore into a new DAMA_HOME, or use pg_upgrade.",
        )


class DataMaker:
    """Makes the data of a home.

    Args:
        data: Their folder.
        programs: What makes them.
        account: Who they belong to.
        log: Named in errors.
    """

    def __init__(self, data: Path, programs: Programs, account: Account, log: Path) -> None:
        self._data = data
        self._programs = programs
        self._account = account
        self._log = log

    def make(self, *, fsync: bool) -> None:
        """Make the data with an empty database.

        Raises:
            StartError: PostgreSQL's own programs failed; the message has their last words.
            DiskFullError: There is no room; nothing is left behind.
        """
        fresh = self._data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            self._fill(fresh, fsync=fsync)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        fresh.rename(self._data)
        keep_on_disk(self._data.parent)

    def ask_for_password(self, passfile: Path) -> None:
        """Let in only who knows a new password, which is written into a file for libpq."""
        password = secrets.token_urlsafe(24)
        self._execute(self._data, f"ALTER ROLE {USER} PASSWORD '{password}'")
        (self._data / "pg_hba.conf").write_text(PASSWORDS_ONLY)
        fresh = passfile.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(PRIVATE_FILE)
        fresh.write_text(f"*:*:*:{USER}:{password}\n")
        fresh.rename(passfile)

    def _fill(self, fresh: Path, *, fsync: bool) -> None:
        fresh.mkdir(PRIVATE_FOLDER)
        self._account.own(fresh)
        made = self._programs.run(
            "initdb", "-D", fresh, "-U", USER, "-E", "UTF8", "--no-locale", "--data-checksums",
            "--auth=trust", "--no-sync", "--no-instructions",
        )  # fmt: skip
        self._check("initdb failed", made)
        with (fresh / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        self._execute(fresh, f"CREATE DATABASE {DATABASE}", "-F")
        if fsync:
            self._check("initdb failed", self._programs.run("initdb", "--sync-only", "-D", fresh))

    def _execute(self, data: Path, statement: str, *options: str) -> None:
        """Run one statement without a server; an error is the end of it, not a line of output."""
        options = (*options, "-c", "exit_on_error=on")
        done = self._programs.run(
            "postgres", "--single", *options, "-D", data, "postgres", stdin=f"{statement};\n"
        )
        self._check("the database could not be made", done)

    def _check(self, what: str, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode:
            raise start_error(self._data.parent, what, done.stdout + done.stderr, self._log)
