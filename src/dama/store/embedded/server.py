"""The server: make its data once, start it when it is not there, tell how it is, stop it.

Any number of processes may ask at once: a lock in the home makes one of them start the server, the
others find it running. Data are made in `data.new` and renamed when they are complete, so a
process that dies half-way leaves nothing that looks finished. A pid file is never believed alone:
the process must be a living `postgres` with this data folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from dama.store.embedded.binaries import find_binaries
from dama.store.embedded.errors import (
    SocketPathError,
    StartError,
    UnwritableHomeError,
    VersionMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
from dama.store.embedded.owner import Owner, find_owner, launched, readable_binaries

DATABASE = "dama"
USER = "dama"
PORT = 5432  # names the socket only: there is no network
SOCKET_LIMIT = 107
START_SECONDS = 60.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.01
LOG_LIMIT = 10_000_000
NO_PID = str(2**22 + 1)  # above the highest that Linux gives
LEFTOVERS = "pre-existing shared memory block"
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "unix_socket_permissions": "0700",
    "cluster_name": "dama",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


@dataclass(frozen=True)
class ServerStatus:
    """How the server is.

    Attributes:
        running: Whether it takes connections.
        pid: Of its first process; None when it does not run.
        version: The major version that wrote the data; None before the first start.
        data: The folder of the data.
        log: Its log file.
        url: How to connect.
        started_at: When it started; None when it does not run.
    """

    running: bool
    pid: int | None
    version: str | None
    data: str
    log: str
    url: str
    started_at: datetime | None


class EmbeddedPostgres:
    """The PostgreSQL of one home folder.

    Args:
        home: The folder of its data; made when it is not there.
        fsync: False only for tests: then a power cut may lose everything.
        binaries: The folder of `postgres`; found when it is not given.
    """

    def __init__(self, home: Path, *, fsync: bool = True, binaries: Path | None = None) -> None:
        self._home = home
        self._fsync = fsync
        self._binaries = binaries
        self._data = home / "data"
        self._log = home / "postgres.log"
        self._password = home / "password"  # only where another account runs the server

    @property
    def binaries(self) -> Path:
        """The folder of `postgres`, `psql` and the other programs."""
        if self._binaries is None:
            self._binaries = find_binaries()
        return self._binaries

    @property
    def url(self) -> str:
        """How to connect, whether it runs or not."""
        password = f":{self._password.read_text()}" if self._password.exists() else ""
        host = quote(str(self._socket_folder()), safe="")
        return f"postgresql://{USER}{password}@/{DATABASE}?host={host}"

    def start(self) -> str:
        """Make sure that the server runs, and give its URL.

        Raises:
            EmbeddedPostgresError: It can not be started; the message says why and what to do.
        """
        if self._ready_pid() is None:
            with self._locked():
                if self._ready_pid() is None:
                    self._check_version()
                    self._make_data()
                    self._launch()
        return self.url

    def stop(self) -> bool:
        """Stop the server, ending its connections; whether it ran."""
        if not self._data.exists():
            return False
        with self._locked():
            pid = self._living_pid()
            if pid is None:
                return False
            os.kill(pid, signal.SIGINT)
            self._wait_for_end(pid)
            return True

    def status(self) -> ServerStatus:
        """Look, and change nothing."""
        pid = self._ready_pid()
        return ServerStatus(
            running=pid is not None,
            pid=pid,
            version=self._version(),
            data=str(self._data),
            log=str(self._log),
            url=self.url,
            started_at=self._started_at() if pid is not None else None,
        )

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = (self._home / "lock").open("w")
        except OSError as error:
            raise UnwritableHomeError(
                f"The folder {self._home} can not be written: {error.strerror}.",
                "Name another one with DAMA_HOME, or a database with DAMA_DATABASE_URL.",
            ) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _version(self) -> str | None:
        path = self._data / "PG_VERSION"
        return path.read_text().strip() if path.exists() else None

    def _check_version(self) -> None:
        found = self._version()
        if found is None:
            return
        shown = subprocess.run(  # noqa: S603 - the server's own program
            [self.binaries / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        wanted = shown.split()[2].split(".", maxsplit=1)[0]
        if found != wanted:
            raise VersionMismatchError(
                f"The data in {self._data} are of PostgreSQL {found}, the server here is {wanted}.",
                f"Dump them with a PostgreSQL {found} (name its folder in DAMA_POSTGRES_BIN) and "
                "restore into a new DAMA_HOME, or use pg_upgrade.",
            )

    def _make_data(self) -> None:
        if self._data.exists():
            return
        fresh = self._home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        done = self._run(
            "initdb", "-D", str(fresh), "-U", USER, "-E", "UTF8", "--no-locale",
            *self._prepare_owner(fresh), "--no-sync", "--no-instructions",
        )  # fmt: skip
        if done.returncode:
            raise self._start_error("initdb failed", done.stderr)
        made = self._run(
            "postgres",
            "--single",
            "-D",
            str(fresh),
            "postgres",
            stdin=f"CREATE DATABASE {DATABASE};\n",
        )
        if made.returncode:
            raise self._start_error("the database could not be created", made.stderr)
        os.sync() if self._fsync else None
        (self._home / "password.new").unlink(missing_ok=True)
        fresh.rename(self._data)

    def _prepare_owner(self, fresh: Path) -> list[str]:
        """How connections are allowed; another account gets its folder and a password first."""
        owner = self._owner
        if owner is None:
            return ["--auth=trust"]
        self._home.chmod(0o711)
        if not owner.can_enter(self._home):
            raise UnwritableHomeError(
                f"PostgreSQL can not run as root, and {owner.name} can not enter {self._home}.",
                "Name a folder with DAMA_HOME below folders that everybody may enter (0711).",
            )
        fresh.mkdir(mode=0o700)
        self._password.touch(mode=0o600)
        self._password.write_text(secrets.token_hex(16))
        shared = self._home / "password.new"  # initdb reads it as the other account
        shared.touch(mode=0o600)
        shared.write_text(self._password.read_text())
        owner.give(shared)
        owner.give(fresh)
        return ["--auth=scram-sha-256", f"--pwfile={shared}"]

    def _launch(self) -> None:
        """Start the server in a session of its own and wait until it takes connections."""
        self._forget_stranger()
        folder = self._make_socket_folder()
        settings = dict(SETTINGS) | {"unix_socket_directories": str(folder)}
        if not self._fsync:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        settings["port"] = str(PORT)
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._opened_log() as log:
            place = log.tell()
            pid = _spawn(self._command("postgres", "-D", str(self._data), *options), log)
        deadline = time.monotonic() + START_SECONDS
        while self._ready_pid() is None:
            if (code := _exit_code(pid)) is not None:
                output = self._tail(place)
                if LEFTOVERS in output and time.monotonic() < deadline:
                    time.sleep(POLL_SECONDS)  # children of a killed server are on their way out
                    self._launch()
                    return
                raise self._start_error(f"it ended with code {code}", output)
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                raise self._start_error(
                    f"it was not ready in {START_SECONDS:.0f} s", self._tail(place)
                )
            time.sleep(POLL_SECONDS)

    def _forget_stranger(self) -> None:
        """Where the pid of a dead server is a zombie's or another program's, say that it is dead.

        PostgreSQL believes any pid that answers. The other lines stay: by them it finds out whether
        processes of the dead server still use the data.
        """
        lines = self._pid_lines()
        if lines and lines[0].isdigit() and _answers(int(lines[0])):
            (self._data / "postmaster.pid").write_text("\n".join([NO_PID, *lines[1:]]) + "\n")
            (self._socket_folder() / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)

    @contextmanager
    def _opened_log(self) -> Generator[BinaryIO]:
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as log:
            yield log

    def _tail(self, place: int) -> str:
        with self._log.open("rb") as log:
            log.seek(place)
            return log.read().decode(errors="replace")

    def _start_error(self, what: str, output: str) -> StartError:
        lines = [line for line in output.strip().splitlines() if line][-5:]
        if "No space left on device" in output:
            return StartError(
                f"The disk of {self._home} is full: {what}.",
                "Make room there, or name another folder with DAMA_HOME; nothing that was "
                "committed is lost.",
            )
        return StartError(
            "\n  ".join([f"The embedded PostgreSQL did not start: {what}.", *lines]),
            f"Its log is {self._log}. Another database can be named with DAMA_DATABASE_URL.",
        )

    @cached_property
    def _owner(self) -> Owner | None:
        return find_owner()

    def _command(self, program: str, *arguments: str) -> list[str]:
        binaries = self.binaries
        if self._owner:
            binaries = readable_binaries(binaries, self._home, self._owner)
        return launched(str(binaries / program), *arguments, owner=self._owner)

    def _run(
        self, program: str, *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the server's own programs
            self._command(program, *arguments),
            input=stdin, capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip

    def _socket_folder(self) -> Path:
        """A folder in the home, or a short one elsewhere when the home's path is too long."""
        near = self._home / "socket"
        if len(os.fsencode(near / f".s.PGSQL.{PORT}.lock")) <= SOCKET_LIMIT:
            return near
        name = hashlib.sha256(os.fsencode(self._home.absolute())).hexdigest()[:12]
        runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        for base in (runtime, "/tmp"):  # noqa: S108 - the owner is checked
            folder = Path(base, f"dama-{os.getuid()}-{name}")
            if len(os.fsencode(folder / f".s.PGSQL.{PORT}.lock")) <= SOCKET_LIMIT:
                return folder
        raise SocketPathError(
            f"The path {folder} is too long for a socket ({SOCKET_LIMIT} bytes).",
            "Name a shorter folder with DAMA_HOME or XDG_RUNTIME_DIR.",
        )

    def _make_socket_folder(self) -> Path:
        folder = self._socket_folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        ours = {os.getuid(), self._owner.uid if self._owner else os.getuid()}
        if found.st_uid not in ours or folder.is_symlink():
            raise SocketPathError(
                f"{folder} belongs to another user (uid {found.st_uid}).",
                "Remove it, or name another folder with DAMA_HOME or XDG_RUNTIME_DIR.",
            )
        folder.chmod(0o700)
        if self._owner:
            self._owner.give(folder)
        return folder

    def _pid_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    def _living_pid(self) -> int | None:
        lines = self._pid_lines()
        if not lines or not lines[0].isdigit():
            return None
        pid = int(lines[0])
        return pid if self._is_server(pid) else None

    def _ready_pid(self) -> int | None:
        lines = self._pid_lines()
        if len(lines) < 8 or lines[7].strip() != "ready":  # noqa: PLR2004 - libpq's own line
            return None
        return self._living_pid()

    def _is_server(self, pid: int) -> bool:
        """Whether a pid is a living postgres of this data folder, not a zombie or a stranger."""
        if not Path("/proc/self/stat").exists():
            return _answers(pid)
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return state not in "ZX" and os.fsencode(self._data) in words

    def _started_at(self) -> datetime:
        return datetime.fromtimestamp(int(self._pid_lines()[2]), UTC)

    def _wait_for_end(self, pid: int) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while self._is_server(pid) and (self._data / "postmaster.pid").exists():
            if time.monotonic() > deadline:
                raise StartError(
                    f"The server (pid {pid}) did not stop in {STOP_SECONDS:.0f} s.",
                    f"Look into {self._log}.",
                )
            time.sleep(POLL_SECONDS)


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _spawn(command: list[str], log: BinaryIO) -> int:
    """Start a program in a session of its own that outlives this process; gives its pid."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
        (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)


def _exit_code(pid: int) -> int | None:
    """The exit code of a child that has ended; None while it lives."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None
