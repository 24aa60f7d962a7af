"""Secrets: values that are struck out of whatever is stored or shown.

A value is found as it is and in the forms in which programs print it: within JSON, within a URL, as
base64. Of a URL or a connection string the password is a secret by itself, of a value of several
lines each long line. Nothing here knows where the values come from: see
`dama.programs.environment`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STRUCK = "***"
# Shorter ones are in every text: striking them out would leave nothing to read, and tell them.
SHORTEST = 4
SHORTEST_LINE = 8
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
        longest: The bytes of the longest.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value)}
        ordered = sorted(forms, key=lambda form: (-len(form), form))  # the longest first
        self.longest = max((len(form.encode()) for form in ordered), default=0)
        self.forms = ordered
        self._set = forms
        pattern = "|".join(map(re.escape, ordered))
        self._text = re.compile(pattern) if forms else None
        self._bytes = re.compile(pattern.encode(errors="surrogatepass")) if forms else None

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self._text is not None

    def __repr__(self) -> str:  # pyright: ignore[reportImplicitOverride] - `override` is an import of 18 ms
        """How many there are, and no more."""
        return f"<Secrets: {len(self.forms)} forms>"

    def strike(self, text: str) -> str:
        """A text without them."""
        return text if self._text is None else self._text.sub(STRUCK, text)

    def strike_all(self, value: T) -> T:
        """A value of JSON without them, in keys and values, however deep."""
        return value if self._text is None else cast("T", self._struck(value))

    def places(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where they begin and end in bytes."""
        if self._bytes is not None:
            yield from (found.span() for found in self._bytes.finditer(data))

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
    lines = value.splitlines()
    if len(lines) > 1:
        for line in lines:
            if len(line.strip()) >= SHORTEST_LINE and not line.startswith("-----"):
                yield from _written(line.strip())


def _written(value: str) -> Iterator[str]:
    """The ways in which programs print a value."""
    if len(value) < SHORTEST:
        return
    data = value.encode(errors="surrogateescape")
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    quoted = _quoted(data)
    yield quoted
    yield quoted.replace("%2F", "/")
    yield quoted.replace("%20", "+")
    yield from _base64(data)


def _quoted(data: bytes) -> str:
    """Percent-encoding, in which a URL holds what has a meaning there."""
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in data)


def _unquoted(text: str) -> str:
    data = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())
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
