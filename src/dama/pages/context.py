"""The page of a context: what it is, why it waits, and what it was at any of its events."""

from __future__ import annotations

from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dama.beside import beside
from dama.domain.difference import MOST_SHOWN, Change, changes
from dama.domain.event import ABSENT, StoredEvent
from dama.domain.exact import document, encode
from dama.domain.lifecycle import Lifecycle, lifecycle
from dama.domain.slice import Slice, find_slice, slices
from dama.errors import DamaError
from dama.operations import contexts, trends
from dama.operations.finding import EventFilter, find, look
from dama.operations.statements import shown
from dama.pages import files
from dama.pages.moment import CHILDREN, Moment, moment_of, tree
from dama.pages.shown import pointed
from dama.pages.visit import see
from dama.shapes import is_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from dama.pages.visit import Visit
    from dama.store.rows import ContextRow

EVENTS = 100
# Of each part where all of them are beside each other.
FEW = 12
SHORT_LOG = 4 * 1024
TABS = ("events", "state", "tree", "timeline", "log", "params", "artifacts", "moment")
FILTERS = ("type", "text", "failed", "marks")
KEPT = ("at", "slice", "path", "tab", "stream", "zoom", "true", *FILTERS)
TOGETHER = ("tree", "state", "events", "log")


async def show(visit: Visit) -> Response:
    """The header, and the tab that the address names."""
    row = await visit.context()
    moment = await moment_of(visit, row)
    state = await _lifecycle(visit, row.context_id, moment.event_id)
    tab = visit.query.get("tab", "events")
    tab = tab if tab in TABS else "events"
    first = await contexts.events(visit.app, row.context_id, limit=1)
    is_idle = row.run is not None and row.run.state != "running"
    origin, forks = await contexts.lineage(visit.app, row.context_id)
    return visit.page(
        "context.html",
        row=row,
        moment=moment,
        life=state,
        first=first.events[0] if first.events else None,
        place=await contexts.place(visit.app, row) if moment.is_live else None,
        usual=await trends.usual_seconds(visit.app, row),
        why=await contexts.why(visit.app, row.context_id) if is_idle else [],
        origin=origin,
        forks=forks,
        ended=await contexts.outcome(visit.app, row.context_id),
        absent=ABSENT,
        tab=tab,
        tabs=TABS,
        kept={n: v for n, v in visit.query.items() if n in KEPT},
        unpinned={n: v for n, v in visit.query.items() if n in KEPT and n != "at"},
        without_zoom={n: v for n, v in visit.query.items() if n in KEPT and n != "zoom"},
        filters={n: visit.query[n] for n in FILTERS if n in visit.query},
        event_options=_options(visit),
        steps=await _steps(visit, row, moment),
        again=_again(first.events[0] if first.events else None),
        **await _of_tab(visit, row, moment, state, tab),
    )


def _again(first: StoredEvent | None) -> dict[str, str]:
    """The params of a context as the address of a form has them."""
    payload = first.payload if first else None
    if not is_object(payload):
        return {}
    return {
        name: value if isinstance(value, str) else encode(value).decode()
        for name, value in payload.items()
        if value is not None
    }


async def _lifecycle(visit: Visit, context_id: int, at: int | None) -> Lifecycle:
    state = await contexts.state(visit.app, context_id, lifecycle.name, at)
    return state if isinstance(state, Lifecycle) else Lifecycle()


async def _of_tab(
    visit: Visit, row: ContextRow, moment: Moment, life: Lifecycle, tab: str
) -> dict[str, Any]:
    is_together = tab == "moment"
    found: dict[str, Any] = {}
    for part in TOGETHER if is_together else (tab,):
        match part:
            case "events":
                found |= await _events(visit, row, moment, FEW if is_together else EVENTS)
            case "state":
                found |= await _state(visit, row, moment)
            case "tree" | "timeline":
                found |= await tree(visit, row, moment, FEW if is_together else CHILDREN)
            case "log":
                length = SHORT_LOG if is_together else files.WINDOW
                found |= await files.log_window(visit, row, moment, life, length)
            case "artifacts":
                found |= await files.artifact_list(visit, row)
            case _:
                pass
    return found


def _chosen(visit: Visit) -> EventFilter:
    """The events that the address asks for."""
    query = visit.query
    return EventFilter(query.get("type"), query.get("text"), "failed" in query, "marks" in query)


