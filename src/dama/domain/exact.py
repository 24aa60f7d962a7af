"""Exact values: JSON read and written without losing a digit, whatever wrote it.

Here is the one encoder. Two modules give it forms for further values: `dama.domain.profile` for
what an event may hold, `dama.broker.wire.values` for what an action takes and returns.

jsonb keeps every digit of a number and any nesting; a double and a decoder do not. `Digits` is a
number whose digits no double holds, `Undecoded` is JSON that no decoder here takes. Both are
written as they were read. What an event may hold is in `dama.domain.profile`.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, final

import msgspec

from dama.domain.errors import InvalidJsonError
from dama.domain.members import refuse_repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dama.shapes import Json

T = TypeVar("T")

SURE_DIGITS = 15  # a double gives back any number of so many
LONGEST_INTEGER = 4_000  # digits; Python itself reads no integer of more than 4,300


@final
class Digits(float):
    """A number of JSON that counts as the nearest double and is written with all its digits.

    Attributes:
        text: The number as JSON.
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Digits:
        """Take a number as JSON writes it."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __getnewargs__(self) -> tuple[str]:  # pyright: ignore[reportImplicitOverride, reportIncompatibleMethodOverride] - what is copied is the text
        return (self.text,)

    def __repr__(self) -> str:  # pyright: ignore[reportImplicitOverride] - `override` is an import of 18 ms
        return self.text

    @property
    def decimal(self) -> Decimal:
        """The number with all its digits."""
        return Decimal(self.text)


@final
class Undecoded:
    """JSON that an older writer stored and no decoder here takes, such as 1,100 nested lists.

    Attributes:
        text: The JSON.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:  # pyright: ignore[reportImplicitOverride] - as above
        return f"<JSON of {len(self.text):,} characters that is nested too deeply to be read>"


def decode(text: str | bytes) -> Json:
    """Decode JSON that somebody sends; numbers keep their digits.

    Raises:
        InvalidJsonError: It is not JSON, nested too deeply to be read, or has a number that is
            larger than any double, or an object with a member twice.
    """
    try:
        value: object = _decoder.decode(text)
        refuse_repeated(text, value)
    except RecursionError:
        raise InvalidJsonError("it is nested too deeply to be read") from None
    except InvalidJsonError:
        raise
    except (msgspec.DecodeError, UnicodeError, ValueError) as error:
        raise InvalidJsonError(str(error)) from None
    return value


def decode_stored(text: str) -> Json:
    """Decode JSON out of the database: what cannot be decoded is `Undecoded`, never an error."""
    with suppress(RecursionError, msgspec.DecodeError, ValueError):
        return _stored_decoder.decode(text)
    with suppress(RecursionError, ValueError):  # an integer of thousands of digits
        return json.loads(text, parse_int=_integer, parse_float=_number)
    return Undecoded(text)


def reader(type_: type[T]) -> Callable[[str], T]:
    """Make the decoder of the rows of a struct; a member that cannot be decoded is `Undecoded`."""
    decoder = msgspec.json.Decoder(type_, float_hook=_number)

    def read(text: str) -> T:
        try:
            return decoder.decode(text)
        except (msgspec.DecodeError, RecursionError):
            members = {name: decode_stored(member) for name, member in _members(text)}
            return msgspec.convert(members, type_)

    return read


def line_reader(type_: type[T]) -> Callable[[bytes], list[T]]:
    """As `reader`, for many rows, a line each, in half the time."""
    decoder = msgspec.json.Decoder(type_, float_hook=_number)
    read_one = reader(type_)

    def read(lines: bytes) -> list[T]:
        try:
            return decoder.decode_lines(lines)
        except (msgspec.DecodeError, RecursionError):
            return [read_one(line) for line in lines.decode().split("\n")]

    return read


def to_builtins(value: object, hook: Callable[[Any], Any] | None = None) -> Any:
    """Dataclasses, structs and times as JSON builtins; the exact values stay what they are."""
    kept = (Digits, Undecoded)
    return msgspec.to_builtins(value, builtin_types=kept, str_keys=True, enc_hook=hook)


def document(value: object) -> Json:
    """What people and clients are shown: JSON builtins with the names that there are everywhere.

    Dataclasses, structs, times and models have their form in JSON; all else has its text. What is
    stored is written by `dama.domain.profile`, what is sent to actions by `dama.broker.wire`.
    """
    return to_builtins(value, _shown)


def _shown(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", by_alias=True) if dump else str(value)


def encode(value: object) -> bytes:
    """JSON of builtins and exact values, with all digits; with spaces, as `json` writes it."""
    encoded = compact(value)
    try:
        return msgspec.json.format(encoded, indent=0)
    except RecursionError:
        return encoded


def compact(value: object) -> bytes:
    """JSON of builtins, structs and exact values, without spaces.

    Raises:
        NotImplementedError: Another value is among them.
        UnicodeEncodeError: A string among them is not Unicode.
    """
    return _compact(value)


def canonical(value: object) -> bytes:
    """As `compact`, and the same for equal values: members and sets are in one order."""
    return _canonical(value)


def encode_hook(value: object) -> object:
    """The exact values for an encoder of msgspec.

    Raises:
        NotImplementedError: It is another value, of which the encoder knows nothing.
    """
    if isinstance(value, Digits | Undecoded):
        return msgspec.Raw(value.text.encode())
    raise NotImplementedError(f"A {type(value).__name__} is not JSON.")


def _number(text: str) -> float:
    value = float(text)
    if len(text) <= SURE_DIGITS + 1 and "e" not in text and "E" not in text:
        return value
    return value if Decimal(repr(value)) == Decimal(text) else Digits(text)


def _integer(text: str) -> int | Digits:
    return int(text) if len(text) <= LONGEST_INTEGER else Digits(text)


def _finite_number(text: str) -> float:
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"{text[:20]}... has {len(text):,} digits")
    try:
        number = _number(text)
    except ArithmeticError:
        raise ValueError(f"{text[:40]} has an exponent that no number here has") from None
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is larger than any number that a double holds")
    return number


_compact = msgspec.json.Encoder(enc_hook=encode_hook).encode
_canonical = msgspec.json.Encoder(enc_hook=encode_hook, order="deterministic").encode
_decoder = msgspec.json.Decoder(float_hook=_finite_number)
_stored_decoder = msgspec.json.Decoder(float_hook=_number)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{},:]', re.DOTALL)


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of an object as texts, found without descending into them."""
    depth, begin, name = 0, 1, ""
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case ":" if depth == 1 and not name:
                name = json.loads(text[begin : token.start()])
                begin = token.end()
                continue
            case ",":
                pass
            case _:
                continue
        if name and (depth == 0 or (depth == 1 and token[0] == ",")):
            yield name, text[begin : token.start()].strip()
            begin, name = token.end(), ""
