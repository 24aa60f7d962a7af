"""Messages: what a tap writes, a line each, as Singer has them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Literal

import msgspec

from dama.errors import DamaError
from dama.shapes import is_dict, is_list

LONGEST_SHOWN = 200
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
KINDS = ("SCHEMA", "RECORD", "STATE", "ACTIVATE_VERSION")


class TapError(DamaError):
    """What a tap did, or wrote, is not what the next attempt would do better."""

    code = "TAP"
    is_final = True


class Message(msgspec.Struct, gc=False):
    """A message, whose large parts are not decoded yet."""

    type: str
    stream: str = ""
    record: msgspec.Raw | dict[str, Any] | None = None
    version: int | None = None
    schema: dict[str, Any] | None = None
    key_properties: list[str] | None = None
    value: Any = None
    size: int = 0


class _Line(msgspec.Struct):
    type: str
    stream: str = ""
    record: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    version: int | None = None
    schema: msgspec.Raw | None = None
    key_properties: list[str] | None = None
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Line).decode
_exactly = msgspec.json.Decoder(float_hook=Decimal).decode
_write = msgspec.json.Encoder(decimal_format="number").encode


def message_of(line: bytes) -> Message:
    """Read a line.

    Raises:
        TapError: It is not a message that can be loaded.
    """
    try:
        found = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _odd(line)
    if found.type not in KINDS:
        raise _unknown(found.type)
    record = None if found.record is msgspec.UNSET else found.record
    return Message(
        found.type,
        found.stream,
        record,
        found.version,
        None if found.schema is None else _exact(found.schema),
        found.key_properties,
        None if found.value is msgspec.UNSET else _exact(found.value),
        len(line),
    )


def record_of(message: Message) -> tuple[dict[str, Any], bool]:
    """The record of a message, and whether it had characters that PostgreSQL cannot hold.

    Raises:
        TapError: It is not an object.
    """
    raw = message.record
    if isinstance(raw, msgspec.Raw):
        found: object = _exact(raw)
        if not is_dict(found):
            raise TapError(f"A RECORD of {message.stream} is not an object: {found!r:.80}")
        if b"\\u0000" not in bytes(raw):
            return found, False
        raw = found
    if raw is None:
        raise TapError(f"A RECORD of {message.stream} has no record.")
    fitting = without_unfit(raw)
    return fitting, fitting != raw


def as_json(value: Any) -> str:
    """A value as JSON; numbers exactly as they came."""
    return _write(value).decode()


def without_unfit(value: Any) -> Any:
    """A value whose texts PostgreSQL can hold: NUL and lone surrogates are replaced."""
    if isinstance(value, str):
        text = value.replace("\0", REPLACEMENT)
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text
    if is_dict(value):
        return {without_unfit(key): without_unfit(each) for key, each in value.items()}
    if is_list(value):
        return [without_unfit(each) for each in value]
    return value


def _exact(raw: msgspec.Raw) -> Any:
    return _exactly(raw)


def _odd(line: bytes) -> Message:
    """What is JSON for Python only: NaN, Infinity, lone surrogates."""
    try:
        text = line.decode("utf-8", "surrogatepass")
        found = json.loads(text, parse_float=Decimal, parse_constant=str)
    except ValueError:
        found = None
    if not is_dict(found) or not isinstance(found.get("type"), str):
        shown = line[:LONGEST_SHOWN].decode("utf-8", "replace")
        raise TapError(
            f"The tap wrote a line that is not a Singer message: {shown}",
            "A tap writes messages to its standard output, and everything else to standard error.",
        )
    if found["type"] not in KINDS:
        raise _unknown(found["type"])
    try:
        message = msgspec.convert(
            {key: found[key] for key in _FIELDS if key in found}, Message, strict=False
        )
    except msgspec.ValidationError as error:
        raise TapError(f"The tap wrote a {found['type']} that is not valid: {error}.") from error
    message.record = found.get("record") if is_dict(found.get("record")) else None
    message.size = len(line)
    return message


_FIELDS: tuple[Literal["type", "stream", "version", "schema", "key_properties", "value"], ...] = (
    "type", "stream", "version", "schema", "key_properties", "value",
)  # fmt: skip


def _unknown(type_: str) -> TapError:
    hint = "Switch batches off in its config (batch_config)." if type_ == "BATCH" else None
    return TapError(f"The tap wrote a {type_!r}: expected one of {', '.join(KINDS)}.", hint)
