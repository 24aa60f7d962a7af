"""Where a run gets its broker from, when it calls an action."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from dama.run.errors import TaskUsageError

if TYPE_CHECKING:
    from dama.broker.broker import Broker

BrokerSource = Callable[[], Awaitable["Broker"]]
"""Gives the broker of a process, which is started when somebody first asks for it."""


async def no_broker() -> Broker:
    """Refuse to give a broker.

    Raises:
        TaskUsageError: Always.
    """
    raise TaskUsageError(
        "A run in a process of its own has no broker, so it can call no action.",
        "Leave out isolation, or let a task beside it make the call.",
    )
