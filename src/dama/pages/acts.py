"""Acts on contexts: each asks for a reason, which its event keeps with the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama.domain.event import ABSENT
from dama.errors import DamaError
from dama.gateway.errors import RequestError
from dama.operations import contexts, forks
from dama.pages.fields import json_of
from dama.pages.visit import LONGEST_ID, see
from dama.store.errors import LifeCycleError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.responses import Response

    from dama.app import App
    from dama.pages.visit import Visit
    from dama.shapes import Json
    from dama.store.rows import ContextRow

MOST = 1000


async def cancel(visit: Visit) -> Response:
    """Cancel a context and what is below it."""
    row = await visit.context("operator")
    await contexts.cancel(visit.app, row.context_id, visit.by())
    return see(f"/contexts/{row.context_id}")


async def resume(visit: Visit) -> Response:
    """Let a context continue."""
    row = await visit.context("operator")
    await contexts.resume(visit.app, row.context_id, visit.by(), here=False)
    return see(f"/contexts/{row.context_id}")


async def fork(visit: Visit) -> Response:
    """Continue after an event, in a new context."""
    row = await visit.context("operator")
    if visit.identity.services is not None:
        visit.demand_task("operator", row.task)  # perhaps of another service than its tree
    at = visit.form.get("at", "")
    if not at.isdecimal() or int(at) > LONGEST_ID:
        raise RequestError("BAD_REQUEST", f"There is no event {at[:40]!r}.", "Give its id.")
    edits = forks.Edits(_payload(visit))
    made = await forks.fork(visit.app, row.context_id, int(at), edits=edits, by=visit.by())
    return see(f"/contexts/{made.context_id}")


def _payload(visit: Visit) -> Any:
    """The payload that a form has; `ABSENT` for an empty field."""
    text = visit.form.get("payload", "").strip()
    if not text:
        return ABSENT
    return json_of(text, "The payload is", 'Write, for instance, {"ok": true}.')


async def emit(visit: Visit) -> Response:
    """Append an event: a signal, an approval."""
    row = await visit.context("operator")
    event: dict[str, Any] = {"type": visit.form.get("type", "").strip()}
    if (payload := _payload(visit)) is not ABSENT:
        event["payload"] = payload
    await contexts.dispatch(visit.app, row.context_id, event, by=visit.by())
    return see(f"/contexts/{row.context_id}")


@dataclass(frozen=True)
class Report:
    """What became of an act on one of many.

    Attributes:
        context_id: Which.
        task: Its task.
        status: Before the act.
        text: What the act does or has done to it, or why it does nothing.
        is_done: Whether it does or has done it.
    """

    context_id: int
    task: str | None
    status: str | None
    text: str
    is_done: bool


async def _resume(app: App, context_id: int, by: Mapping[str, Json]) -> None:
    await contexts.resume(app, context_id, by, here=False)


async def _cancel(app: App, context_id: int, by: Mapping[str, Json]) -> None:
    await contexts.cancel(app, context_id, by)


ACTS: Mapping[str, Callable[[App, int, Mapping[str, Any]], Awaitable[None]]] = {
    "cancel": _cancel,
    "resume": _resume,
    "retry": _resume,  # of what failed, and nothing else
}


async def of_many(visit: Visit) -> Response:
    """An act on the chosen contexts: at first a preview of exactly these, then the act."""
    act = visit.form.get("act", "")
    if act not in ACTS:
        raise RequestError(
            "BAD_REQUEST", f"There is no act {act[:40]!r}.", f"It may be {', '.join(ACTS)}."
        )
    ids = _ids(visit)
    is_confirmed = "confirmed" in visit.form
    by = visit.by() if is_confirmed else {}
    reports = [await _report(visit, act, each, by, is_confirmed=is_confirmed) for each in ids]
    return visit.page("acts.html", act=act, reports=reports, is_confirmed=is_confirmed, most=MOST)


async def _report(
    visit: Visit, act: str, context_id: int, by: Mapping[str, Json], *, is_confirmed: bool
) -> Report:
    try:
        row = await _permitted(visit, context_id)
    except DamaError as error:
        return Report(context_id, None, None, error.message, is_done=False)
    problem = _problem(act, row)
    if problem or not is_confirmed:
        return Report(context_id, row.task, row.status, problem or _would(act), is_done=not problem)
    try:
        await ACTS[act](visit.app, context_id, by)
    except LifeCycleError as error:  # it ended meanwhile
        return Report(context_id, row.task, row.status, error.message, is_done=False)
    return Report(context_id, row.task, row.status, _done(act), is_done=True)


async def _permitted(visit: Visit, context_id: int) -> ContextRow:
    row = await contexts.row_of(visit.app, context_id)
    if visit.identity.services is None:
        visit.demand("operator", "")
    else:
        visit.demand_task("operator", (await contexts.row_of(visit.app, row.root_context_id)).task)
    return row


def _problem(act: str, row: ContextRow) -> str:
    """Why the act would do nothing to a context; empty when it would."""
    if act == "cancel" and row.status != "OPEN":
        return f"It has ended: {row.status}."
    if act != "cancel" and row.status == "DONE":
        return "It is done."
    if act == "retry" and row.status != "ERROR" and row.run is None:
        return f"It has not failed: {row.status}."
    if row.run is not None and act != "cancel":
        return "It continues by itself."
    return ""


def _would(act: str) -> str:
    words = {
        "cancel": "It will be cancelled, with its subtasks.",
        "resume": "It will continue.",
        "retry": "It will be tried again, after the steps that are done.",
    }
    return words[act]


def _done(act: str) -> str:
    return "Cancelled." if act == "cancel" else "It continues."


def _ids(visit: Visit) -> list[int]:
    """The chosen contexts.

    Raises:
        RequestError: None are chosen, too many, or one is no id.
    """
    texts = visit.lists.get("context", [])
    if not texts or len(texts) > MOST:
        raise RequestError(
            "BAD_REQUEST",
            f"{len(texts)} contexts are chosen; 1 to {MOST} can be.",
            "Choose them in the list.",
        )
    ids = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 20]  # noqa: PLR2004
    if len(ids) < len(texts) or any(each >= LONGEST_ID for each in ids):
        raise RequestError("BAD_REQUEST", "One of the chosen contexts is not the id of one.")
    return sorted(set(ids))
