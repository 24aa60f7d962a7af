"""The wire between a program and PostgreSQL, which a test can cut at a chosen moment.

What the program sends is looked at on its way. The next message that holds a word is cut:

- "request": it does not reach the server;
- "answer": the server has done what it says, and the answer is lost;
- "wait": it has reached the server, and the connection breaks before the server is done.

The wire may also be gone for a while: all connections break, and nobody answers.
"""

import socket
import socketserver
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

SIZE = 1 << 20


class Wire:
    """A socket in front of that of the server.

    Attributes:
        url: Of the database, over this wire.
        cuts: How many there were.
        requests: How many messages the program sent.
        is_away: Whether it is gone.
    """

    def __init__(self, folder: Path, url: str) -> None:
        host = parse_qs(urlsplit(url).query)["host"][0]
        self.url = url.replace(quote(host, safe=""), quote(str(folder), safe=""))
        self.cuts = 0
        self.requests = 0
        self.server = str(Path(host, ".s.PGSQL.5432"))
        self._word: bytes | None = None
        self._what = ""
        self._stays_away = self.is_away = False
        self._ends: set[socket.socket] = set()
        folder.mkdir()
        self._listener = socketserver.ThreadingUnixStreamServer(
            str(folder / ".s.PGSQL.5432"), self._carry
        )
        self._listener.daemon_threads = True
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def cut(self, word: bytes, what: str, *, stays_away: bool = False) -> None:
        """Cut the next message that holds a word, perhaps all else too; see the top."""
        self._what, self._stays_away, self._word = what, stays_away, word

    def leave(self) -> None:
        """Be gone."""
        self.is_away = True
        for end in [*self._ends]:
            _end(end)

    def come_back(self) -> None:
        """Be there again."""
        self.is_away = False

    def close(self) -> None:
        """Accept no more."""
        self._listener.shutdown()
        self._listener.server_close()

    def _carry(self, client: socket.socket, _address: object, _listener: object) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            self._ends |= {client, server}
            if self.is_away:
                return
            server.connect(self.server)
            back = _Back(server, client)
            back.start()
            while data := _received(client):
                self.requests += 1
                if self._word is not None and self._word in data:
                    self._word = None
                    self._cut(data, server, back)
                    break
                server.sendall(data)
            _end(client)
            _end(server)
            back.join()
            self._ends -= {client, server}

    def _cut(self, data: bytes, server: socket.socket, back: "_Back") -> None:
        back.muted = True
        if self._what != "request":
            server.sendall(data)
        if self._what == "answer":
            back.answered.wait()
        if self._stays_away:
            self.leave()
        self.cuts += 1


class _Back(threading.Thread):
    """Carries what the server says."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        super().__init__(daemon=True)
        self.muted = False
        self.answered = threading.Event()
        self._server = server
        self._client = client

    def run(self) -> None:
        while data := _received(self._server):
            if self.muted:
                self.answered.set()
            else:
                try:
                    self._client.sendall(data)
                except OSError:
                    break
        _end(self._client)


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(SIZE)
    except OSError:
        return b""


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
