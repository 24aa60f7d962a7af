"""The wire: results and params of actions as JSON, over HTTP and over the bus.

What has a form in JSON gets it: a model, a date, a set. What has none is refused with its path, and
a NaN is not sent as null.
"""

from __future__ import annotations

import math
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, cast

import msgspec

from dama.broker.errors import CallError
from dama.domain.exact import Digits, Undecoded, encode_hook
from dama.domain.profile import Flaw, fields_of, flaw_of, plain_scalar
from dama.shapes import is_collection, is_dict

if TYPE_CHECKING:
    from collections.abc import Callable

DEEPEST = 900  # what the encoder takes
LONGEST_PATH = 200  # in a message
PLAIN = frozenset({str, int, bool, type(None), bytes})  # what holds no number, or only itself


class NotJsonError(CallError):
    """A value has no form in JSON."""

    code = "NOT_JSON"


def as_json(value: Any, name: str, change: Callable[[Any], Any] = lambda same: same) -> bytes:
    """A value as JSON.

    Args:
        value: A result, or a packet of the bus.
        name: What it is, for the path in an error: `result`.
        change: Returns what is written in the place of the value.

    Raises:
        NotJsonError: It has no form in JSON; the path to what has none is named.
    """
    if flaw := _not_finite(value, DEEPEST):
        path = flaw[0] if len(flaw[0]) <= LONGEST_PATH else f"{flaw[0][:LONGEST_PATH]}..."
        raise NotJsonError(f"{name}{path} {flaw[1]}")
    return encoded(value, name, change)


def encoded(value: Any, name: str, change: Callable[[Any], Any] = lambda same: same) -> bytes:
    """A value as JSON, without a look at its numbers: see `as_json`.

    Raises:
        NotJsonError: It has no form in JSON.
    """
    try:
        return msgspec.json.encode(change(value), enc_hook=form_of)
    except RecursionError:
        raise NotJsonError(f"{name} is nested too deeply to be written as JSON.") from None
    except (TypeError, ValueError, NotImplementedError) as error:
        raise NotJsonError(f"{name} cannot be written as JSON: {error}") from error


def _not_finite(value: object, levels: int) -> Flaw | None:
    """The path to a number that JSON does not have: the encoder would write null for it."""
    if isinstance(value, float):
        return None if math.isfinite(value) or isinstance(value, Digits) else flaw_of(value)
    if levels < 0:
        return "", "is nested too deeply to be written as JSON."
    if is_dict(value):
        form, parts = ".{}", iter(value.items())
    elif is_collection(value):
        form, parts = "[{}]", enumerate(value)
    else:
        form, parts = ".{}", iter((fields_of(value) or {}).items())
    for key, item in parts:
        if type(item) not in PLAIN and (flaw := _not_finite(item, levels - 1)):
            return f"{form.format(key)}{flaw[0]}", flaw[1]
    return None


def form_of(value: object) -> object:
    """What the encoder has no form for, as pydantic writes it: models, sets, paths."""
    if isinstance(value, Digits | Undecoded):
        return encode_hook(value)
    if value is None or isinstance(value, bool | tuple | frozenset):  # the encoder knows them
        raise TypeError(f"it has the key {value!r:.100}; keys of JSON are strings. Use str().")
    scalar = plain_scalar(value)
    if scalar is not value:
        plain = scalar
    elif isinstance(value, PathLike):
        plain = fspath(cast("PathLike[str]", value))
    else:
        from pydantic_core import to_jsonable_python

        plain = to_jsonable_python(value, bytes_mode="base64")  # as those outside of models
    if flaw := _not_finite(plain, DEEPEST):
        raise ValueError(f"{flaw[0]} {flaw[1]}".strip())
    return plain
