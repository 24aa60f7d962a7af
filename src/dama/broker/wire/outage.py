"""After an outage of the bus: calls whose packets may have gone with it, so that every call ends.

What was under way when the bus died is lost without a sign: the packet of a call, or its answer. A
node in Python says whether it executes a call. One in Node.js cannot be asked: of it a call fails
that began shortly before the outage and is not answered for long after it. One that began earlier
did arrive, and may take its time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dama.broker.errors import RequestRejectedError

if TYPE_CHECKING:
    from dama.broker.wire.discovery import Discovery
    from dama.broker.wire.exchange import Exchange, Pending

LATE_SECONDS = 1.0  # an answer may be read a little later than what was sent after it


async def fail_lost_calls(
    exchange: Exchange, discovery: Discovery, *, broke_at: float, patience: float
) -> None:
    """Fail the calls that were lost with the bus, which is there again.

    Args:
        exchange: The calls.
        discovery: Asks nodes.
        broke_at: When the bus went, by the monotonic clock.
        patience: Seconds in which a node answers, or is missed.
    """
    asked = list(exchange.pending.values())
    await asyncio.sleep(patience)
    asked = [pending for pending in asked if _waits(pending)]
    recent = [broke_at - pending.sent_at < patience for pending in asked]
    answers = await asyncio.gather(
        *(
            _is_lost(discovery, p, otherwise=is_recent)
            for p, is_recent in zip(asked, recent, strict=True)
        )
    )
    await asyncio.sleep(LATE_SECONDS)
    for pending, is_lost in zip(asked, answers, strict=True):
        if is_lost and _waits(pending):
            exchange.reject(pending, _lost(pending))


async def _is_lost(discovery: Discovery, pending: Pending, *, otherwise: bool) -> bool:
    if pending.node_id is None:  # the bus chose, and nobody knows whom
        return otherwise
    answer = await discovery.ask("CALL", pending.node_id, pending.call.id)
    return otherwise if answer is None else answer.get("closed", otherwise)


def _waits(pending: Pending) -> bool:
    return pending.answer is not None and not pending.answer.done()


def _lost(pending: Pending) -> RequestRejectedError:
    return RequestRejectedError(
        f"{pending.call.name} was not answered: the bus went away meanwhile, and took the call or "
        "its answer with it.",
        "It may have been executed. Look before you call again what must not happen twice.",
        data={"action": pending.call.name, "nodeID": pending.node_id},
    )
