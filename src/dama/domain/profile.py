"""The profile: what an event may hold, the same at every door of the store.

A value is kept exactly or refused, with the path to it and what to do. functions/event_rules.sql
holds the same rules for those who come by SQL; docs/reference/events.md and values.md say them to
people.
"""

from __future__ import annotations

import math
import re
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dama.domain.exact import Digits, Undecoded, encode_hook
from dama.shapes import is_array, is_dict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LONGEST_TYPE = 1_000  # bytes of UTF-8
LONGEST_KEY = 1_000  # bytes of UTF-8 of meta.idempotency_key and of the key of a start
LARGEST_PAYLOAD = 1024 * 1024  # bytes of its JSON, as jsonb writes it
LARGEST_META = 64 * 1024  # bytes of its JSON
DEEPEST = 100  # arrays and objects within each other, in payload and in meta; [] is one
LARGEST_NUMBER = 1.7976931348623157e308  # what a double holds, so that no reader gets infinity
MOST_DECIMALS = 400  # digits after the point; as many as that are kept exactly
LARGEST_EPOCH = 10**18 - 1

SURE_INTEGERS = 1e16  # JSON writes a larger float without a point, and it would come back an int

Flaw = tuple[str, str]
"""The path to what cannot be kept, and why."""

_OF_BYTES = "Use .decode() for text, base64.b64encode(...).decode() or .hex() for data."
# What to do about a kind that is not JSON, by the names of its classes: the packages they are of
# may not be there.
_ADVICE = {
    "Decimal": "Use str() to keep its digits, or float().",
    "Fraction": "Use str() to keep it, or float().",
    "complex": "Use a list of its two parts.",
    "bytes": _OF_BYTES,
    "bytearray": _OF_BYTES,
    "memoryview": _OF_BYTES,
    "datetime": "Use .isoformat().",
    "date": "Use .isoformat().",
    "time": "Use .isoformat().",
    "Timestamp": "Use .isoformat().",
    "timedelta": "Use .total_seconds().",
    "Timedelta": "Use .total_seconds().",
    "UUID": "Use str().",
    "PurePath": "Use str().",
    "set": "Use sorted() or list().",
    "frozenset": "Use sorted() or list().",
    "ndarray": "Use .tolist().",
    "Series": "Use .tolist() or .to_dict().",
    "Index": "Use .tolist().",
    "DataFrame": 'Use .to_dict("records").',
    "NaTType": "Use None.",
    "NAType": "Use None.",
    "generator": "Use list().",
}
_SURROGATE = re.compile("[\ud800-\udfff]")


class TooDeepError(Exception):
    """A value has more levels than the profile allows."""


def flaw_of(value: object, *, levels: int = DEEPEST) -> Flaw | None:
    """The path to what an event cannot hold, and why; None when it can hold all.

    Paths are made only when there is a flaw.

    Raises:
        TooDeepError: It is nested deeper than that.
    """
    kind = type(value)
    if value is None or kind is bool:
        return None
    if isinstance(value, str):
        return _flaw_of_text(value)
    if isinstance(value, int | float):
        return _flaw_of_number(value)
    if is_dict(value):
        return _flaw_of_object(value, levels - 1)
    if is_array(value):
        return _flaw_of_array(value, levels - 1)
    plain = plain_scalar(value)
    return _not_json(value) if plain is value else flaw_of(plain)


def flaw_of_name(name: str, longest: int = LONGEST_KEY) -> str | None:
    """Why the database cannot keep a name under which something is found; None when it can.

    Args:
        name: Of a queue, a schedule and the like.
        longest: In bytes of UTF-8.
    """
    if flaw := _flaw_of_text(name):
        return flaw[1]
    size = len(name.encode())
    if 1 <= size <= longest:
        return None
    return f"must have 1 to {longest:,} bytes, got {size:,}."


def plain_scalar(value: object) -> object:
    """A scalar of numpy, or of what is like it, as the same value of Python; others as they are."""
    item = getattr(value, "item", None)
    if item is None or not hasattr(value, "dtype") or getattr(value, "ndim", None) != 0:
        return value
    plain = item()
    return plain if type(plain) in (bool, int, float, str) else value


