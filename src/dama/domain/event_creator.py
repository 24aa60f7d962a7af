"""Creators of events: typed payloads on their way into events and out of them."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final, get_type_hints

import msgspec

from dama.domain.errors import InvalidEventError, InvalidSliceError, UnreadableEventError
from dama.domain.event import ABSENT, Event, StoredEvent
from dama.domain.exact import to_builtins

if TYPE_CHECKING:
    from collections.abc import Callable

P = TypeVar("P")
S = TypeVar("S")


@final
class EventCreator(Generic[P]):
    """Makes events of one type: call it with the payload.

    Attributes:
        type: The type of its events, as it is stored.
    """

    def __init__(self, type_: str, payload_type: Any) -> None:
        self.type = type_
        self._payload_type = payload_type
        self._prepare: Callable[..., P] | None = None

    def __call__(self, payload: P = ABSENT, **prepared: Any) -> Event:
        """Make an event; what `prepare` was given is passed on to it.

        Raises:
            InvalidEventError: The reducer could not read the payload.
        """
        if self._prepare is not None:
            arguments = () if payload is ABSENT else (payload,)
            payload = self._prepare(*arguments, **prepared)
        return Event(self.type, self._readable(ABSENT if payload is ABSENT else plain(payload)))

    def _readable(self, payload: object) -> object:
        """The payload as the reducer will read it from the store; without one it may be null."""
        if self._payload_type in {Any, object}:
            return payload
        given = None if payload is ABSENT else payload
        try:
            typed(given, self._payload_type)
        except msgspec.ValidationError as error:
            found = "without a payload" if payload is ABSENT else f"with {payload!r:.100}"
            raise InvalidEventError(
                f"An event {self.type} was made {found}, which its reducer does not take: {error}."
            ) from error
        return given

    def prepare(self, function: Callable[..., P]) -> Callable[..., P]:
        """Let a function make the payload: the only place for a clock, a uuid or I/O."""
        self._prepare = function
        return function

    def match(self, event: Event) -> bool:
        """Whether an event is one of its own."""
        return event.type == self.type

    def payload_of(self, event: Event) -> P:
        """The payload of one of its events, in its type.

        Raises:
            UnreadableEventError: The payload does not have that type.
        """
        if self._payload_type is Any:
            return event.payload
        try:
            if self._holder is None:
                return msgspec.convert(event.payload, self._payload_type)
            return msgspec.convert({"payload": event.payload}, self._holder).payload
        except msgspec.ValidationError:
            return self._rarer_payload_of(event)

    def reads_for(self, function: Callable[[S, P], S]) -> Callable[[S, Event], S]:
        """A reducer of its events out of one of their payloads."""
        payload_of = self.payload_of

        def reduce(state: S, event: Event) -> S:
            return function(state, payload_of(event))

        return reduce

    @cached_property
    def _holder(self) -> Any:
        """A struct with the payload: msgspec learns a struct once, and all else at each call."""
        if isinstance(self._payload_type, type(msgspec.Struct)):
            return None
        return msgspec.defstruct("Holder", [("payload", self._payload_type)])

    def _rarer_payload_of(self, event: Event) -> P:
        """As `payload_of`, with models and keys that are no text: asking for them slows a fold."""
        try:
            return typed(event.payload, self._payload_type)
        except msgspec.ValidationError as error:
            place = f" {event.event_id}" if isinstance(event, StoredEvent) else ""
            raise UnreadableEventError(
                f"The payload of event{place} ({event.type}) does not fit its reducer: {error}.",
                "Let the payload's type take old events too, with defaults for what they lack.",
            ) from error


def plain(value: object) -> object:
    """A value as JSON builtins."""
    return to_builtins(value, _plain_model)


def typed(value: object, wanted: Any) -> Any:
    """JSON builtins as what an annotation says.

    Raises:
        msgspec.ValidationError: They do not fit it.
    """
    return msgspec.convert(value, wanted, str_keys=True, dec_hook=_typed_model)


# Models are known by what they can do: importing pydantic would cost every start 90 ms.


def _plain_model(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise NotImplementedError(f"A {type(value).__name__} cannot become JSON.")
    return dump(mode="json")


def _typed_model(wanted: type[Any], value: object) -> object:
    validate = getattr(wanted, "model_validate", None)
    if validate is None:
        raise NotImplementedError(f"A {wanted.__name__} cannot be made of JSON.")
    return validate(value)


def payload_type(function: Callable[..., object]) -> Any:
    """The annotation of a reducer's payload.

    Raises:
        InvalidSliceError: The function does not take a state and a payload, or the annotation
            cannot be evaluated.
    """
    try:
        _state, payload = inspect.signature(function).parameters
    except ValueError:
        raise InvalidSliceError(
            f"The reducer {getattr(function, '__name__', function)} must take a state, a payload."
        ) from None
    try:
        return get_type_hints(function).get(payload, Any)
    except NameError as error:
        raise InvalidSliceError(
            f"The payload's annotation of {getattr(function, '__name__', function)} cannot be "
            f"evaluated: {error}. Import its type outside of TYPE_CHECKING."
        ) from error
