"""The journal: what a run must know of the runs before it, so that nothing is done twice.

Folded from the context's events when a run starts. A step whose key is here is not run again, a
subtask whose key is here is not started again, an event whose key is here is not sent again. The
entries have the order in which all of it came about, which a replay keeps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from dama.domain.event import ABSENT, StoredEvent, kind_of
from dama.domain.lifecycle import step_key
from dama.domain.reserved import name_of
from dama.shapes import Json, as_object, is_list, is_object

LONGEST_DELAY = 1e9  # seconds
TRIED = "TRIED"  # the kind of a failure that is tried again
_NUMBER = re.compile(r"#\d+$")


@dataclass(frozen=True)
class Entry:
    """One thing that a run has recorded.

    Attributes:
        key: Its own among those of the context.
        kind: DONE or FAILED for the outcome of a step or a wait, WAITING for the beginning of a
            wait, SPAWNED for subtasks, SENT for an event.
        event_id: Of the event.
        epoch: Of the run that wrote it.
        function: Of a step: `module:qualname`; None when the journal does not say.
        args: A digest of what it was called with; None when it does not say.
        place: The branch of the function that asked for it; "" for the function itself.
        kin: What tells that branch, and each on the way to it, from those beside it.
        within: The keys of the steps that it is a part of, from the outermost.
        nth: How many asks of its branch had its name, with its own; None for the first.
    """

    key: str
    kind: str
    event_id: int
    epoch: int
    function: str | None = None
    args: str | None = None
    place: str = ""
    kin: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    nth: int | None = None


@dataclass(frozen=True)
class Tries:
    """The tries of a step that failed within an attempt.

    Attributes:
        count: How many.
        failed_at: When the last one failed, by the clock of the database.
        delay: Seconds from then until the next one begins.
    """

    count: int
    failed_at: datetime
    delay: float


@dataclass(frozen=True)
class Signal:
    """An event from outside the run.

    Attributes:
        type: Of the event.
        version: Its place in the context.
        payload: Json JSON, or `ABSENT`.
        event_id: Of the event.
        by: Who wrote it, as far as its meta says.
    """

    type: str
    version: int
    payload: Json
    event_id: int = 0
    by: str | None = None


class Journal:
    """What earlier runs of a context did.

    Attributes:
        results: The results of the steps, by key; None for a step without one.
        functions: Of the steps, by key: `module:qualname`; journals of older versions have none.
        subtasks: The context ids that a key started.
        spawned_at: When they were started, by key.
        spawned: What they were started with, by key: a digest; older journals have none.
        digests: The values of `spawned`.
        sent: The idempotency keys of the events that were dispatched.
        waits: When the waits began, by key.
        signals: The events from outside the run that no wait has taken, by type, in their order.
        version: Of the latest event that was read.
        failures: The payload and the meta of the failures among them, by key.
        tried: The keys of steps that failed and are tried again.
        tries: Of those that are tried again within the attempt, by key.
        attempts_failed: How many attempts have failed since the start, or since it was resumed.
        failed_in: The epoch of the latest of them.
        began: The id of the first event.
        has_news: Whether an event from outside came after all that the runs have recorded.
        origins: The contexts that the first events are copied from, the nearest last.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []  # with what is tried again
        self.failures: dict[str, tuple[Any, Mapping[str, Any]]] = {}
        self.tried: set[str] = set()
        self.tries: dict[str, Tries] = {}
        self.attempts_failed = 0
        self.failed_in = 0
        self.began: int | None = None
        self.has_news = False
        self.origins: list[int] = []
        self.results: dict[str, Any] = {}
        self.functions: dict[str, str] = {}
        self.subtasks: dict[str, list[int]] = {}
        self.spawned_at: dict[str, datetime] = {}
        self.spawned: dict[str, str] = {}
        self.digests: set[str] = set()
        self.sent: set[str] = set()
        self.waits: dict[str, datetime] = {}
        self.signals: dict[str, list[Signal]] = {}
        self.version = 0
        self._outlived = 0  # entries of earlier attempts
        self._again: set[str] = set()  # the keys of those that were tried again since

    @property
    def entries(self) -> list[Entry]:
        """What was recorded, in its order, without what is tried again.

        What was tried again has the place of its first failure: all that the function asked for
        after that comes after it.
        """
        return [entry for entry in self._entries if entry.kind != TRIED]

    @property
    def recorded_args(self) -> set[str | None]:
        """The digests of what its entries were called with."""
        return {entry.args for entry in self.entries}

    @classmethod
    def read(cls, events: Iterable[StoredEvent]) -> Journal:
        """Fold the events of a context, from its first."""
        journal = cls()
        for event in events:
            journal.take(event)
        return journal

    def take(self, event: StoredEvent) -> None:
        """Take in one more event."""
        self.version = event.version
        self.began = self.began or event.event_id
        meta: Mapping[str, object] = event.meta if isinstance(event.meta, Mapping) else {}
        if "idempotency_key" in meta:
            self.sent.add(str(meta["idempotency_key"]))
        kind = kind_of(event.type)
        if "epoch" not in meta and kind is None:
            self.has_news = True
            by = name_of(meta)
            signal = Signal(event.type, event.version, event.payload, event.event_id, by)
            self.signals.setdefault(event.type, []).append(signal)
        self.attempts_failed = (
            0 if kind == "RESUMED" else self.attempts_failed + (kind == "RETRYING")
        )
        if kind in {"RETRYING", "RESUMED"}:
            self.tries.clear()
        self.origins += _origins(kind, event.payload, meta)
        if kind == "RETRYING":
            self.failed_in = int(str(meta.get("epoch", 0)))
        found = step_key(event.type)
        if found is not None:
            self._take_step(event, *found, meta)
        elif kind in {"RETRYING", "ERROR"}:
            self._try_again(meta)
        elif "epoch" in meta and str(meta.get("idempotency_key")).startswith("dispatch/"):
            self._enter(event, str(meta["idempotency_key"]), "SENT", meta)

    def _take_step(
        self, event: StoredEvent, key: str, suffix: str, meta: Mapping[str, object]
    ) -> None:
        if suffix == "FAILED":
            self._take_failure(event, key, meta)
            return
        ids = _spawned_ids(event.payload) if suffix == "SPAWNED" else []
        if ids is None:
            return
        if "epoch" in meta:
            self._enter(event, key, suffix, meta)
        match suffix:
            case "DONE":
                self._take_back_signal(key, event.payload, meta)
                self.results[key] = None if event.payload is ABSENT else event.payload
                if "function" in meta:
                    self.functions[key] = str(meta["function"])
            case "WAITING":
                self.waits[key] = event.created_at
            case _:
                self.subtasks.setdefault(key, []).extend(ids)
                self.spawned_at[key] = event.created_at
                if "spawned" in meta:
                    self.spawned[key] = str(meta["spawned"])
                    self.digests.add(self.spawned[key])

    def take_signal(
        self, types: Iterable[str], fits: Callable[[Signal], bool] = lambda _: True
    ) -> Signal | None:
        """The first signal of some types that fits, which no other wait gets; None without one."""
        found = sorted(
            (signal for type_ in types for signal in self.signals.get(type_, ())),
            key=lambda signal: signal.version,
        )
        signal = next(filter(fits, found), None)
        if signal is not None:
            self.signals[signal.type].remove(signal)
        return signal

    def give_back(self, signal: Signal) -> None:
        """No wait has taken a signal after all."""
        self.signals.setdefault(signal.type, []).insert(0, signal)

    def _take_back_signal(self, key: str, payload: object, meta: Mapping[str, object]) -> None:
        """A wait has got its signal: in this run, which took it already, or in an earlier one."""
        if key not in self.waits:
            return
        version = meta.get("signal")
        if version is not None:
            for taken in self.signals.values():
                taken[:] = [signal for signal in taken if signal.version != version]
            return
        found = self.signals.get(_NUMBER.sub("", key).rpartition("wait:")[2], [])
        if payload is not None and "args" not in meta and found:  # of an older version
            del found[0]

    def _take_failure(self, event: StoredEvent, key: str, meta: Mapping[str, Json]) -> None:
        if "raised" in meta and "epoch" in meta:
            self.failures[key] = (event.payload, meta)
            self._enter(event, key, "FAILED", meta)
            return
        self.tried.add(key)
        delay = _delay(event.payload)
        if delay is not None and "epoch" in meta:
            count = self.tries[key].count if key in self.tries else 0
            self.tries[key] = Tries(count + 1, event.created_at, delay)
            self._try_again(meta, key)

    def _try_again(self, meta: Mapping[str, object], step: str | None = None) -> None:
        """An attempt has failed: what it failed with is tried again, and what it outlived is not.

        The same of a try of a step, among the parts of the step.

        It outlived a failure when the branch that met it, or one above, continued to something
        else. An attempt may have several epochs: its worker died, or its process was taken over.
        """
        named = meta.get("failed_with")
        keys = named if is_list(named) else []
        fatal = {str(key) for key in keys}
        later: set[str] = set()
        for number, entry in reversed([*enumerate(self._entries)]):
            is_of_step = step is None or step in entry.within
            if entry.kind == TRIED or not is_of_step:
                continue
            is_of_attempt = number >= self._outlived or entry.key in self._again
            is_unoutlived = is_of_attempt and later.isdisjoint(_above(entry.place))
            if entry.kind == "FAILED" and (entry.key in fatal or is_unoutlived):
                self.failures.pop(entry.key, None)
                self.tried.add(entry.key)
                self._entries[number] = replace(entry, kind=TRIED)
                continue
            if is_of_attempt:
                later.add(entry.place)
        if step is None:  # a try of a step leaves what is outlived by the attempt as it is
            self._outlived = len(self._entries)
            self._again.clear()

    def _enter(self, event: StoredEvent, key: str, kind: str, meta: Mapping[str, Json]) -> None:
        self.has_news = False
        entry = Entry(
            key,
            kind,
            event.event_id,
            _integer(meta.get("epoch")),
            function=_text(meta.get("function")),
            args=_text(meta.get("args", meta.get("spawned"))),
            place=_text(meta.get("place")) or "",
            kin=tuple((_text(meta.get("kin")) or "").split()),
            within=_keys(meta.get("within")),
            nth=_integer(meta.get("nth_ask")) or None,
        )
        for index, was in enumerate(self._entries) if key in self.tried else ():
            if (was.key, was.kind) == (key, TRIED):
                self._entries[index] = replace(entry, event_id=was.event_id)
                self._again.add(key)
                break
        else:
            self._entries.append(entry)
        self.tried.discard(key)


