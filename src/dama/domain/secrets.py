"""Secrets: values that are struck out of whatever is stored or shown.

A value is found as it is and in the forms in which programs print it: within JSON, within a URL, as
base64. Of a URL or a connection string the password is a secret by itself, of a value of several
lines each long line, and of a key in PEM each line. Nothing here knows where the values come from:
see `dama.programs.environment`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, AnyStr, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STRUCK = "***"
# Shorter ones are in every text: striking them out would leave nothing to read, and tell them.
SHORTEST = 4
SHORTEST_LINE = 8
ARMOUR = "-----"  # a line of PEM that begins with it is none of the key
_PASSWORD = re.compile(r"password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^\s&'\"]+))", re.IGNORECASE)
_USERINFO = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/@\s]*?:([^/\s]*)@")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")
T = TypeVar("T")


class Secrets:
    """Values that nobody should read.

    Args:
        values: Those of fewer than 4 characters are passed over.

    Attributes:
        forms: The ways in which programs write them, the longest first.
        longest: The bytes of the longest; 0 when there are none.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value)}
        ordered = sorted(forms, key=lambda form: (-len(form), form))  # the longest first
        self.forms = ordered
        self._set = forms
        self._bytes = [_bytes_of(form) for form in ordered]
        self.longest = max(map(len, self._bytes), default=0)
        self._shortest = min(map(len, ordered), default=0)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.forms)

    def __repr__(self) -> str:  # pyright: ignore[reportImplicitOverride] - `override` is an import of 18 ms
        """How many there are, and no more."""
        return f"<Secrets: {len(self.forms)} forms>"

    def strike(self, text: str) -> str:
        """A text without them."""
        if len(text) < self._shortest or not (places := _places(text, self.forms)):
            return text
        ends = [0, *(end for _, end in places)]
        begins = [*(begin for begin, _ in places), len(text)]
        return STRUCK.join(text[end:begin] for end, begin in zip(ends, begins, strict=True))

    def strike_all(self, value: T) -> T:
        """A value of JSON without them, in keys and values, however deep."""
        return cast("T", self._struck(value)) if self.forms else value

    def mask(self, data: bytes) -> bytes:
        """Bytes with stars in their places; lines stay lines, and nothing changes its place."""
        places = _places(data, self._bytes)
        if not places:
            return data
        masked = bytearray(data)
        for begin, end in places:
            masked[begin:end] = stars(data[begin:end])
        return bytes(masked)

    def places(self, data: bytes) -> Sequence[tuple[int, int]]:
        """Where they begin and end in bytes."""
        return _places(data, self._bytes)

    def _struck(self, value: object) -> object:
        match value:
            case str():
                return self.strike(value)
            case bool() | None:
                return value
            case int() | float():
                return STRUCK if str(value) in self._set else value
            case Mapping():
                pairs = cast("Mapping[Any, Any]", value).items()
                return {self._key(key): self._struck(item) for key, item in pairs}
            case list() | tuple():
                return [self._struck(item) for item in cast("list[object]", value)]
            case _:
                return value

    def _key(self, key: object) -> object:
        return self.strike(key) if isinstance(key, str) else key


NONE = Secrets()


def stars(data: bytes) -> bytes:
    """As many stars, on as many lines."""
    return re.sub(rb"[^\n]", b"*", data)


def _places(text: AnyStr, forms: Sequence[AnyStr]) -> list[tuple[int, int]]:
    """Where forms are in a text, in order; what overlaps is one place.

    A search for each: an expression of all of them tries each at each place, and takes ten times as
    long.
    """
    found: list[tuple[int, int]] = []
    for form in forms:
        at = text.find(form)
        while at >= 0:
            found.append((at, at + len(form)))
            at = text.find(form, at + len(form))
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(found):
        if merged and begin < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def passwords_in(text: str) -> list[str]:
    """The passwords that a URL or a connection string holds, as written and as meant."""
    found = [match.group(1) or match.group(2) or "" for match in _PASSWORD.finditer(text)] + [
        match.group(1) for match in _USERINFO.finditer(text)
    ]
    unescaped = [re.sub(r"\\(.)", r"\1", password) for password in found]
    return [*{*found, *unescaped, *map(_unquoted, found)} - {""}]


def without_password(text: str) -> str:
    """A text that may hold URLs or connection strings, also malformed ones, as it may be shown."""
    text = re.sub(r"(\b[\w+.-]+:/{1,2}[^:@/\s]*):\S*@", rf"\1:{STRUCK}@", text)
    return re.sub(
        r"((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'?|[^\s&]*)",
        rf"\g<1>{STRUCK}",
        text,
        flags=re.IGNORECASE,
    )


def _forms(value: str) -> Iterator[str]:
    for part in (value, value.strip(), *passwords_in(value)):
        yield from _written(part)
    # In many files of variables a value of several lines is one, with \n for the ends of its lines.
    lines = value.replace("\\r", "\r").replace("\\n", "\n").splitlines()
    shortest = SHORTEST if ARMOUR in value else SHORTEST_LINE
    if len(lines) > 1:
        for line in map(str.strip, lines):
            if len(line) >= shortest and not line.startswith(ARMOUR):
                yield from _written(line)


def _written(value: str) -> Iterator[str]:
    """The ways in which programs print a value."""
    if len(value) < SHORTEST:
        return
    data = _bytes_of(value)
    yield value
    yield data.decode(errors="replace")
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    quoted = _quoted(data)
    yield quoted
    yield quoted.replace("%2F", "/")
    yield quoted.replace("%20", "+")
    yield from _base64(data)


def _bytes_of(text: str) -> bytes:
    """A text as it stands in files; one of the environment may have bytes that are not UTF-8."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def _quoted(data: bytes) -> str:
    """Percent-encoding, in which a URL holds what has a meaning there."""
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in data)


def _unquoted(text: str) -> str:
    data = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), _bytes_of(text))
    return data.decode(errors="replace")


def _base64(data: bytes) -> Iterator[str]:
    """Base64 of it, wherever it stands in what was encoded: as `user:password` in a header."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        # Characters at the edges hold bits of what stands beside it.
        certain = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        if len(certain) >= SHORTEST + 2:
            yield certain
            yield certain.replace("+", "-").replace("/", "_")
