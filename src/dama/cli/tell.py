"""`dama emit TYPE name=value ...` within a program: one line for `$DAMA_EVENTS`, and nothing else.

It is called in loops of shell scripts, so it imports next to nothing; the worker ships the line.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False  # as in typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USAGE = 2
UNWRITABLE = 3


def is_telling(arguments: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether a program calls, and names no context: what follows `emit` is a type."""
    if not arguments[1:] or arguments[0] != "emit" or not environ.get("DAMA_EVENTS"):
        return False
    first = arguments[1]
    return not first.startswith("-") and not first.isdecimal()


def tell(arguments: Sequence[str], path: str) -> int:
    """Append the line; return the exit code."""
    type_, *pairs = arguments
    try:
        payload = _payload(pairs)
    except _UsageError as error:
        return _fail(USAGE, str(error))
    line = f'{{"type": {_quoted(type_)}{payload}}}\n'
    try:
        _append(path, line.encode())
    except OSError as error:
        return _fail(UNWRITABLE, f"{path!r} ($DAMA_EVENTS): {error.strerror}.")
    return 0


def _fail(code: int, text: str) -> int:
    """Say why, where there is room for it, and return the exit code in any case."""
    try:
        print(f"Error: {text}", file=sys.stderr, flush=True)  # noqa: T201 - click is not there
    except OSError:  # the log may be on the same full disk; Python would complain once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return code


class _UsageError(Exception):
    """The arguments make no event."""


def _payload(pairs: Sequence[str]) -> str:
    """The payload as a part of a line; nothing when there is none.

    Raises:
        _UsageError: One is not name=value, or says something twice.
    """
    parts: dict[str, str] = {}
    for pair in pairs:
        name, found, text = pair.partition("=")
        if not found or not name:
            raise _UsageError(
                f"{pair!r} is no name=value.\n"
                "Write dama emit TYPE name=value ..., such as: dama emit :PROGRESS done=3 total=10"
            )
        if name in parts:
            raise _UsageError(f"{name} is given twice.")
        parts[name] = f"{_quoted(name)}: {_as_json(text)}"
    return f', "payload": {{{", ".join(parts.values())}}}' if parts else ""


def _append(path: str, line: bytes) -> None:
    """Append a line as a whole.

    In one write, so that lines of processes side by side do not mix. Of a full disk, which takes
    a part, the last byte becomes a line end: the part is one bad line, and the next event is whole,
    whoever appends it.

    Raises:
        OSError: The line is not in the file.
    """
    # Nothing is waited for: a FIFO that nobody reads is an error.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
    try:
        if _is_cut_off(path):
            line = b"\n" + line
        written = os.write(descriptor, line)
        if written < len(line):
            _end_line(path, os.lseek(descriptor, 0, os.SEEK_CUR))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _is_cut_off(path: str) -> bool:
    """Whether the last line has no end, since somebody else had no space for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # it can only be appended to
        return False
    try:
        size = os.fstat(descriptor).st_size
        return size > 0 and os.pread(descriptor, 1, size - 1) not in (b"\n", b"")
    finally:
        os.close(descriptor)


def _end_line(path: str, end: int) -> None:
    """End the part of a line that was written, which needs no space."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.pwrite(descriptor, b"\n", end - 1)
    finally:
        os.close(descriptor)


def _as_json(text: str) -> str:
    """A text as JSON where it is JSON, such as 3, true or {"a": 1}; else as a string."""
    if text in ("true", "false", "null") or _is_integer(text):
        return text
    if text and text[0] in '{["-0123456789':
        import json

        try:
            json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
            # As it is, with all its digits, on one line: a break in it is between two values.
            return text.strip().replace("\n", " ").replace("\r", " ")
        except ValueError:
            pass
    return _quoted(text)


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and (digits == "0" or digits[0] != "0")


def _refuse(constant: str) -> object:
    raise ValueError(constant)  # NaN and Infinity are not JSON


def _once(pairs: list[tuple[str, object]]) -> object:
    if len(dict(pairs)) < len(pairs):
        raise _UsageError("An object of JSON has a member twice.")
    return None  # only whether it is JSON is asked


def _quoted(text: str) -> str:
    """A string of JSON."""
    try:
        from _json import encode_basestring_ascii  # json imports re, which takes a while
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii(text)
