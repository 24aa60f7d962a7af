"""An address of a PostgreSQL: a port on loopback that leads to its socket, and that can go."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from contextlib import suppress

import psycopg

CHUNK = 1 << 16
VERSION = b"server_version\0"
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # of Linux; Python does not name them


class Forwarder:
    """A port that leads to the server of a URL.

    Args:
        url: Of a server that has a socket.
        port: Of ours.
        version: What the server says that it is, in place of its own version of equal length.
    """

    def __init__(self, url: str, port: int, version: str = "") -> None:
        self.port = port
        self._url = url
        self._version = version
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []

    @property
    def address(self) -> dict[str, str]:
        """What names it in a connection string."""
        return {"host": "127.0.0.1", "port": str(self.port)}

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Listen no more, and cut off all who are connected."""
        assert self._server
        self._server.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fall_silent(self) -> None:
        """Drop all packets unread, as a network that is cut: no answer, no refusal, no end."""
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
        program = struct.pack("HP", 1, ctypes.addressof(drop_all))
        assert self._server
        for each in [*self._sockets, *self._server.sockets]:
            with socket.socket(fileno=each.fileno()) as same:
                same.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
                same.detach()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._sockets.append(writer.get_extra_info("socket"))
        with suppress(OSError, asyncio.CancelledError):
            behind, before = await asyncio.open_unix_connection(socket_of(self._url))
            try:
                await asyncio.gather(_pass(reader, before), _pass(behind, writer, self._version))
            finally:
                before.close()
        self._sockets.remove(writer.get_extra_info("socket"))
        writer.transport.abort()


def socket_of(url: str) -> str:
    """The path of the server's socket."""
    with psycopg.connect(url) as connection:
        return f"{connection.info.host}/.s.PGSQL.{connection.info.port}"


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: str = ""
) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            before, name, after = data.partition(VERSION if version else data)
            told = version.encode() if name == VERSION else b""
            writer.write(before + name + told + after[len(told) :])
            await writer.drain()
    writer.close()
