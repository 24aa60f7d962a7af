"""What came of a run in a test: its result, its events, and what its code did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from dama.definitions.task import TaskDefinition
from dama.domain.event import ABSENT, StoredEvent
from dama.run.errors import RunError
from dama.run.rehearsal import short_name
from dama.shapes import is_object
from dama.store import ContextRow

if TYPE_CHECKING:
    from types import EllipsisType

    from dama.domain.slice import Slice

R = TypeVar("R")
S = TypeVar("S")


@dataclass(frozen=True)
class Ran(Generic[R]):
    """A run in a test.

    Attributes:
        context_id: Its context.
        task: What was run.
        status: DONE, ERROR or CANCELLED; OPEN while it waits for what the test has not given.
        events: Of its context, in their order.
        tree: The contexts of it and of its subtasks.
        clean_ups: Those that `on_failure` and `on_cancel` started after them, and their subtasks.
        calls: How often the function of each step was called, over all lives of the process.
        deaths: How often the process died.
    """

    context_id: int
    task: TaskDefinition[R]
    status: str
    events: Sequence[StoredEvent] = field(repr=False)
    tree: Sequence[ContextRow] = field(repr=False)
    clean_ups: Sequence[ContextRow] = field(repr=False)
    calls: Counter[str]
    deaths: int

    @property
    def result(self) -> R:
        """What it returned.

        Raises:
            RunError: It failed or was cancelled.
            AssertionError: It has not ended; what it waits for is named.
        """
        if self.status == "OPEN":
            raise AssertionError(
                f"{self.task.name} has not ended: it waits for {', '.join(self.waits) or 'time'}. "
                'Give signals={"TYPE": PAYLOAD}, or advance="1d".'
            )
        payload = self.events[-1].payload
        if self.status != "DONE":
            raise RunError(self.context_id, self.task.name, self.error, self.status)
        return self.task.decode_result(None if payload is ABSENT else payload)

    @property
    def error(self) -> Mapping[str, Any] | None:
        """The payload of what it failed with: name, message, stack; None when it did not."""
        payload = self.events[-1].payload
        is_failure = self.status in {"ERROR", "CANCELLED"} and is_object(payload)
        return payload if is_failure else None

    @property
    def names(self) -> list[str]:
        """Its events without the name of the task: INITIAL, STARTED, fetch:DONE, FINAL."""
        return [short_name(event.type) for event in self.events]

    @property
    def steps(self) -> list[str]:
        """The steps that are done, in their order."""
        return [name.removesuffix(":DONE") for name in self.names if name.endswith(":DONE")]

    @property
    def waits(self) -> list[str]:
        """The waits that have begun and not ended, such as `wait:approval`."""
        begun = [name.removesuffix(":WAITING") for name in self.names if name.endswith(":WAITING")]
        return [name for name in begun if name not in self.steps]

    def payloads(self, name: str) -> list[object]:
        """The payloads of its events with a name: `fetch:DONE`, or a type that it dispatched."""
        return [event.payload for event in self.events if name in {event.type, _name(event)}]

    def state(self, slice_: Slice[S]) -> S:
        """Its state in a slice."""
        return slice_.fold(self.events, slice_.initial)

    def assert_events(self, *names: str | EllipsisType) -> None:
        """Hold its events against these, in their order; `...` is for any number of others.

        Raises:
            AssertionError: They differ; both are in the message.
        """
        if not _matches(self.names, names):
            wanted = ", ".join("..." if name is ... else str(name) for name in names)
            raise AssertionError(f"expected {wanted}\n     got {', '.join(self.names)}")


def _name(event: StoredEvent) -> str:
    return short_name(event.type)


def _matches(found: Sequence[str], wanted: Sequence[str | EllipsisType]) -> bool:
    if not wanted:
        return not found
    first, *rest = wanted
    if first is ...:
        return any(_matches(found[place:], rest) for place in range(len(found) + 1))
    return bool(found) and found[0] == first and _matches(found[1:], rest)
