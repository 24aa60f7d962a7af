"""Kept: whether a value comes back from JSON as it was, by the same type.

What a task or a step returns is read again by a later run, by a parent, by a page. So it is
compared with what comes back before it is written: a date that would come back as text, a key of 1
as "1", a NaN as null is refused while somebody can still mend it, with the path to it. A tuple
comes back as a list, and a dataclass or a model without an annotation as an object in its own form:
that is not a loss. docs/reference/values.md has the table.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from dama.definitions.errors import InvalidParamsError, ParamProblem
from dama.definitions.params import arguments_of, validate_params
from dama.domain.exact import Digits, decode_stored
from dama.domain.profile import (
    DEEPEST,
    LARGEST_PAYLOAD,
    Flaw,
    TooDeepError,
    fields_of,
    flaw_of,
    is_too_large,
    plain_scalar,
    to_json,
)
from dama.shapes import is_array, is_collection, is_dict, is_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import BaseModel

LONGEST_SHOWN = 60  # characters


def is_json(value: object) -> bool:
    """Whether a value is JSON of the profile already, as most are."""
    try:
        return flaw_of(value) is None
    except TooDeepError:
        return False


def flaw_of_result(
    value: object, encoded: object, decode: Callable[[object], object] | None = None
) -> str:
    """Why a result cannot be kept as it was encoded, with the path to it; empty when it can.

    Args:
        value: What was returned.
        encoded: As JSON builtins.
        decode: What a reader does with them; None for no look at what comes back.
    """
    try:
        flaw = flaw_of(encoded)
        if flaw is None and encoded is not value and decode is not None:
            flaw = difference(value, decode(encoded))
    except TooDeepError:
        return f"result is nested deeper than {DEEPEST} arrays and objects. Flatten it."
    if flaw:
        return f"result{flaw[0]} {flaw[1]}"
    if size := is_too_large(encoded, LARGEST_PAYLOAD):
        return (
            f"result has {size:,} bytes of JSON; {LARGEST_PAYLOAD:,} are the most. "
            "Write it to a table or a file, and return where it is."
        )
    return ""


def as_read(value: object) -> Any:
    """JSON builtins as a reader of the store gets them: a tuple is a list, an IntEnum a number."""
    return decode_stored(to_json(value).decode())


def with_digits(value: object, encoded: Any) -> Any:
    """What pydantic made of a value, with the digits that a double does not hold."""
    if isinstance(value, Digits) and isinstance(encoded, float):
        return value
    if is_dict(value) and is_dict(encoded):
        return {key: with_digits(value.get(key), item) for key, item in encoded.items()}
    if is_array(value) and is_list(encoded):
        before, after = value, encoded
        if len(before) == len(after):
            return [with_digits(*pair) for pair in zip(before, after, strict=True)]
    return cast("Any", encoded)


def encode_params(task: str, given: Mapping[str, Any], params: BaseModel) -> dict[str, Any]:
    """Validated params as JSON builtins, which a worker validates to the same params.

    Args:
        task: The full name of the task.
        given: What was given; of JSON no more is made than the types of the params say.
        params: The same, validated.

    Raises:
        InvalidParamsError: One cannot be kept; the path to it is named.
    """
    model = type(params)
    flaws: list[ParamProblem] = []
    try:
        encoded = params.model_dump(mode="json", by_alias=True)
    except Exception as error:  # noqa: BLE001 - a class that writes itself may raise anything
        encoded = {}
        flaws = [*_flaws(arguments_of(params))] or [_problem("params", "", str(error), None)]
    flaws = flaws or [*_flaws(encoded)]
    if not flaws and not is_json(given):
        back = arguments_of(validate_params(task, model, encoded))
        flaws = [
            _problem(name, *flaw, value)
            for name, value in arguments_of(params).items()
            if (flaw := difference(value, back[name]))
        ]
    if flaws:
        raise InvalidParamsError(task, flaws)
    return with_digits(given, encoded)


def _flaws(values: Mapping[str, Any]) -> Iterator[ParamProblem]:
    for name, value in values.items():
        try:
            flaw = flaw_of(value, levels=DEEPEST - 1)
        except TooDeepError:
            flaw = "", f"is nested deeper than {DEEPEST} arrays and objects. Flatten it."
        if flaw:
            yield _problem(name, *flaw, value)


def _problem(name: str, path: str, rule: str, value: object) -> ParamProblem:
    return ParamProblem(name, path, rule.rstrip("."), "not_kept", value)


def difference(value: object, back: object, *, is_declared: bool = False) -> Flaw | None:
    """Where a value comes back as another one, and what to do; None when nowhere.

    Args:
        value: What was returned.
        back: What comes back.
        is_declared: It is within a class, whose own form of it counts.
    """
    value = plain_scalar(value)
    if value is None or isinstance(value, bool | str):
        return _of_scalar(value, back)
    if isinstance(value, int | float):
        return _of_number(value, back)
    if is_array(value):
        return _of_array(value, back, is_declared=is_declared)
    if is_dict(value):
        return _of_object(value, back, is_declared=is_declared)
    within = fields_of(value)
    return _of_instance(within, back) if within else _of_kind(value, back, is_declared=is_declared)


def without_foreign_scalars(value: Any, levels: int = DEEPEST) -> Any:
    """A value with the scalars of numpy in it as those of Python; the same one without any."""
    if levels < 0:
        return value  # too deep to be kept
    if is_dict(value):
        made = {
            plain_scalar(key): without_foreign_scalars(item, levels - 1)
            for key, item in value.items()
        }
        is_same = all(made[plain_scalar(key)] is item for key, item in value.items())
        return cast("Any", value) if is_same else made
    if type(value) in (list, tuple):
        parts = [without_foreign_scalars(item, levels - 1) for item in value]
        is_same = all(part is item for part, item in zip(parts, value, strict=True))
        return value if is_same else type(value)(parts)
    return plain_scalar(value)


def _of_kind(value: object, back: object, *, is_declared: bool) -> Flaw | None:
    """A date, a set, an Enum and the like."""
    if type(back) is type(value) or _is_equal(value, back):
        return None
    is_form = is_declared and isinstance(back, str | list | int | float | dict)
    return None if is_form else _other(value, cast("object", back))


def _of_scalar(value: object, back: object) -> Flaw | None:
    # A text may become what the annotation says: that is what the function promises.
    if value == back or (isinstance(value, str) and not isinstance(back, str | type(None))):
        return None
    return _other(value, back)


def _of_number(value: float, back: object) -> Flaw | None:
    if isinstance(value, float) and not math.isfinite(value):
        return flaw_of(value)
    if isinstance(back, bool) or not isinstance(back, int | float):
        same = back is not None and not isinstance(back, bool | str) and _is_equal(value, back)
        return None if same else _other(value, back)
    return None if value == back else _other(value, back)


def _of_array(items: Sequence[object], back: object, *, is_declared: bool) -> Flaw | None:
    if not is_array(back):
        is_set = is_collection(back) and len(back) == len(items)
        return None if is_set else _other(items, back)
    if len(items) != len(back):
        return "", f"has {len(items)} items, of which {len(back)} would come back."
    for place, (item, other) in enumerate(zip(items, back, strict=True)):
        if flaw := difference(item, other, is_declared=is_declared):
            return f"[{place}]{flaw[0]}", flaw[1]
    return None


def _of_object(value: Mapping[Any, Any], back: object, *, is_declared: bool) -> Flaw | None:
    others = cast("Mapping[Any, Any] | None", back if is_dict(back) else fields_of(back))
    if others is None:
        return _other(value, back)
    for key, item in value.items():
        if key not in others:
            if not isinstance(back, dict):
                continue  # an alias, or what a model leaves out on purpose
            if not isinstance(key, str) and str(key) in others:
                return "", f"has the key {key!r}, which would come back as {str(key)!r}. Use str()."
            return "", f"has the key {key!r}, which would be left out."
        if type(key) is bool and not any(each is key for each in others):
            return "", f"has the key {key!r}, which would come back as a number. Use str()."
        if flaw := difference(item, others[key], is_declared=is_declared):
            return f".{key}{flaw[0]}", flaw[1]
    return None


def _of_instance(within: Mapping[str, object], back: object) -> Flaw | None:
    """A dataclass or a model: its own form of its fields counts, but numbers stay numbers."""
    others = back if is_dict(back) else fields_of(back) or {}
    for name, item in within.items():
        if name not in others:
            continue  # by an alias, or left out by the class itself
        if flaw := difference(item, others[name], is_declared=True):
            return f".{name}{flaw[0]}", flaw[1]
    return None


def _is_equal(value: object, back: object) -> bool:
    try:
        return bool(value == back)
    except Exception:  # noqa: BLE001 - arrays and frames compare by element, or not at all
        return False


def _other(value: object, back: object) -> Flaw:
    """What is wrong with a value that comes back as another one, and what to do about it."""
    flaw = flaw_of(value)
    if flaw is not None:
        is_text = isinstance(back, str) and not flaw[0]
        how = f"is a {type(value).__name__} and would come back as text. "
        return ("", f"{how}{flaw[1].partition('. ')[2]}") if is_text else flaw
    return "", f"is {_shown(value)} and would come back as {_shown(back)}."


def _shown(value: object) -> str:
    text = repr(value)
    if len(text) > LONGEST_SHOWN:
        text = f"{text[: LONGEST_SHOWN - 3]}..."
    return f"{text} ({type(value).__name__})"
