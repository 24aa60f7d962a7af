"""A pooler of transactions for tests: what pgbouncer does in `pool_mode = transaction`, at worst.

Every transaction goes to another one of a few sessions of the server, in turn; nothing is reset in
between, so whatever somebody sets, prepares, locks or listens to in a session is anybody's
afterwards. It is no pgbouncer: it knows no passwords, no limits and no `max_prepared_statements`.
Where a real one is installed the same tests use it too.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress

import psycopg

CANCEL, SSL, GSS = 80877102, 80877103, 80877104
HEADER = struct.Struct("!ci")
GONE = (b"", b"X\0\0\0\4")

Inbox = asyncio.Queue[bytes]
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pooler:
    """A port of a few sessions that all clients share, a transaction each.

    Args:
        url: Of the database.
        port: To listen on.
        sessions: How many there are.
    """

    def __init__(self, url: str, port: int, sessions: int = 4) -> None:
        self.port = port
        self._opened = [psycopg.connect(url, autocommit=True) for _ in range(sessions)]
        self._sessions: list[Pair] = []
        self._free: asyncio.Queue[Pair]
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._pids = 0

    async def start(self) -> None:
        """Listen."""
        self._free = asyncio.Queue()
        for session in self._opened:  # libpq has logged in, and reads nothing more of it
            sock = socket.socket(fileno=os.dup(session.fileno()))
            self._sessions.append(await asyncio.open_unix_connection(sock=sock))
            self._free.put_nowait(self._sessions[-1])
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Cut all off."""
        assert self._server
        self._server.close()
        for task in [*self._clients]:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for _, writer in self._sessions:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        for session in self._opened:
            session.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        inbox: Inbox = asyncio.Queue()
        pump: asyncio.Task[None] | None = None
        with suppress(OSError, EOFError, asyncio.CancelledError):
            if await self._greet(reader, writer):
                pump = asyncio.create_task(_pump(reader, inbox))
                while (message := await inbox.get()) not in GONE:
                    session = await self._free.get()
                    try:
                        await _transaction(message, inbox, writer, session)
                    finally:
                        self._free.put_nowait(session)
        if pump:
            pump.cancel()
        writer.transport.abort()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code == CANCEL:
                return False
            if code not in (SSL, GSS):
                break
            writer.write(b"N")
        told = {"client_encoding": "UTF8", "server_encoding": "UTF8", "DateStyle": "ISO, MDY",
                "integer_datetimes": "on", "standard_conforming_strings": "on", "TimeZone": "UTC",
                "server_version": f"{self._opened[0].info.server_version // 10000}.0"}  # fmt: skip
        writer.write(_packed(b"R", struct.pack("!i", 0)))
        for name, value in told.items():
            writer.write(_packed(b"S", f"{name}\0{value}\0".encode()))
        self._pids += 1
        writer.write(_packed(b"K", struct.pack("!ii", self._pids, 0)) + _packed(b"Z", b"I"))
        return True


async def _transaction(first: bytes, inbox: Inbox, writer: asyncio.StreamWriter, session: Pair):
    """Pass on what both say until the server is in no transaction and owes no answer."""
    answers, server = session
    owed = _forward(first, server)
    answer = asyncio.create_task(_message(answers))
    said = asyncio.create_task(inbox.get())
    try:
        while True:
            await asyncio.wait((answer, said), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                message = answer.result()
                writer.write(message)
                owed -= message[:1] == b"Z"
                if message[:1] == b"Z" and message[5:] == b"I" and not owed and not said.done():
                    await writer.drain()
                    return
                answer = asyncio.create_task(_message(answers))
            elif (message := said.result()) in GONE:
                await _undo(owed, answer, session)
                raise EOFError
            else:
                owed += _forward(message, server)
                said = asyncio.create_task(inbox.get())
    finally:
        said.cancel()
        answer.cancel()


async def _undo(owed: int, answer: asyncio.Task[bytes], session: Pair) -> None:
    """End the transaction of a client that has gone."""
    answers, server = session
    server.write(_packed(b"S", b"") + _packed(b"Q", b"ROLLBACK\0"))
    owed += 2
    while True:
        owed -= (await answer)[:1] == b"Z"
        if not owed:
            return
        answer = asyncio.create_task(_message(answers))


def _forward(message: bytes, server: asyncio.StreamWriter) -> int:
    """Pass a message on; how many times the server will say that it is ready."""
    server.write(message)
    return int(message[:1] in b"SQF")


async def _pump(reader: asyncio.StreamReader, inbox: Inbox) -> None:
    with suppress(OSError, EOFError):
        while True:
            inbox.put_nowait(await _message(reader))
    inbox.put_nowait(GONE[0])


async def _message(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(HEADER.size)
    _, length = HEADER.unpack(header)
    return header + await reader.readexactly(length - 4)


def _packed(kind: bytes, body: bytes) -> bytes:
    return HEADER.pack(kind, len(body) + 4) + body
