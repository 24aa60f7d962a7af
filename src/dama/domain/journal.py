"""The journal: what a run must know of the runs before it, so that nothing is done twice.

Folded from the context's events when a run starts. A step whose key is here is not run again, a
subtask whose key is here is not started again, an event whose key is here is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from dama.domain.event import ABSENT, StoredEvent, kind_of
from dama.domain.lifecycle import step_key

if TYPE_CHECKING:
    from datetime import datetime


class Journal:
    """What earlier runs of a context did.

    Attributes:
        results: The results of the steps, by key; None for a step without one.
        functions: Of the steps, by key: `module:qualname`; journals of older versions have none.
        subtasks: The context ids that a key started.
        spawned: What they were started with, by key: a digest; older journals have none.
        sent: The idempotency keys of the events that were dispatched.
        waits: When the waits began, by key.
        signals: The payloads of the events from outside the run, by type, in their order.
        version: Of the latest event that was read.
    """

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.functions: dict[str, str] = {}
        self.subtasks: dict[str, list[int]] = {}
        self.spawned: dict[str, str] = {}
        self.sent: set[str] = set()
        self.waits: dict[str, datetime] = {}
        self.signals: dict[str, list[Any]] = {}
        self.version = 0

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
        meta: Mapping[str, object] = event.meta if isinstance(event.meta, Mapping) else {}
        if "idempotency_key" in meta:
            self.sent.add(str(meta["idempotency_key"]))
        if "epoch" not in meta and kind_of(event.type) is None:
            self.signals.setdefault(event.type, []).append(event.payload)
        found = step_key(event.type)
        if found is None:
            return
        self._take_step(event, *found, meta)

    def _take_step(
        self, event: StoredEvent, key: str, suffix: str, meta: Mapping[str, object]
    ) -> None:
        if suffix == "DONE":
            self.results[key] = None if event.payload is ABSENT else event.payload
            if "function" in meta:
                self.functions[key] = str(meta["function"])
        elif suffix == "WAITING":
            self.waits[key] = event.created_at
        elif suffix == "SPAWNED":
            ids = _spawned_ids(event.payload)
            if ids is not None:
                self.subtasks.setdefault(key, []).extend(ids)
                if "spawned" in meta:
                    self.spawned[key] = str(meta["spawned"])


def _spawned_ids(payload: object) -> list[int] | None:
    """The contexts that a SPAWNED names; None when it is not one that a run wrote.

    A part of them or none in their place would leave out subtasks without a word.
    """
    if not isinstance(payload, Mapping):
        return None
    found = cast("Mapping[str, object]", payload).get("context_ids")
    if not isinstance(found, list):
        return None
    ids = cast("list[object]", found)
    return [i for i in ids if type(i) is int] if all(type(i) is int for i in ids) else None
