"""Why a run is not running: what the database knows, in sentences. Facts in, reasons out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dama.counts import number_of
from dama.domain.circle import WaitsFor, who_waits
from dama.domain.labels import LAUNCHER, options_for
from dama.shapes import Json

if TYPE_CHECKING:
    from dama.store import ContextRow
    from dama.store.queue_rows import Obstacle

HINTS = {"circle": "None of them can continue. Cancel one: dama cancel CONTEXT"}


@dataclass(frozen=True)
class Reason:
    """One thing that keeps a run from running.

    Attributes:
        reason: Its kind: paused, queue_limit, rate, delayed, retrying, key_limit, subtasks, signal,
            time, place, placed, launcher, no_worker, busy, behind, circle; running, ended, next or
            no_run otherwise.
        text: In words.
        advice: What to do, where something can be done.
        facts: What the words are made of.
    """

    reason: str
    text: str
    advice: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict[str, Any])


def reasons(
    context: ContextRow, obstacles: Sequence[Obstacle], circle: Sequence[WaitsFor]
) -> list[Reason]:
    """All reasons, the one that nothing but a person can end first; never none."""
    number = context.context_id
    if context.status != "OPEN":
        resume = "" if context.status == "DONE" else f"dama resume {number}"
        return [Reason("ended", f"It has ended: {context.status}.", resume)]
    if context.run is None:
        return [Reason("no_run", "It has no run: an old program's, or one that lost it.")]
    found = [_reason(each) for each in obstacles]
    if circle:
        facts = {"circle": [_wait(wait) for wait in circle]}
        text = f"It would wait forever: {who_waits(circle)}."
        found.insert(0, Reason("circle", text, HINTS["circle"], facts))
    return found or [Reason("next", "Nothing: a worker claims it at its next look.")]


def _wait(wait: WaitsFor) -> dict[str, Any]:
    return {"waiter": wait.waiter, "awaited": wait.awaited, "key": wait.key}


def _reason(obstacle: Obstacle) -> Reason:
    text, advice = WORDS[obstacle.reason](obstacle.facts)
    return Reason(obstacle.reason, text, advice, obstacle.facts)


def _running(facts: Mapping[str, Json]) -> tuple[str, str]:
    if facts["alive"]:
        return f"It is running: {facts['worker']} executes it.", ""
    return f"Its worker {facts['worker'] or ''} is gone; it is queued again within seconds.", ""


def _placed(facts: Mapping[str, Json]) -> tuple[str, str]:
    launcher, job = facts["launcher"], facts["job"] or facts["name"]
    if not facts["looked_after"]:
        start = f"dama worker --launch {launcher}"
        return f"It is placed as {job}, and no live worker looks after {launcher}.", start
    if facts["away_since"]:
        away = f"{launcher} has not answered since {facts['away_since']}: {facts['trouble']}"
        return f"It is placed as {job}, and {away}", ""
    if not facts["state"]:
        return f"It is placed: {launcher} was asked for {job}, and has not shown it yet.", ""
    reason = f": {facts['reason']}" if facts["reason"] else ""
    where = f" on {facts['node']}" if facts["node"] else ""
    state = f"{facts['state']}{where}{reason}"
    return f"{launcher} has it as job {job}, {state}, since {facts['since']}.", ""


def _launcher(facts: Mapping[str, Json]) -> tuple[str, str]:
    launcher, held = facts["launcher"], facts["held"]
    if facts["away_since"]:
        return f"{launcher} has not answered since {facts['away_since']}: {facts['trouble']}", ""
    return f"{launcher} places it when there is room; it has {number_of(held, 'run')} now.", ""


def _paused(facts: Mapping[str, Json]) -> tuple[str, str]:
    by = f" by {facts['by']}" if facts["by"] else ""
    since = f" since {facts['since']}" if facts["since"] else ""
    name = facts["queue"]
    return f"The queue {name} is paused{by}{since}.", f"dama queue resume {name}"


def _queue_limit(facts: Mapping[str, Json]) -> tuple[str, str]:
    return (
        f"The queue {facts['queue']} runs at most {facts['limit']} at once: {_held(facts)}.",
        f"dama queue limit {facts['queue']} --concurrency N",
    )


def _held(facts: Mapping[str, Json]) -> str:
    ids: Sequence[int] = facts["held_by"]
    more = facts["held"] - len(ids)
    named = ", ".join(map(str, ids)) + (f" and {number_of(more, 'other')}" if more > 0 else "")
    return f"context {named} {'holds the place' if facts['held'] == 1 else 'hold the places'}"


def _rate(facts: Mapping[str, Json]) -> tuple[str, str]:
    queue, rate, seconds = facts["queue"], facts["rate"], facts["seconds"]
    return (
        f"The queue {queue} starts {rate:g} a second: the next one in {seconds:.1f} s.",
        f"dama queue limit {queue} --rate N",
    )


def _key_limit(facts: Mapping[str, Json]) -> tuple[str, str]:
    return f"At most {facts['limit']} of {facts['key']} may run at once: {_held(facts)}.", ""


def _behind(facts: Mapping[str, Json]) -> str:
    come = "comes" if facts["runs"] == 1 else "come"
    return f"{number_of(facts['runs'], 'run')} of {facts['queue']} {come} before it."


def _subtasks(facts: Mapping[str, Json]) -> tuple[str, str]:
    ids: Sequence[int] = facts["contexts"]
    more = facts["open"] - len(ids)
    named = ", ".join(map(str, ids)) + (f" and {number_of(more, 'other')}" if more > 0 else "")
    return f"It waits for the end of context {named}.", f"dama queue why {ids[0]}" if ids else ""


def _signal(facts: Mapping[str, Json]) -> tuple[str, str]:
    types: Sequence[str] = facts["types"]
    return f"It waits for an event {' or '.join(types)}.", f"dama emit CONTEXT {types[0]}"


def _place(facts: Mapping[str, Json]) -> tuple[str, str]:
    until = f", until {facts['until']}" if facts["until"] else ""
    return (
        f"Its program may still run at {facts['place']}, and no live worker is there{until}.",
        "Start a worker there; others take it over afterwards.",
    )


def _no_worker(facts: Mapping[str, Json]) -> tuple[str, str]:
    queue = facts["queue"]
    start = f"dama worker --queue {queue}{options_for(facts['labels'])}"
    if not facts["workers"]:
        return "No worker is alive.", start
    if not facts["for_queue"]:
        return f"No live worker claims from the queue {queue}.", start
    launchers = [x.removeprefix(LAUNCHER) for x in facts["labels"] if x.startswith(LAUNCHER)]
    if not facts["for_labels"] and launchers:
        return f"No live worker looks after the launcher {launchers[0]}.", start
    if not facts["for_labels"]:
        return f"No live worker of the queue offers {', '.join(facts['labels'])}.", start
    return (
        f"No live worker of the queue {queue} knows the task {facts['task']}.",
        "`dama services` in the folder of a worker lists what it knows.",
    )


def _busy(facts: Mapping[str, Json]) -> tuple[str, str]:
    workers = ", ".join(facts["workers"])
    return f"All {facts['slots']} slots of the workers that know it are taken: {workers}.", ""


WORDS: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str]]] = {
    "running": _running,
    "placed": _placed,
    "launcher": _launcher,
    "paused": _paused,
    "queue_limit": _queue_limit,
    "rate": _rate,
    "delayed": lambda facts: (f"It is delayed until {facts['until']}.", ""),
    "retrying": lambda facts: (f"Attempt {facts['attempt']} begins at {facts['at']}.", ""),
    "key_limit": _key_limit,
    "subtasks": _subtasks,
    "signal": _signal,
    "time": lambda facts: (f"It waits until {facts['until']} at the latest.", ""),
    "place": _place,
    "no_worker": _no_worker,
    "busy": _busy,
    "behind": lambda facts: (_behind(facts), ""),
}
