"""Runs: what a program may do over HTTP with the token of its run, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.domain.errors import ReservedEventError
from dama.domain.event import parse_event
from dama.domain.exact import document
from dama.domain.lifecycle import lifecycle
from dama.domain.reserved import event_of_program
from dama.gateway.errors import RequestError
from dama.shapes import is_list
from dama.store import Append
from dama.store.errors import StaleEpochError

if TYPE_CHECKING:
    from dama.app import App
    from dama.store.tokens import Identity

MOST_EVENTS = 1000


async def read(app: App, identity: Identity) -> dict[str, Any]:
    """The context of a run: its task and its state.

    Raises:
        RequestError: The run is over.
    """
    context_id, epoch = _run_of(identity)
    if not await app.store.tokens.is_running(context_id, epoch):
        raise RequestError(
            "INVALID_TOKEN",
            f"The run {context_id}.{epoch} is over, and its token with it.",
            "A later run of the context has a token of its own.",
        )
    context = await app.store.context(context_id)
    state = await app.store.state(context_id, lifecycle)
    return {
        "context_id": context_id,
        "epoch": epoch,
        "task": context.task,
        "state": document(lifecycle.encode_state(state)),
    }


async def append(app: App, identity: Identity, body: object) -> dict[str, list[int]]:
    """Append an event, or a list of them, to the context of a run, all or none.

    Raises:
        RequestError: There are too many, or one belongs to the life cycle.
        InvalidEventError: One is not an event.
        StaleEpochError: The run is over, or another one has the context by now.
    """
    context_id, epoch = _run_of(identity)
    if not await app.store.tokens.is_running(context_id, epoch):
        raise StaleEpochError(
            f"The run {context_id}.{epoch} is over; nothing is written with its token any more.",
            "A later run of the context has a token of its own.",
        )
    given = body if is_list(body) else [body]
    if not given or len(given) > MOST_EVENTS:
        raise RequestError(
            "BAD_REQUEST",
            f"There are {len(given)} events; wanted 1 to {MOST_EVENTS}.",
            "Send them in parts.",
        )
    task = (await app.store.context(context_id)).task or ""
    try:
        events = [event_of_program(parse_event(each), task, {"epoch": epoch}) for each in given]
    except ReservedEventError as error:
        raise RequestError("BAD_REQUEST", error.message, error.hint) from error
    items = [Append(context_id, event) for event in events]
    return {"event_ids": [each.event_id for each in await app.store.append_many(items)]}


def _run_of(identity: Identity) -> tuple[int, int]:
    if identity.run is None:
        raise RequestError(
            "FORBIDDEN",
            "This path is for programs, with the token of their run.",
            "A program finds it in $DAMA_TOKEN.",
        )
    return identity.run