def fields_of(value: object) -> dict[str, object] | None:
    """The fields of a dataclass, a pydantic model or a struct; None for other things."""
    if isinstance(value, type):
        return None
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
    else:
        kind = type(value)
        names = list(getattr(kind, "model_fields", None) or getattr(kind, "__struct_fields__", ()))
    return {name: getattr(value, name, None) for name in names} if names else None


def is_too_large(value: object, limit: int) -> int | None:
    """How many bytes of JSON a value has, when they are more than the limit."""
    size = len(to_json(value))
    return size if size > limit else None


def to_json(value: object) -> bytes:
    """JSON of what the profile lets pass, with structs around it.

    Raises:
        NotImplementedError: Another value is among it.
    """
    return _encode(value)


def _hook(value: object) -> object:
    """What the encoder does not know by itself and the profile lets pass."""
    if isinstance(value, Digits | Undecoded):
        return encode_hook(value)
    for type_ in (str, int, float):
        if isinstance(value, type_):
            return type_(value)
    plain = plain_scalar(value)
    if plain is value:
        raise NotImplementedError(f"A {type(value).__name__} is not JSON.")
    return plain


def legal_text(text: str) -> str:
    """A text with replacement characters for what an event cannot hold."""
    return _SURROGATE.sub("\ufffd", text.replace("\0", "\ufffd"))


def exactly(value: Any, path: str, notes: list[str]) -> Any:
    """A value in the form in which jsonb gives it back equal; the notes get what is not kept.

    A large float is written with its point: without it, it would come back as an integer that is
    not equal to it. jsonb has no negative zero.
    """
    if is_dict(value):
        return {key: exactly(item, f"{path}.{key}", notes) for key, item in value.items()}
    if is_array(value):
        return [exactly(item, f"{path}[{place}]", notes) for place, item in enumerate(value)]
    if not isinstance(value, float) or isinstance(value, Digits):
        return value
    if not value and math.copysign(1, value) < 0:
        notes.append(f"{path}: -0.0 is kept as 0.0; numbers of PostgreSQL have no negative zero.")
        return 0.0
    if abs(value) >= SURE_INTEGERS:
        return Digits(f"{Decimal(repr(float(value))):f}.0")
    return value


def _flaw_of_number(value: float) -> Flaw | None:
    if isinstance(value, int):
        if abs(value) > LARGEST_NUMBER:
            return "", f"has too many digits for JSON: more than {LARGEST_NUMBER}. Send it as text."
        return None
    if isinstance(value, Digits):
        return _flaw_of_digits(value.decimal)
    if math.isfinite(value):
        return None
    name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return "", f"is {value}: {name} is not JSON. Use None (null) or a string."


def _flaw_of_digits(number: Decimal) -> Flaw | None:
    if abs(number) > Decimal(LARGEST_NUMBER):
        return "", f"is more than {LARGEST_NUMBER}, the largest number. Send it as text."
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > MOST_DECIMALS:
        return "", f"has more than {MOST_DECIMALS} digits after the point. Round it, or send text."
    return None


def _flaw_of_text(text: str) -> Flaw | None:
    if "\0" in text:
        return "", "has the character U+0000, which jsonb cannot hold."
    if not text.isascii() and _SURROGATE.search(text):
        return "", "has a lone surrogate, which is not Unicode text."
    return None


def _flaw_of_array(items: Sequence[object], levels: int) -> Flaw | None:
    if levels < 0:
        raise TooDeepError
    for place, item in enumerate(items):
        if flaw := flaw_of(item, levels=levels):
            return f"[{place}]{flaw[0]}", flaw[1]
    return None


def _flaw_of_object(members: Mapping[Any, Any], levels: int) -> Flaw | None:
    if levels < 0:
        raise TooDeepError
    for key, item in members.items():
        if not isinstance(key, str):
            return "", f"has the key {key!r}: keys of JSON are strings. Use str()."
        if flaw := _flaw_of_text(key):
            return f" (the key {key!r})", flaw[1]
        if flaw := flaw_of(item, levels=levels):
            return f".{key}{flaw[0]}", flaw[1]
    return None


def _not_json(value: object) -> Flaw:
    advice = next((_ADVICE[c.__name__] for c in type(value).__mro__ if c.__name__ in _ADVICE), None)
    kind = type(value).__name__
    return "", f"is a {kind}: not JSON. {advice or 'Convert it to text, a number or an object.'}"


_encode = msgspec.json.Encoder(enc_hook=_hook).encode
