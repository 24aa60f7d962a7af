"""Forks: a context with the history of another one up to an event, which continues there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dama.domain.event import ABSENT, Event, check_event, kind_of
from dama.domain.lifecycle import step_key
from dama.domain.reserved import is_reserved
from dama.errors import UsageError
from dama.operations import contexts
from dama.operations.who import person
from dama.shapes import as_object
from dama.store.errors import LifeCycleError

if TYPE_CHECKING:
    from dama.app import App
    from dama.store.forks import DoneStep, ForkPoint
    from dama.store.rows import ContextRow
    from dama.store.windows import ContextFilter

PAGE = 50


class ForkError(UsageError):
    """A fork as it was asked for makes no sense."""

    code = "FORK"


@dataclass(frozen=True)
class Edits:
    """What is told otherwise in a fork.

    Attributes:
        payload: That of the last shared event: an answer, the result of a step; `ABSENT` for its
            own.
        params: Other values of params that the task was started with.
    """

    payload: Any = ABSENT
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Fork:
    """A context that was forked.

    Attributes:
        context_id: Its id.
        forked_from: The context whose history it shares.
        event_id: The last event of that history.
        version: How many events it shares.
        edited: The versions whose payloads are others.
        contexts: The contexts that were made: itself, and the subtasks that were not done then.
        done_again: The steps that the other context did after that event; the fork may do them
            again.
        rows_are_there: Those of them whose rows are in the database already, as part of their
            commit.
    """

    context_id: int
    forked_from: int
    event_id: int
    version: int
    edited: Sequence[int]
    contexts: Sequence[int]
    done_again: Sequence[str]
    rows_are_there: Sequence[str]


async def fork(
    app: App,
    context_id: int,
    at: int | None = None,
    *,
    step: str | None = None,
    edits: Edits | None = None,
    by: Mapping[str, Any] | None = None,
) -> Fork:
    """Make a context with the history of another one up to an event; its run is queued.

    The other context is only read: it may be running, ended in any way, or archived.

    Args:
        app: Where both are.
        context_id: Whose history.
        at: The last event that is shared. Of a context that is done, its FINAL cannot be.
        step: Instead: the key of a step; what was before it is shared, subtasks that had ended
            included, and it is done again.
        edits: What is told otherwise in the fork.
        by: Who does it; by default the user of this process.

    Raises:
        UnknownContextError: There is no such context.
        UnknownEventError: It has no such event.
        UnknownTaskError: No module of this project has its task.
        ForkError: Neither or both of an event and a step are given, or the event cannot be edited.
        InvalidParamsError: The task does not take such params.
        LifeCycleError: The context had ended with that event, or its task refuses to be forked.
    """
    point = await point_of(app, context_id, at, step)
    _refuse_unforkable(app, point)
    told = _payloads(app, point, edits or Edits())
    # What the step saw: subtasks may have ended after the last event of the context itself.
    is_before = step is not None
    made = await app.store.forks.create(
        context_id, point.version, told, by or person(), is_before=is_before
    )
    app.store.hints.send()
    done = await app.store.forks.steps_after(context_id, point.version)
    return Fork(
        context_id=made[0].context_id,
        forked_from=context_id,
        event_id=point.event_id,
        version=point.version,
        edited=sorted(told),
        contexts=[each.context_id for each in made],
        done_again=_keys(done),
        rows_are_there=_keys([each for each in done if each.is_transactional]),
    )


@dataclass(frozen=True)
class Batch:
    """Contexts that were forked together.

    Attributes:
        forks: What was forked.
        known: Contexts that had a fork already, or are one that has not failed, and were left
            alone.
        refused: Why others were not forked, by context.
    """

    forks: Sequence[Fork]
    known: Sequence[int]
    refused: Mapping[int, str]


async def fork_all(
    app: App,
    chosen: ContextFilter,
    step: str,
    *,
    params: Mapping[str, Any] | None = None,
    by: Mapping[str, Any] | None = None,
    limit: int = 1000,
) -> Batch:
    """Fork all contexts that a filter fits before a step; it can be repeated.

    What has a fork already is left alone, and so is a fork from before the step, if it has not
    failed.

    Args:
        app: Where they are.
        chosen: Which.
        step: The key of a step of theirs.
        params: Other values of params.
        by: Who does it.
        limit: At most this many.
    """
    made: list[Fork] = []
    known: list[int] = []
    refused: dict[int, str] = {}
    before: int | None = None
    while True:
        page = await contexts.all_of(app, chosen, before=before, limit=PAGE)
        for each in page.contexts:
            if len(made) >= limit:
                return Batch(made, known, refused)
            try:
                if await _is_forked(app, each, step):
                    known.append(each.context_id)
                    continue
                edits = Edits(params=params or {})
                made.append(await fork(app, each.context_id, step=step, edits=edits, by=by))
            except (LifeCycleError, UsageError) as error:
                refused[each.context_id] = error.message
        before = page.next_before
        if before is None:
            return Batch(made, known, refused)


async def _is_forked(app: App, row: ContextRow, step: str) -> bool:
    """Whether it has a fork, or is one from before the step that has not failed."""
    origin, made = await app.store.forks.of(row.context_id)
    if made or origin is None or row.status not in {"DONE", "OPEN"}:
        return bool(made)
    before = await app.store.forks.before_step(row.context_id, row.task or "", step)
    if before is None:  # not reached yet, or, where it is done, never
        return row.status == "OPEN"
    return (await app.store.forks.point(row.context_id, before)).version > origin.version


async def point_of(app: App, context_id: int, at: int | None, step: str | None) -> ForkPoint:
    """The event that a fork begins after: itself, or the last one before a step.

    Raises:
        UnknownContextError: There is no such context.
        UnknownEventError: It has no such event.
        ForkError: Neither or both are given, or it has nothing of that step.
    """
    if (at is None) == (step is None):
        raise ForkError(
            "A fork begins at an event or before a step, and "
            + ("neither is given." if at is None else "both are given."),
            f"`dama events {context_id} --json` shows the ids of events; "
            f"`dama show {context_id}` the steps.",
        )
    if step is None:
        return await app.store.forks.point(context_id, at)
    latest = await app.store.forks.point(context_id, None)
    before = await app.store.forks.before_step(context_id, latest.task or "", step)
    if before is None:
        raise ForkError(
            f"Context {context_id} has no record of a step {step!r}, and has not failed.",
            f"`dama show {context_id}` shows its steps.",
        )
    return await app.store.forks.point(context_id, before)


def _refuse_unforkable(app: App, point: ForkPoint) -> None:
    """A task whose author forbids it: what it does outside must not be done twice."""
    if point.task is None:
        return
    # Raises, where nobody here could run it.
    if app.registry.task(point.task).options.fork == "refuse":
        raise LifeCycleError(
            f"{point.task} says fork='refuse': its runs are not forked.",
            "Start it again with `dama run`, or take the option away if a second run does no harm.",
        )


def _payloads(app: App, point: ForkPoint, edits: Edits) -> dict[int, Any]:
    """The payloads that are others in the fork, by version."""
    told: dict[int, Any] = {}
    if edits.payload is not ABSENT:
        _refuse_uneditable(point)
        check_event(Event(point.type, edits.payload))
        told[point.version] = edits.payload
    if edits.params:
        told[1] = {**as_object(told.get(1, point.params)), **edits.params}
    if 1 in told and point.task is not None:
        told[1] = app.registry.task(point.task).encode_params(as_object(told[1]))
    return told


def _refuse_uneditable(point: ForkPoint) -> None:
    """Only what somebody else said, or what a step returned, can be told otherwise."""
    found = step_key(point.type)
    is_result = found is not None and found[1] == "DONE"
    if is_result or kind_of(point.type) == "INITIAL" or not is_reserved(point.type):
        return
    raise ForkError(
        f"The payload of {point.type} is the controller's own.",
        "It can be that of the INITIAL (the params), of a step's DONE (its result), or of an event "
        "from outside, such as an answer.",
    )


def _keys(steps: Sequence[DoneStep]) -> list[str]:
    return list(dict.fromkeys(step.key for step in steps))
