"""The journal: what a run must know of the runs before it, so that nothing is done twice.

Folded from the context's events when a run starts. A step whose key is here is not run again, a
subtask whose key is here is not started again, an event whose key is here is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from dama.domain.event import ABSENT, StoredEvent
from dama.domain.lifecycle import step_key


class Journal:
    """What earlier runs of a context did.

    Attributes:
        results: The results of the steps, by key; None for a step without one.
        subtasks: The context ids that a key started.
        sent: The idempotency keys of the events that were dispatched.
    """

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.subtasks: dict[str, list[int]] = {}
        self.sent: set[str] = set()

    @classmethod
    def read(cls, events: Iterable[StoredEvent]) -> Journal:
        """Fold the events of a context, from its first."""
        journal = cls()
        for event in events:
            journal.take(event)
        return journal

    def take(self, event: StoredEvent) -> None:
        """Take in one more event."""
        if isinstance(event.meta, Mapping) and "idempotency_key" in event.meta:
            self.sent.add(str(event.meta["idempotency_key"]))
        found = step_key(event.type)
        if found is None:
            return
        key, suffix = found
        if suffix == "DONE":
            self.results[key] = None if event.payload is ABSENT else event.payload
        elif suffix == "SPAWNED":
            payload = cast("Mapping[str, list[int]]", event.payload)
            self.subtasks.setdefault(key, []).extend(payload["context_ids"])