def _options(visit: Visit) -> str:
    """The filter as options of `dama events`."""
    options = [f" --{n} {quote(visit.query[n])}" for n in ("type", "text") if n in visit.query]
    options += [f" --{name}" for name in ("failed", "marks") if name in visit.query]
    return "".join(options)


async def _steps(visit: Visit, row: ContextRow, moment: Moment) -> tuple[int, int]:
    """Where a step back and a step on lead: to the nearest events that fit the filter."""
    chosen, version = _chosen(visit), moment.version
    if chosen.is_any:
        return max(version - 1, 1), min(version + 1, moment.last)
    return (
        await _nearest(visit, row.context_id, chosen, before=version),
        await _nearest(visit, row.context_id, chosen, after=version),
    )


async def _nearest(visit: Visit, context_id: int, chosen: EventFilter, **of: int) -> int:
    """The version of the nearest event that fits, or that to which was looked."""
    found = await find(visit.app, context_id, chosen, **of, limit=1)
    (version,) = of.values()
    return found.events[0].version if found.events else found.looked_to or version


async def mark(visit: Visit) -> Response:
    """Go on to the mark before or after an event: where a run begins or ends, or an error."""
    row = await visit.context()
    version = visit.number("at") or row.version
    side = "before" if visit.query.get("side") == "before" else "after"
    at = await _nearest(visit, row.context_id, EventFilter(marks=True), **{side: version})
    kept = {n: v for n, v in visit.query.items() if n in KEPT}
    return see(f"/contexts/{row.context_id}?{urlencode({**kept, 'at': at})}")


async def _events(visit: Visit, row: ContextRow, moment: Moment, limit: int) -> dict[str, Any]:
    """A window that ends a little behind the chosen event, or with the one of the address."""
    end = visit.number("to") or min(moment.version + limit // 4, row.version)
    end = min(end, row.version)
    if not (chosen := _chosen(visit)).is_any:
        before = end + 1 if "to" in visit.query or not moment.is_live else None
        found = await find(visit.app, row.context_id, chosen, before=before, limit=limit)
        older = found.looked_to and found.looked_to - 1
        values = look(row.context_id, chosen, row.version, before=before, limit=limit)
        return {
            "events": found.events,
            "older": older,
            "newer": None,
            "looked": chosen.look,
            "size": limit,
            "statement": shown("find_events", **values),
        }
    after = max(end - limit, 0)
    page = await contexts.events(visit.app, row.context_id, after_version=after, limit=limit)
    values = {"context_id": row.context_id, "after_version": after, "limit": limit}
    return {
        "size": limit,
        "statement": shown("read_events", up_to_event=None, **values),
        "events": list(reversed(page.events)),
        "older": after or None,
        "newer": min(end + limit, row.version) if end < row.version else None,
    }


async def _state(visit: Visit, row: ContextRow, moment: Moment) -> dict[str, Any]:
    """The state in a slice at the chosen event, and what that event changed."""
    name, path = visit.query.get("slice", lifecycle.name), visit.query.get("path", "")
    known = [lifecycle.name, *sorted(slices())]
    state: Any = None
    found: Sequence[Change] = ()
    problem = ""
    if moment.event is not None:
        try:
            state = await _shown_state(visit, row.context_id, name, moment.event.event_id)
            before = None
            if moment.version > 1:
                page = await contexts.events(
                    visit.app, row.context_id, after_version=moment.version - 2, limit=1
                )
                if page.events:  # an import may have left it out
                    at = page.events[0].event_id
                    before = await _shown_state(visit, row.context_id, name, at)
            state, before = pointed(state, path), pointed(before, path)
            found = await beside(state, _changes, before, state)
        except DamaError as error:
            problem = error.message
    return {
        "slices": known,
        "slice": name,
        "path": path,
        "state": state,
        "changes": found[:MOST_SHOWN],
        "more_changes": len(found) > MOST_SHOWN,
        "problem": problem,
    }


async def _shown_state(visit: Visit, context_id: int, name: str, at: int) -> Any:
    slice_: Slice[Any] = lifecycle if name == lifecycle.name else find_slice(name)
    state = await contexts.state(visit.app, context_id, slice_, at)
    return document(slice_.encode_state(state))


def _changes(before: Any, after: Any) -> list[Change]:
    return list(islice(changes(before, after), MOST_SHOWN + 1))
