"""What a test gives to a run: stubs, deaths and signals, checked before a database is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from dama.errors import UsageError
from dama.shapes import is_array, is_name, is_object, is_whole

Signals = Mapping[str, Any] | Sequence[tuple[str, Any]]
Deaths = str | int | Sequence[str | int]


def stubs_of(stub: object) -> Mapping[str, Callable[..., Any]]:
    """The stubs of a test.

    Raises:
        UsageError: They are no functions by names.
    """
    if not is_object(stub):
        raise UsageError(
            f"stub is {stub!r}: expected functions by names.", 'Write {"fetch": fake}.'
        )
    for name, function in stub.items():
        if not callable(function):
            raise UsageError(
                f"The stub {name!r} is {function!r}: expected a function.",
                f'Write {{"{name}": lambda *args, **params: {function!r}}} for an answer.',
            )
    return stub


def deaths_of(crash_after: object) -> list[str | int]:
    """The events after which a test lets the process die.

    Raises:
        UsageError: One is neither a name nor a number from 1.
    """
    deaths = list(crash_after) if is_array(crash_after) else [crash_after]
    for death in deaths:
        if not is_name(death) and not (is_whole(death) and death > 0):
            raise UsageError(
                f"crash_after has {death!r}: expected the name of an event or a number from 1.",
                'Write "store 2", "STARTED" or 5.',
            )
    return cast("list[str | int]", deaths)


def signals_of(signals: object) -> list[tuple[str, Any]]:
    """The signals of a test.

    Raises:
        UsageError: They are neither a mapping nor pairs.
    """
    pairs: list[Any] = [*signals.items()] if is_object(signals) else []
    if is_array(signals):
        pairs = list(signals)
    if not (is_object(signals) or is_array(signals)) or not all(map(_is_signal, pairs)):
        raise UsageError(
            f"signals is {signals!r}: expected payloads by types, or a list of pairs.",
            'Write {"approval": {"by": "ann"}}.',
        )
    return pairs


def _is_signal(pair: object) -> bool:
    return is_array(pair) and len(pair) == 2 and is_name(pair[0])  # noqa: PLR2004 - a pair
