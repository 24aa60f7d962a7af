"""The profile as one table: events, as JSON, and the verdict that every door has on them.

A door for those outside of a run (the command line, HTTP, the bus, `dispatch()`, a direct INSERT)
refuses what is for the controller alone. Decided differences:

- `append` and `append_events` are the controller's own way, and take reserved types.
- The epoch and the key of an event of a task or a program are its run's: what it says is left out.
- Programs write by SQL with the epoch of their run, so a true one is taken there.
- A program may keep account of its steps (`/step:DONE`).
"""

import json
from dataclasses import dataclass

MIB = 1024 * 1024
OK, NO = True, False


@dataclass(frozen=True)
class Vector:
    """An event and what becomes of it.

    Attributes:
        text: The event as JSON.
        fits: The verdict of every door that has no other one here.
        store: That of `append` and `append_events`.
        run: That of `task.dispatch`, which gives epoch and key itself.
        program: That of lines, which do the same.
        sql: That of `dispatch()` and a direct INSERT.
        cast: That of those that get no text: PostgreSQL or Python has made a value of it before.
    """

    text: str
    fits: bool
    store: bool | None = None
    run: bool | None = None
    program: bool | None = None
    sql: bool | None = None
    cast: bool | None = None

    def verdict(self, door):
        """What a door says of it."""
        if self.cast is not None and door in WITHOUT_TEXT:
            return self.cast
        kind = KINDS_OF_DOORS[door]
        own = getattr(self, kind) if kind else None
        return self.fits if own is None else own


KINDS_OF_DOORS = {
    "append": "store",
    "append_events": "store",
    "dispatch()": "sql",
    "INSERT": "sql",
    "task.dispatch": "run",
    "stdout": "program",
    "$DAMA_EVENTS": "program",
    "dama emit": None,
    "HTTP": None,
    "action": None,
}
WITHOUT_TEXT = {"append", "append_events", "dispatch()", "INSERT", "task.dispatch", "action"}


def payload(text, fits, **verdicts):
    """An event with a payload of this JSON."""
    return Vector(f'{{"type": "x", "payload": {text}}}', fits, **verdicts)


def typed(type_, fits, **verdicts):
    """An event of a type."""
    return Vector(json.dumps({"type": type_}), fits, **verdicts)


def meta(text, fits, **verdicts):
    """An event with meta of this JSON."""
    return Vector(f'{{"type": "x", "meta": {text}}}', fits, **verdicts)


def nested(levels):
    """Arrays within each other."""
    return "[" * levels + "]" * levels


