"""The transporter over NATS. Its client is an extra: `pip install "dama-controller[nats]"`."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dama.broker.errors import DisconnectedError
from dama.broker.wire.nats_access import KEY_FILES, NatsAccess
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.broker.wire.transporter import Receive

_log = logging.getLogger("dama.broker")

CONNECT_SECONDS = 5
ABANDON_SECONDS = 1
BUFFERED_BYTES = 64 * 1024 * 1024
PING_SECONDS = 20
NO_ACCESS = NatsAccess()


class NatsTransporter:
    """Packets over a NATS server, or a cluster of them.

    Args:
        url: `nats://[user:password@]host:port`, several joined by commas; `tls://` wants TLS.
        access: Credentials, and how the server is checked.

    Attributes:
        longest_packet: As the server allows; known when connected.
    """

    def __init__(self, url: str, access: NatsAccess = NO_ACCESS) -> None:
        self._servers = [part.strip() for part in url.split(",")]
        self._access = access
        self._wants_tls = access.tls is not None or any(
            server.startswith("tls://") for server in self._servers
        )
        self.longest_packet = 1024 * 1024
        self._client: Any = None
        self._errors: tuple[type[Exception], ...] = ()
        self._is_closing = False
        self._trouble: Exception | None = None
        self._refusals: int | None = None  # None when connected: then it is asked forever

    async def connect(
        self, name: str, reconnected: Callable[[], object], disconnected: Callable[[], object]
    ) -> None:
        """Open the way to the bus; it comes back by itself, however long it is away.

        Raises:
            DisconnectedError: The server cannot be reached now.
            InvalidDefinitionError: The client of NATS is not installed, or a file of keys is none.
        """
        client_of, errors = _library()
        self._errors = errors
        self._is_closing = False
        self._client = client_of(wants_tls=self._wants_tls)
        try:
            await self._open(name, reconnected, disconnected)
        except ImportError as error:
            raise InvalidDefinitionError(
                f"These credentials of NATS need {error.name}, which is not installed.",
                "pip install nkeys",
            ) from error
        except (OSError, *errors, AssertionError) as error:
            await self._abandon()
            raise self._unreachable(error) from error
        except Exception as error:
            await self._abandon()
            if name := next((n for k, n in KEY_FILES.items() if k in self._access.credentials), ""):
                raise InvalidDefinitionError(  # without what was found in it
                    f"{name} of [broker] has no keys of NATS: {type(error).__name__}.",
                    "An nkey_file has a seed (SU...); a creds_file a JWT and a seed.",
                ) from None
            if isinstance(error, ValueError):
                raise self._unreachable(error) from error
            raise
        self.longest_packet = self._client.max_payload

    async def _abandon(self) -> None:
        """Leave a bus that was not joined: its client waits forever for a broken handshake."""
        self._refusals, self._is_closing = None, True
        with suppress(TimeoutError):
            async with asyncio.timeout(ABANDON_SECONDS):
                await self.close()

    def _unreachable(self, error: Exception) -> DisconnectedError:
        why = str(error) or str(self._trouble or "it does not answer")
        if _is_refusal(error):
            return DisconnectedError(
                f"NATS refuses this node at {self._shown()}: {why}.",
                "Correct the credentials, or what is said of TLS, in [broker].",
            )
        return DisconnectedError(
            f"NATS cannot be reached at {self._shown()}: {why}.",
            "Start it, or correct the address and the credentials in [broker].",
        )

    async def _open(
        self, name: str, reconnected: Callable[[], object], disconnected: Callable[[], object]
    ) -> None:
        """Connect once; when connected, the client looks for a bus that is away forever."""

        async def on_reconnected() -> None:
            self.longest_packet = self._client.max_payload
            _log.info("the bus is back")
            reconnected()

        async def on_disconnected() -> None:
            if not self._is_closing:
                _log.warning("the bus is away; it is looked for again")
                disconnected()

        self._refusals = 0
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._client.connect(
                self._servers,
                name=name,
                connect_timeout=CONNECT_SECONDS,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.5,
                ping_interval=PING_SECONDS,
                pending_size=BUFFERED_BYTES,
                tls=self._access.tls,
                **self._access.credentials,
                reconnected_cb=on_reconnected,
                disconnected_cb=on_disconnected,
                error_cb=self._on_error,
            )
        self._refusals = None

    async def _on_error(self, error: Exception) -> None:
        """Note what is wrong. While connecting, a refusal of each server is the end.

        What a connection ends with that is left is nobody's trouble.
        """
        if self._is_closing:
            return
        self._trouble = error
        _log.warning("the bus: %s", error or type(error).__name__)
        if self._refusals is not None and _is_refusal(error):
            self._refusals += 1
            if self._refusals >= len(self._servers):
                raise error

    async def subscribe(
        self, topic: str, kind: str, receive: Receive, group: str | None = None
    ) -> Callable[[], object]:
        """Receive the packets of a topic."""

        async def take(message: Any) -> None:
            await receive(kind, message.data)

        # Without limits of its own: the client drops what is over them, and says so to nobody.
        made = await self._client.subscribe(
            topic, queue=group or "", cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        return made.unsubscribe

    async def publish(self, topic: str, body: bytes) -> None:
        """Send a packet.

        Raises:
            DisconnectedError: The bus was left, or is away for so long that no more can be kept.
        """
        try:
            await self._client.publish(topic, body)
        except self._errors as error:
            raise DisconnectedError(f"The bus takes nothing now: {error}.") from error

    async def flush(self) -> None:
        """Wait until all that was sent has reached the bus."""
        from nats.errors import Error

        try:
            await self._client.flush(CONNECT_SECONDS)
        except (Error, TimeoutError) as error:
            raise DisconnectedError(f"The bus does not answer: {error}.") from error

    async def close(self) -> None:
        """Leave the bus."""
        self._is_closing = True
        if self._client is None:
            return
        # An outage just then, or nothing was opened yet, which the client asserts.
        with suppress(OSError, AssertionError):
            await self._client.close()

    def _shown(self) -> str:
        """The addresses without passwords."""
        return ", ".join(server.rpartition("@")[2] for server in self._servers)


def _is_refusal(error: Exception) -> bool:
    """Whether a server has answered, and will not have this node as it is."""
    return isinstance(error, ssl.SSLError) or any(
        word in str(error).lower() for word in ("authorization", "authentication", "no tls")
    )


def _library() -> tuple[Callable[..., Any], tuple[type[Exception], ...]]:
    """What makes a client of NATS, and its errors.

    Raises:
        InvalidDefinitionError: It is not installed.
    """
    try:
        from nats.aio.client import PING_PROTO, Client
        from nats.errors import Error
    except ImportError as error:
        raise InvalidDefinitionError(
            "The client of NATS is not installed.", 'pip install "dama-controller[nats]"'
        ) from error

    class Checked(Client):
        """The client with two faults of it mended.

        Alone it sends its credentials in the clear to a server without TLS, and the ping of a flush
        ahead of what waits to be sent, so that the answer says nothing of that.
        """

        def __init__(self, *, wants_tls: bool) -> None:
            super().__init__()
            self._wants_tls = wants_tls

        @override
        async def _process_info(
            self, info: dict[str, Any], initial_connection: bool = False
        ) -> None:
            if self._wants_tls and initial_connection and not info.get("tls_required"):
                raise Error("the server offers no TLS")
            await super()._process_info(info, initial_connection)

        @override
        async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
            pong = future or asyncio.get_running_loop().create_future()
            self._pongs.append(pong)  # pyright: ignore[reportUnknownMemberType] - it has no type
            await self._send_command(PING_PROTO)
            await self._flush_pending()

    return Checked, (Error,)
