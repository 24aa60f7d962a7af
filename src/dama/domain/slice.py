"""Slices: state as a fold of events (a Redux Toolkit slice, in typed Python).

A slice is an initial state, reducers and selectors. Reducers are pure: they take a state and an
event and return the next state, and never change what they were given. A slice folds the events of
one context; `combine` joins slices over one stream, `each` keeps one state for each context of a
tree. Snapshots are caches, keyed by the slice's version: raise it when the reducers change.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar, cast, final, get_type_hints, overload

import msgspec

from dama.domain.errors import InvalidSliceError, UnknownSliceError
from dama.domain.event import ABSENT, Event, StoredEvent

S = TypeVar("S")
P = TypeVar("P")
V = TypeVar("V")

Reducer = Callable[[S, Event], S]

_SLICES: dict[str, Slice[Any]] = {}


def slices() -> Mapping[str, Slice[Any]]:
    """All slices that were defined in this process, by name."""
    return _SLICES


def find_slice(name: str) -> Slice[Any]:
    """Give a slice by its name.

    Raises:
        UnknownSliceError: There is none; those that there are are named.
    """
    try:
        return _SLICES[name]
    except KeyError:
        raise UnknownSliceError(
            f"There is no slice {name!r}, only {', '.join(sorted(_SLICES))}.",
            "A slice is known when the module that defines it is named in dama.toml.",
        ) from None


@final
class EventCreator(Generic[P]):
    """Makes events of one type: call it with the payload.

    Attributes:
        type: The type of its events, as it is stored.
    """

    def __init__(self, type_: str, payload_type: Any) -> None:  # noqa: ANN401 - any annotation
        self.type = type_
        self._payload_type = payload_type
        self._prepare: Callable[..., P] | None = None

    def __call__(self, payload: P | Any = ABSENT, **prepared: Any) -> Event:  # noqa: ANN401 - what prepare takes
        """Make an event; what `prepare` was given is passed on to it."""
        if self._prepare is not None:
            arguments = () if payload is ABSENT else (payload,)
            payload = self._prepare(*arguments, **prepared)
        return Event(self.type, ABSENT if payload is ABSENT else msgspec.to_builtins(payload))

    def prepare(self, function: Callable[..., P]) -> Callable[..., P]:
        """Let a function make the payload: the only place for a clock, a uuid or I/O."""
        self._prepare = function
        return function

    def match(self, event: Event) -> bool:
        """Whether an event is one of its own."""
        return event.type == self.type

    def payload_of(self, event: Event) -> P:
        """The payload of one of its events, in its type."""
        if self._payload_type is Any:
            return event.payload
        return msgspec.convert(event.payload, self._payload_type)


@final
class Slice(Generic[S]):
    """An initial state and the reducers that change it.

    Args:
        name: Prefix of the types of its own events; how the command line finds it.
        initial: The state before the first event: a value that is never changed in place.
        version: Raise it when the reducers change; older snapshots are then ignored.

    Raises:
        InvalidSliceError: Another slice has the name.
    """

    def __init__(self, name: str, *, initial: S, version: int = 1) -> None:
        if name in _SLICES and _defined_elsewhere(_SLICES[name]):
            raise InvalidSliceError(f"There are two slices named {name!r}. Rename one of them.")
        self.name = name
        self.initial = initial
        self.version = version
        self.selectors: dict[str, Callable[[S], Any]] = {}
        self._cases: dict[str, Reducer[S]] = {}
        self._matchers: list[tuple[Callable[[Event], bool], Reducer[S]]] = []
        self.module = _caller_module()
        _SLICES[name] = self

    @overload
    def reducer(self, function: Callable[[S, P], S], /) -> EventCreator[P]: ...

    @overload
    def reducer(
        self, /, *, type: str | None = None
    ) -> Callable[[Callable[[S, P], S]], EventCreator[P]]: ...

    def reducer(
        self,
        function: Callable[[S, Any], S] | None = None,
        /,
        *,
        type: str | None = None,  # noqa: A002 - the word of the wire
    ) -> EventCreator[Any] | Callable[[Callable[[S, Any], S]], EventCreator[Any]]:
        """Reduce events of an own type, `<slice>/<function>`; gives their creator.

        The reducer gets the payload, in the type of its annotation. Stored types are contracts:
        give `type` when the function is renamed.
        """

        def define(function: Callable[[S, Any], S]) -> EventCreator[Any]:
            name: str = getattr(function, "__name__", "reducer")
            creator = EventCreator[Any](type or f"{self.name}/{name}", _payload_type(function))
            self._add(creator.type, _with_payload(function, creator))
            return creator

        return define if function is None else define(function)

    def on(self, *types: str) -> Callable[[Reducer[S]], Reducer[S]]:
        """Reduce events of foreign types; the reducer gets the whole event."""

        def define(function: Reducer[S]) -> Reducer[S]:
            for type_ in types:
                self._add(type_, function)
            return function

        return define

    def on_match(self, predicate: Callable[[Event], bool]) -> Callable[[Reducer[S]], Reducer[S]]:
        """Reduce every event for which a predicate holds, after the case of its type."""

        def define(function: Reducer[S]) -> Reducer[S]:
            self._matchers.append((predicate, function))
            return function

        return define

    def selector(self, function: Callable[[S], V]) -> Callable[[S], V]:
        """Name a function of the state, so that readers find it."""
        self.selectors[getattr(function, "__name__", "selector")] = function
        return function

    def reduce(self, state: S, event: Event) -> S:
        """The state after one more event; the same state when the event is none of its own."""
        case = self._cases.get(event.type)
        if case is not None:
            state = case(state, event)
        for holds, function in self._matchers:
            if holds(event):
                state = function(state, event)
        return state

    def fold(self, events: Iterable[Event], state: S | None = None) -> S:
        """The state after events, from the initial state or from an earlier one."""
        current = self.initial if state is None else state
        reduce = self.reduce
        for event in events:
            current = reduce(current, event)
        return current

    def encode_state(self, state: S) -> object:
        """The state as JSON builtins, for a snapshot or a reader."""
        return msgspec.to_builtins(state, str_keys=True)

    def decode_state(self, value: object) -> S:
        """A state out of the JSON builtins of a snapshot."""
        return msgspec.convert(value, type(self.initial))

    def _add(self, type_: str, function: Reducer[S]) -> None:
        if type_ in self._cases:
            raise InvalidSliceError(
                f"The slice {self.name} has two reducers of {type_!r}. "
                "Join them, or give one another type."
            )
        self._cases[type_] = function


def combine(name: str, **parts: Slice[Any]) -> Slice[dict[str, Any]]:
    """Join slices over one stream: each part folds all the events; the state has a key a part."""
    joined = Slice(name, initial={key: part.initial for key, part in parts.items()})

    @joined.on_match(_always)
    def every_part(state: dict[str, Any], event: Event) -> dict[str, Any]:
        changed = {key: part.reduce(state[key], event) for key, part in parts.items()}
        return state if all(changed[key] is state[key] for key in parts) else changed

    _ = every_part
    return joined


def each(part: Slice[S], *, name: str | None = None) -> Slice[dict[int, S]]:
    """Fold each context of a tree by itself: the state has a key a context, its id."""
    initial: dict[int, S] = {}
    joined = Slice(name or f"each({part.name})", initial=initial)

    @joined.on_match(_always)
    def own_context(state: dict[int, S], event: Event) -> dict[int, S]:
        if not isinstance(event, StoredEvent):
            return state
        before = state.get(event.context_id, part.initial)
        after = part.reduce(before, event)
        return state if after is before else {**state, event.context_id: after}

    _ = own_context
    return joined


def _always(_: Event) -> bool:
    return True


def _with_payload(function: Callable[[S, Any], S], creator: EventCreator[Any]) -> Reducer[S]:
    payload_of = creator.payload_of

    def reduce(state: S, event: Event) -> S:
        return function(state, payload_of(event))

    return reduce


def _payload_type(function: Callable[..., object]) -> Any:  # noqa: ANN401 - any annotation
    names = list(inspect.signature(function).parameters)
    if len(names) != 2:  # noqa: PLR2004 - state and payload
        raise InvalidSliceError(
            f"The reducer {getattr(function, '__name__', function)} must take a state, a payload."
        )
    try:
        return get_type_hints(function).get(names[1], Any)
    except NameError as error:
        raise InvalidSliceError(
            f"The payload's annotation of {getattr(function, '__name__', function)} can not be "
            f"evaluated: {error}. Import its type outside of TYPE_CHECKING."
        ) from error


def _caller_module() -> str:
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return "" if frame is None else cast("str", frame.f_globals.get("__name__", ""))


def _defined_elsewhere(known: Slice[Any]) -> bool:
    """A module that is imported again defines its slices again: that is no clash."""
    return known.module != _caller_module()