VECTORS = {
    "100 levels": payload(nested(100), OK),
    "101 levels": payload(nested(101), NO),
    "1,100 levels": payload(nested(1100), NO),
    "101 levels of objects": payload('{"a":' * 101 + "1" + "}" * 101, NO),
    "100 levels of meta": meta(f'{{"a": {nested(99)}}}', OK),
    "101 levels of meta": meta(f'{{"a": {nested(100)}}}', NO),
    "1 MiB": payload(f'"{"x" * (MIB - 2)}"', OK),
    "1 MiB and one byte": payload(f'"{"x" * (MIB - 1)}"', NO),
    "1 MiB of numbers, as jsonb spaces them": payload(f"[{','.join(['1'] * (MIB // 3 + 1))}]", NO),
    "64 KiB of meta": meta(f'{{"a": "{"x" * (65_536 - 300)}"}}', OK),
    "more meta": meta(f'{{"a": "{"x" * 65_536}"}}', NO),
    "5,000 digits": payload("9" * 5000, NO),
    "309 digits": payload("9" * 309, NO),
    "308 digits": payload("9" * 308, OK),
    "1e400": payload("1e400", NO),
    "-1e309": payload("[-1e309]", NO),
    "1e308": payload("1e308", OK),
    "1e-320": payload("1e-320", OK),
    "401 decimals": payload("0." + "0" * 400 + "1", NO),
    "-0.0": payload("-0.0", OK),
    "20 digits and decimals": payload("123456789012345678.1234567890", OK),
    "2^53+1": payload("9007199254740993", OK),
    "U+0000": payload(r'"a\u0000b"', NO),
    "U+0000 in a key of an object": payload(r'{"a\u0000": 1}', NO),
    "a lone surrogate": payload(r'"\ud83d"', NO),
    "a lone low surrogate": payload(r'["\udc00 "]', NO),
    "a pair": payload(r'"\ud83d\ude00"', OK),
    "control characters": payload(r'"\u0001\u001b[31m\u0085\u202e"', OK),
    "null": payload("null", OK),
    "a member twice": payload('{"a": 1, "b": {"c": [{"d:": 1, "d:": 1}]}}', NO, cast=OK),
    "a member twice, once escaped": meta(r'{"a": 1, "\u0061": 2}', NO, cast=OK),
    "a member in two objects": payload('[{"a": ":"}, {"a": {"a": "a:"}}]', OK),
    "an empty type": typed("", NO),
    "a type of 1,000 bytes": typed("x" * 1000, OK),
    "a type of 1,001 bytes": typed("x" * 1001, NO),
    "a type of 1,002 bytes of two": typed("ü" * 501, NO),
    "odd characters in a type": typed("a b/ü\u202e\u001b'\"%s\\", OK),
    "U+0000 in a type": typed("a\0b", NO),
    "a lone surrogate in a type": typed("a\ud83d", NO),
    "STARTED": typed("a.b:STARTED", NO, store=OK),
    "a second INITIAL": typed("a.b:INITIAL", NO),
    "a step": typed("a.b/step:SPAWNED", NO, store=OK),
    "ERROR without its flag": typed("a.b:ERROR", NO),
    "a number for meta": meta("7", NO),
    "an array for meta": meta("[]", NO),
    "null for meta": meta("null", OK),
    "an epoch of text": meta('{"epoch": "1"}', NO),
    "an epoch of a fraction": meta('{"epoch": 1.5}', NO),
    "an epoch of 19 digits": meta('{"epoch": 1000000000000000000}', NO),
    "a stale epoch": meta('{"epoch": 77}', NO, run=OK, program=OK),
    "a key": meta('{"idempotency_key": "mine"}', OK),
    "an empty key": meta('{"idempotency_key": ""}', NO),
    "a number for a key": meta('{"idempotency_key": 7}', NO),
    "a key of 1,000 bytes": meta(f'{{"idempotency_key": "{"k" * 1000}"}}', OK),
    "a key of 1,001 bytes": meta(f'{{"idempotency_key": "{"k" * 1001}"}}', NO),
    "a key of 9,000 bytes": meta(f'{{"idempotency_key": "{"k" * 9000}"}}', NO),
    "U+0000 in a key": meta(r'{"idempotency_key": "a\u0000"}', NO),
    "a key of another body": meta('{"idempotency_key": "taken"}', NO, run=OK, program=OK),
    "a key of a run": meta('{"idempotency_key": "dispatch/x"}', NO, store=OK, run=OK, program=OK),
    "the key of a FINAL": meta('{"idempotency_key": "FINAL#1"}', NO, run=OK, program=OK),
    "an error": Vector('{"type": "x", "error": true, "payload": {"message": "no"}}', OK),
    "an error without a payload": Vector('{"type": "x", "error": true}', NO),
    "an error with a text": Vector('{"type": "x", "error": true, "payload": "no"}', NO),
    "no error": Vector('{"type": "x", "error": false}', OK),
    "another key": Vector('{"type": "x", "extra": 1}', NO),
    # The last: the controller's own way takes it, and nothing may follow.
    "FINAL": typed("a.b:FINAL", NO, store=OK),
    "a bare FINAL": typed(":FINAL", NO),
}
