"""The server: start it when it is not there, tell how it is, stop it.

Any number of processes may ask at once: a lock in the home makes one of them start the server, the
others find it running. Nothing but `stop` ends it, and who asked for that is in its log: a server
whose socket was removed gets it back, one that cannot be seen is left alone. Only one whose
programs were removed is started again, with those of who needs it. Where its data come from is told
by `data`, what is believed of a pid file by `postmaster`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from dama.embedded.account import choose_account
from dama.embedded.binaries import find_binaries, major_version
from dama.embedded.data import DATABASE, USER, DataMaker, check_version, version_of
from dama.embedded.errors import (
    LostSocketError,
    NoBinariesError,
    ServerElsewhereError,
    SlowStartError,
    home_error,
    start_error,
)
from dama.embedded.home import DATA, POLL_SECONDS, Home
from dama.embedded.log import ServerLog
from dama.embedded.postmaster import disown, find_postmaster
from dama.embedded.programs import Programs
from dama.embedded.socket_folder import PORT, SOCKET, Socket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.embedded.account import Account
    from dama.embedded.postmaster import Postmaster

START_SECONDS = 60.0
STOP_SECONDS = 60.0
OF_TESTS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # Among the data, and removed with them: a killed server leaves no memory to the machine.
    "dynamic_shared_memory_type": "mmap",
}
# Since which major version a server sees during a statement that its client has gone.
SEES_CLIENTS_END: Mapping[str, int] = {"linux": 14, "others": 15}


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
        self._home = Home(Path(os.path.abspath(home)))  # noqa: PTH100 - resolves no links
        self._fsync = fsync
        self._binaries = binaries
        self._data = self._home.path / DATA
        self._socket = Socket(self._home.path, self._data)
        self._passfile = self._home.path / "pgpass"
        self._log = ServerLog(self._home)

    @property
    def binaries(self) -> Path:
        """The folder of `postgres`, `psql` and the other programs.

        Raises:
            NoBinariesError: There is none.
        """
        if self._binaries is None:
            self._binaries = find_binaries()
        return self._binaries

    @property
    def url(self) -> str:
        """How to connect, whether it runs or not."""
        return self._url(self._find())

    def start(self) -> str:
        """Make sure that the server runs, and give its URL.

        Raises:
            EmbeddedPostgresError: It cannot be started; the message says why and what to do.
        """
        try:
            server = self._ready()
            is_well = server is not None and not server.is_stripped and self._socket.is_whole
            if server is None or self._log.is_large or not is_well:
                with self._home.locked():
                    server = self._bring_up()
                    if self._log.is_large:
                        self._log.trim()
            return self._url(server)
        except OSError as error:
            raise home_error(self._home.path, error) from error

    def keep_reachable(self) -> None:
        """Give a living server its socket back if somebody removed it; start and stop nothing.

        Raises:
            LostSocketError: It cannot be given back.
        """
        if not self._socket.is_whole and self._data.exists():
            with self._home.locked():
                server = self._find()
                if server and server.socket_folder:
                    self._mend(server)

    def stop(self) -> bool:
        """Stop the server, ending its connections; whether it was stopped.

        A person asks for this: nobody else knows who may need the server in a moment.

        Raises:
            SlowStartError: It has not ended in a minute.
            ServerElsewhereError: No signal of this process reaches it.
        """
        if not self._data.exists():
            return False
        with self._home.locked():
            server = self._find()
            return server is not None and self._end(server)

    def status(self) -> ServerStatus:
        """Look, and change nothing."""
        server = self._find()
        if server and not server.is_open:
            server = None
        return ServerStatus(
            running=server is not None,
            pid=server.pid if server else None,
            version=version_of(self._data),
            data=str(self._data),
            log=str(self._log.path),
            url=self.url,
            started_at=server.started_at if server else None,
        )

    def _find(self) -> Postmaster | None:
        return find_postmaster(self._data, self._lives_elsewhere)

    def _lives_elsewhere(self) -> bool:
        return self._home.is_fenced() and self._socket.accepts()

    def _ready(self) -> Postmaster | None:
        """The server when it takes connections, and its socket is there to connect to."""
        server = self._find()
        return server if server and server.is_open and self._folder(server) else None

    def _folder(self, server: Postmaster) -> Path | None:
        """How its socket is reached from here: as we would name it, or as who started it did."""
        named = [Path(server.socket_folder)] if server.socket_folder else []
        for folder in (self._socket.folder, *named):
            if os.path.exists(folder / SOCKET):  # noqa: PTH110 - never raises
                return folder
        return None

    def _url(self, server: Postmaster | None) -> str:
        folder = (server and self._folder(server)) or self._socket.folder
        url = f"postgresql://{USER}@/{DATABASE}?host={_quoted(folder)}&port={PORT}"
        return f"{url}&passfile={_quoted(self._passfile)}" if self._passfile.exists() else url

    def _bring_up(self) -> Postmaster:
        """Start the server, or wait for one that is on its way; returns it when it is ready."""
        check_version(self._data, self._version())
        place = self._log.path.stat().st_size if self._log.path.exists() else 0
        server = self._find()
        if server is not None and server.is_stripped:
            server = self._equip()
        if server is None:
            self._launch()
        elif server.socket_folder:
            self._mend(server)
        server = self._wait_until_ready(place)
        self._socket.mend(choose_account(self._data))
        return server

    def _equip(self) -> Postmaster | None:
        """Make a removed copy of its programs again; without any the server ends."""
        choose_account(self._data).readable(self.binaries, self._home.path)
        server = self._find()
        if server is not None and server.is_stripped:
            self._log.note("its programs were removed: it is started again with others")
            self._end(server)
            return None
        return server

    def _mend(self, server: Postmaster) -> None:
        """Give the server back the socket that somebody removed: it cannot make one itself."""
        was_there = self._folder(server) is not None
        if not self._socket.mend(choose_account(self._data)) and not was_there:
            raise LostSocketError(
                f"The embedded PostgreSQL (pid {server.pid}) runs, but its socket was removed.",
                "When nobody needs its connections any more: dama db stop. The next command "
                "starts it again.",
            )
        if not was_there:
            self._log.note("its socket, which somebody had removed, was made again")

    def _version(self) -> str:
        version = major_version(self.binaries)
        if version is None:
            raise NoBinariesError(
                f"There is no PostgreSQL that runs in {self.binaries}.",
                "Name the folder of postgres and initdb in DAMA_POSTGRES_BIN.",
            )
        return version

    def _launch(self) -> None:
        account = choose_account(self._data)
        account.check_reach(self._home.path)
        programs = Programs(account.readable(self.binaries, self._home.path), account)
        self._socket.make_folder(account)
        maker = DataMaker(self._data, programs, account, self._log.path)
        if not self._data.exists():
            maker.make(fsync=self._fsync)
        # With the fence in hand no process of a former server is alive.
        with self._home.fenced(START_SECONDS) as fence, self._log.opened() as log:
            self._prepare(maker, account)
            disown(self._data, self._socket.path.with_name(f"{SOCKET}.lock"))
            options = self._options(self._socket.folder)
            self._log.note("it was started")
            programs.leave("postgres", "-D", self._data, *options, log=log, fence=fence)

    def _prepare(self, maker: DataMaker, account: Account) -> None:
        if self._data.stat().st_uid != account.uid:
            account.own(self._data)
        if account.shared and not self._passfile.exists():
            maker.ask_for_password(self._passfile)

    def _options(self, folder: Path) -> list[str]:
        """What must hold whatever the owner wrote into `postgresql.conf`."""
        settings = {
            "listen_addresses": "",
            "port": str(PORT),
            "max_connections": "200",
            "unix_socket_directories": str(folder),
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
        }
        version = int(major_version(self.binaries) or 0)
        if version >= SEES_CLIENTS_END.get(sys.platform, SEES_CLIENTS_END["others"]):
            # The statement of a program that was killed ends with it, whatever its session is.
            settings["client_connection_check_interval"] = "1s"
        settings |= {} if self._fsync else OF_TESTS
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _wait_until_ready(self, place: int) -> Postmaster:
        """Wait as long as it lives; a recovery that takes longer is not disturbed."""
        deadline = time.monotonic() + START_SECONDS
        while (server := self._ready()) is None:
            if self._find() is None and not self._home.is_fenced():
                raise start_error(
                    self._home.path, "it ended", self._log.tail(place), self._log.path
                )
            if time.monotonic() > deadline:
                raise SlowStartError(
                    f"The embedded PostgreSQL is not ready after {START_SECONDS:.0f} s; "
                    "it may be recovering.",
                    f"Try again later; its log is {self._log.path}.",
                )
            time.sleep(POLL_SECONDS)
        return server

    def _end(self, server: Postmaster) -> bool:
        if not server.is_here:
            raise ServerElsewhereError(
                f"The embedded PostgreSQL (pid {server.pid} there) runs in another PID namespace, "
                "such as that of a container.",
                "Stop it there: dama db stop.",
            )
        self._log.note("it was asked to stop")
        try:
            os.kill(server.pid, signal.SIGINT)
        except ProcessLookupError:
            return False
        deadline = time.monotonic() + STOP_SECONDS
        while self._find() is not None:
            if time.monotonic() > deadline:
                raise SlowStartError(
                    f"The server (pid {server.pid}) did not stop in {STOP_SECONDS:.0f} s.",
                    f"Look into {self._log.path}.",
                )
            time.sleep(POLL_SECONDS)
        return True


def _quoted(path: Path) -> str:
    return quote(os.fsencode(path), safe="")
