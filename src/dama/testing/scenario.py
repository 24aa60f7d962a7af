"""Testing: what people who write slices and tasks need in their tests.

`given(slice, *events).when(*events).then(state)` tells what a slice makes of events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dama.domain.untouched import copy_of

if TYPE_CHECKING:
    from dama.domain.event import Event
    from dama.domain.slice import Slice

S = TypeVar("S")


class Scenario(Generic[S]):
    """A slice and the events that it has folded so far; see `given`."""

    def __init__(self, slice_: Slice[S], state: S) -> None:
        self._slice = slice_
        self._state = state

    def when(self, *events: Event) -> Scenario[S]:
        """Fold further events.

        Each is folded twice from the same state.

        Raises:
            AssertionError: A reducer returns two different answers, or changes its state.
        """
        state = self._state
        for event in events:
            before = self._slice.encode_state(state)
            after = self._slice.reduce(state, event)
            # Asked first: from a state that was changed the second answer would differ too.
            if self._slice.encode_state(state) != before:
                raise AssertionError(
                    f"{self._slice.name} changes the state that it was given for {event.type}. "
                    "Return a new one, as with dataclasses.replace or {**state, key: value}."
                )
            if after != self._slice.reduce(state, event):
                raise AssertionError(
                    f"{self._slice.name} gives two answers to {event.type}. A clock, a random "
                    "number or I/O belongs in the payload: see EventCreator.prepare."
                )
            state = after
        return Scenario(self._slice, state)

    def then(self, expected: S) -> None:
        """Hold the state against what it should be.

        Raises:
            AssertionError: They differ; both are in the message.
        """
        if self._state != expected:
            raise AssertionError(f"expected {expected!r}\n     got {self._state!r}")

    def then_select(self, name: str, expected: Any) -> None:
        """Hold what a selector of the slice returns against what it should be.

        Raises:
            AssertionError: They differ; both are in the message.
        """
        found = self._slice.selectors[name](self._state)
        if found != expected:
            raise AssertionError(f"{name}: expected {expected!r}, got {found!r}")


def given(slice_: Slice[S], *events: Event) -> Scenario[S]:
    """Begin with the state after some events; none for the initial state."""
    # Of a copy, so that a reducer that changes it in place is told with its event.
    initial = copy_of(slice_.initial)
    return Scenario(slice_, slice_.initial if initial is None else initial).when(*events)
