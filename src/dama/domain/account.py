"""Accounts: what a context did up to one of its events, to be held beside another one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dama.domain.event import ABSENT, StoredEvent, kind_of
from dama.domain.exact import canonical
from dama.domain.lifecycle import STATUS_OF, Status, step_key
from dama.shapes import as_object, is_list

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = 64 * 1024  # bytes of JSON; of what is larger only a digest is compared
ENDS = {"FINAL", "ERROR", "CANCELLED"}


@dataclass
class Account:
    """What a context did.

    Attributes:
        task: The full name of its task.
        status: After the last of its events.
        params: What it was started with.
        steps: What each step that is done returned, by its key.
        functions: What did it: `module:qualname`, by key.
        failed: What steps failed with for good, by key.
        subtasks: How many contexts a key started.
        answers: What came from outside, in its order: type and payload.
        result: The payload of the FINAL.
        error: The message of the latest error; None when it continued.
        versions: The versions of dama that executed it.
        attempts: How many runs began.
        seconds: From the event before to the end of each step, by key; `""` for all of it.
    """

    task: str | None = None
    status: str | None = None
    params: Any = None
    steps: dict[str, Any] = field(default_factory=dict[str, Any])
    functions: dict[str, str] = field(default_factory=dict[str, str])
    failed: dict[str, Any] = field(default_factory=dict[str, Any])
    subtasks: dict[str, int] = field(default_factory=dict[str, int])
    answers: list[Any] = field(default_factory=list[Any])
    result: Any = None
    error: str | None = None
    versions: list[str] = field(default_factory=list[str])
    attempts: int = 0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    _first: datetime | None = None
    _before: datetime | None = None

    def take(self, events: Iterable[StoredEvent]) -> None:
        """Take in further events, in their order."""
        for event in events:
            self._take(event)
            self._first = self._first or event.created_at
            self._before = event.created_at
            self.seconds[""] = (event.created_at - self._first).total_seconds()

    def document(self) -> dict[str, Any]:
        """All but the times, as JSON: what of two accounts is compared."""
        return {
            "task": self.task,
            "status": self.status,
            "params": self.params,
            "steps": self.steps,
            "functions": self.functions,
            "failed": self.failed,
            "subtasks": self.subtasks,
            "answers": self.answers,
            "result": self.result,
            "error": self.error,
            "versions": self.versions,
            "attempts": self.attempts,
        }

    def _take(self, event: StoredEvent) -> None:
        kind = kind_of(event.type)
        meta = as_object(event.meta)
        self.status = str(STATUS_OF.get(kind or "", Status.OPEN))
        if found := step_key(event.type):
            self._take_step(event, *found)
        elif kind == "INITIAL":
            self.task = event.type.rpartition(":")[0] or None
            self.params = _value(event)
        elif kind == "STARTED":
            self._begin(meta.get("version"))
        elif kind in ENDS:
            self._end(event, kind)
        elif kind == "RESUMED":
            self.error = None
        elif kind is None and "epoch" not in meta:
            self.answers.append({"type": event.type, "payload": _value(event)})

    def _begin(self, version: object) -> None:
        self.attempts += 1
        self.error = None
        if isinstance(version, str) and version not in self.versions:
            self.versions.append(version)

    def _end(self, event: StoredEvent, kind: str) -> None:
        if kind == "FINAL":
            self.result = _value(event)
        else:
            self.error = str(as_object(event.payload).get("message"))

    def _take_step(self, event: StoredEvent, key: str, suffix: str) -> None:
        if self._before is not None and suffix in {"DONE", "FAILED"}:
            self.seconds[key] = (event.created_at - self._before).total_seconds()
        match suffix:
            case "DONE":
                self.steps[key] = _value(event)
                self.failed.pop(key, None)
                if isinstance(function := as_object(event.meta).get("function"), str):
                    self.functions[key] = function
            case "FAILED":
                self.failed[key] = as_object(event.payload).get("message")
            case "SPAWNED":
                ids = as_object(event.payload).get("context_ids")
                self.subtasks[key] = self.subtasks.get(key, 0) + (len(ids) if is_list(ids) else 0)
            case _:
                pass


def _value(event: StoredEvent) -> Any:
    """The payload, or what tells a large one from others."""
    if event.payload is ABSENT:
        return None
    text = canonical(event.payload)
    if len(text) <= LARGEST:
        return event.payload
    return {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
