"""Events: Flux Standard Actions, as this store has them.

An event is a type, a payload, an error flag and meta, and nothing else. What is absent stays
absent: a payload of None is JSON null, `ABSENT` is no payload at all. What passes `check_event`
survives a round trip through JSON and PostgreSQL unchanged.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec

from dama.domain.errors import InvalidEventError
from dama.domain.profile import (
    DEEPEST,
    LARGEST_EPOCH,
    LARGEST_META,
    LARGEST_PAYLOAD,
    LONGEST_KEY,
    LONGEST_TYPE,
    TooDeepError,
    flaw_of,
    is_too_large,
    legal_text,
)
from dama.shapes import Json, is_array, is_object

AbsentType = msgspec.UnsetType
ABSENT = msgspec.UNSET

MOST_FRAMES = 200  # the last ones of a stack: formatting millions of them takes minutes

KEYS = ("type", "payload", "error", "meta")
KINDS = (
    "INITIAL",
    "PLACED",
    "UNPLACED",
    "STARTED",
    "ADOPTED",
    "LOST",
    "PROGRESS",
    "RETRYING",
    "RESUMED",
    "ERROR",
    "CANCELLED",
    "FINAL",
    "LOG",
)
EXACT_INTEGERS = 2**53
LONGEST_MESSAGE = 64 * 1024  # characters of an error; the middle of a longer one is left out
LONGEST_STACK = 128 * 1024
LARGEST_DATA = 256 * 1024  # bytes of JSON of what an error carries

if TYPE_CHECKING:
    Meta = Mapping[str, Any] | AbsentType
else:
    # Old rows hold any JSON as meta: they are read as they are, and refused only when written.
    Meta = Any

# What a person calls a value, the first that fits: a boolean is an int to Python.
_WORDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a string"),
    ((list, tuple), "an array"),
    (Mapping, "an object"),
)


class Event(msgspec.Struct, frozen=True):
    """A Flux Standard Action.

    Attributes:
        type: What happened, such as `rows/month_loaded`; not empty.
        payload: Json JSON; `ABSENT` when there is none.
        error: True when the event is an error; its payload is then an object with a message.
        meta: Who and why: epoch, idempotency_key, worker, user.
    """

    type: str
    payload: Json = ABSENT
    error: bool | AbsentType = ABSENT
    meta: Meta = ABSENT


class StoredEvent(Event, frozen=True, kw_only=True):
    """An event as the store returns it.

    Attributes:
        event_id: Rises within a context; unique in the database.
        context_id: The context whose event it is.
        version: Its place in the context, from 1.
        created_at: When it was appended, by the clock of the database.
    """

    event_id: int
    context_id: int
    version: int
    created_at: datetime


class LoggedEvent(StoredEvent, frozen=True, kw_only=True):
    """An event as the log gives it.

    Attributes:
        position: Its place among all events, from 1, without gaps.
        root_context_id: The topmost ancestor of its context.
    """

    position: int
    root_context_id: int


def parse_event(value: object) -> Event:
    """Take a plain value, such as decoded JSON, as an event.

    Raises:
        InvalidEventError: It is none; the key and the rule are named.
    """
    if not is_object(value):
        raise InvalidEventError(
            f'An event must be an object, got {_kind_of_json(value)}. Write {{"type": ...}}.'
        )
    for key in value:
        if key not in KEYS:
            raise InvalidEventError(
                f"An event has no key {key!r}, only {', '.join(KEYS)}. "
                "Move it into payload or meta."
            )
    if "type" not in value:
        raise InvalidEventError("type is missing. An event has a type, a string that is not empty.")
    error: Any = value.get("error")  # held against its type below, as meta is
    meta: Json = value.get("meta")
    event = Event(
        type=value["type"],
        payload=value.get("payload", ABSENT),
        error=ABSENT if error is None else error,
        meta=ABSENT if meta is None else meta,
    )
    check_event(event)
    return event


def check_event(event: Event) -> None:
    """Hold an event against the profile of this store.

    Raises:
        InvalidEventError: It breaks a rule; the key, the path and the rule are named.
    """
    if not isinstance(cast("object", event.type), str):
        raise InvalidEventError(f"type must be a string, got {_kind_of_json(event.type)}.")
    if not event.type:
        raise InvalidEventError("type must not be empty. Say what happened, such as rows/loaded.")
    check_json(event.type, "type")
    check_length(event.type, "type", LONGEST_TYPE)
    if not isinstance(cast("object", event.error), bool | AbsentType):
        raise InvalidEventError(f"error must be true, false or absent, got {_shown(event.error)}.")
    if event.meta is not ABSENT:
        if not isinstance(cast("object", event.meta), Mapping):
            raise InvalidEventError(f"meta must be an object, got {_kind_of_json(event.meta)}.")
        check_json(event.meta, "meta")
        _check_meta(event.meta)
    if event.payload is not ABSENT:
        check_json(event.payload, "payload")
    _check_error(event)


def _check_meta(meta: Mapping[str, object]) -> None:
    """What the store itself reads must be of its kind."""
    epoch = meta.get("epoch", 0)
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch <= LARGEST_EPOCH:
        raise InvalidEventError(f"meta.epoch must be the number of a run, got {_shown(epoch)}.")
    key = meta.get("idempotency_key", "-")
    if not isinstance(key, str) or not key:
        raise InvalidEventError(
            f"meta.idempotency_key must be a string that is not empty, got {_shown(key)}."
        )
    check_length(key, "meta.idempotency_key", LONGEST_KEY)
    start_key = meta.get("start_key")
    if isinstance(start_key, str):
        check_length(start_key, "meta.start_key", LONGEST_KEY)


def check_length(text: str, name: str, limit: int) -> None:
    """Refuse a text that an index has no room for.

    Raises:
        InvalidEventError: It is longer than the limit, in bytes.
    """
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise InvalidEventError(
            f"{name} has {len(text.encode()):,} bytes; {limit:,} are the most: {text[:40]!r}..."
        )


def _check_error(event: Event) -> None:
    if event.error is True and not isinstance(event.payload, Mapping):
        found = "no payload" if event.payload is ABSENT else _kind_of_json(event.payload)
        raise InvalidEventError(
            "error is true, so payload must be an object such as "
            f'{{"name": ..., "message": ...}}, got {found}.'
        )
    if event.error is not True and kind_of(event.type) == "ERROR":
        raise InvalidEventError(
            f"An event of type {event.type} must have error: true, and say in payload what failed."
        )


def check_json(value: object, name: str) -> None:
    """Refuse what JSON or jsonb cannot hold, with the path to it.

    Raises:
        InvalidEventError: There is something of the kind.
    """
    try:
        flaw = flaw_of(value)
    except TooDeepError:
        raise InvalidEventError(
            f"{name} is nested too deeply: more than {DEEPEST} arrays and objects within each "
            "other. Flatten it."
        ) from None
    if flaw:
        raise InvalidEventError(f"{name}{flaw[0]} {flaw[1]}")


def check_sizes(event: Event) -> None:
    """Hold the payload and the meta of an event against the sizes of the profile.

    Apart from `check_event`, since it encodes them: what is small as a whole needs no look.

    Raises:
        InvalidEventError: One is larger.
    """
    for name, value, limit in (
        ("payload", event.payload, LARGEST_PAYLOAD),
        ("meta", event.meta, LARGEST_META),
    ):
        size = None if value is ABSENT else is_too_large(value, limit)
        if size is not None:
            raise InvalidEventError(
                f"{name} has {size:,} bytes of JSON; {limit:,} are the most. "
                "Keep it in a table or a file, and its name in the event."
            )


def warnings_of(event: Event) -> list[str]:
    """What is legal but will hurt a reader: integers that JavaScript rounds."""
    found: list[str] = []

    def look(value: object, path: str) -> None:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT_INTEGERS:
            found.append(f"{path} is {value}: beyond 2^53, readers in JavaScript round it.")
        elif is_object(value):
            for key, item in value.items():
                look(item, f"{path}.{key}")
        elif is_array(value):
            for place, item in enumerate(value):
                look(item, f"{path}[{place}]")

    look(event.payload, "payload")
    look(event.meta, "meta")
    return found


def event_dict(event: Event) -> dict[str, Any]:
    """The event as a plain object; what is absent is left out."""
    fields = {key: getattr(event, key) for key in KEYS}
    return {key: value for key, value in fields.items() if value is not ABSENT}


def kind_of(type_: str) -> str | None:
    """The life-cycle meaning of a type: its last suffix when it is one of `KINDS`.

    A bare `:FINAL` and a prefixed `flights.load:FINAL` mean the same.
    """
    _, colon, suffix = type_.rpartition(":")
    return suffix if colon and suffix in KINDS else None


def error_payload(error: BaseException) -> dict[str, Any]:
    """An exception as the payload of an error event: name, message, stack, code, data.

    An exception may say itself what some of these are, and more, in a mapping `event_fields`.
    """
    payload: dict[str, Json] = {
        "name": type(error).__name__,
        "message": _shortened(legal_text(_text_of(error)), LONGEST_MESSAGE),
        "stack": _shortened(legal_text(_stack_of(error)), LONGEST_STACK),
    }
    left_out: dict[str, str] = {}
    for name in ("code", "data"):
        value = _attribute_of(error, name)
        flaw = "" if value is None else _flaw_within(value, name)
        if flaw:
            left_out[name] = flaw
        elif value is not None:
            payload[name] = value
    told = _attribute_of(error, "event_fields")
    if is_object(told):
        flaw = _flaw_within(dict(told), "event_fields")
        left_out |= {"event_fields": flaw} if flaw else {}
        payload |= {} if flaw else told
    return payload | ({"left_out": left_out} if left_out else {})


def _shortened(text: str, limit: int) -> str:
    """A text with its middle left out, and said so, when it is longer than that."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"


def _stack_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error, limit=-MOST_FRAMES))
    except Exception:  # noqa: BLE001 - it asks the error for its text, which may raise anything
        return "(its stack cannot be made)"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error that cannot say itself must not hide itself
        return "(its text cannot be made)"


def _attribute_of(error: BaseException, name: str) -> object:
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - as above: a property may raise anything
        return None


def _flaw_within(value: object, name: str) -> str:
    """Why a part of an error cannot be kept; empty when it can."""
    try:
        check_json(value, name)
    except InvalidEventError as error:
        return str(error)
    size = is_too_large(value, LARGEST_DATA)
    return f"{name} has {size:,} bytes of JSON; {LARGEST_DATA:,} are the most." if size else ""


def _kind_of_json(value: object) -> str:
    for types, words in _WORDS:
        if isinstance(value, types):
            return words
    return f"a {type(value).__name__}"


def _shown(value: object) -> str:
    try:
        return f"{_kind_of_json(value)} ({value!r:.100})"
    except ValueError:  # an integer of thousands of digits
        return _kind_of_json(value)
