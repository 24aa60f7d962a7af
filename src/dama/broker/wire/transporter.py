"""Transporters: what carries packets between nodes. They know topics and bytes, no calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

Receive = Callable[[str, bytes], Awaitable[None]]
"""Takes the kind of a packet, such as `REQ`, and its body; the next of its topic waits for that."""


class Transporter(Protocol):
    """A bus with topics and queue groups.

    Attributes:
        longest_packet: Bytes that a packet may have.
    """

    longest_packet: int

    async def connect(
        self, name: str, reconnected: Callable[[], object], disconnected: Callable[[], object]
    ) -> None:
        """Open the way to the bus, and keep it open until `close`.

        Args:
            name: Of the node, for who looks at the bus.
            reconnected: Called whenever the bus is back after it was away.
            disconnected: Called whenever the bus goes away.

        Raises:
            DisconnectedError: The bus cannot be reached now.
        """
        ...

    async def subscribe(
        self, topic: str, kind: str, receive: Receive, group: str | None = None
    ) -> Callable[[], object]:
        """Receive the packets of a topic; with a group each packet goes to one of its members.

        Returns:
            What ends the subscription.
        """
        ...

    async def publish(self, topic: str, body: bytes) -> None:
        """Send a packet."""
        ...

    async def flush(self) -> None:
        """Wait until all that was sent has reached the bus."""
        ...

    async def close(self) -> None:
        """Leave the bus, after all that was sent has reached it."""
        ...