def _origins(kind: str | None, payload: object, meta: Mapping[str, Json]) -> list[int]:
    """The context that the events so far were of, in a fork or in one from another database.

    Of a fork the RESUMED after its copied events says it, of an imported one its first event.
    """
    origin = as_object(payload).get("forked_from") if kind == "RESUMED" else None
    origin = meta.get("imported_from") if kind == "INITIAL" else origin
    context_id = as_object(origin).get("context_id")
    return [context_id] if type(context_id) is int else []


def _above(place: str) -> list[str]:
    """A place and those that it branched off from: "1.2:3" has "1.2:3", "1.2:", "1.2", "1", ""."""
    ends = [end for mark in re.finditer("[.:]", place) for end in mark.span()]
    return ["", *(place[:end] for end in ends), place]


def _keys(value: object) -> tuple[str, ...]:
    found = value if is_list(value) else [value]
    return tuple(key for key in found if isinstance(key, str))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _delay(payload: object) -> float | None:
    delay = as_object(payload).get("delay")
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        return None
    return float(delay) if 0 <= delay <= LONGEST_DELAY else None


def _integer(value: object) -> int:
    return value if type(value) is int else 0


def _spawned_ids(payload: object) -> list[int] | None:
    """The contexts that a SPAWNED names; None when it is not one that a run wrote.

    A part of them or none in their place would leave out subtasks without a word.
    """
    if not is_object(payload):
        return None
    found = payload.get("context_ids")
    if not is_list(found):
        return None
    return [i for i in found if type(i) is int] if all(type(i) is int for i in found) else None
