"""Traces: the W3C trace context of a run, the same whoever makes it."""

from __future__ import annotations

import re
from hashlib import sha256

GIVEN = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")


def traceparent(database: str, root: int, context_id: int, epoch: int, given: object = None) -> str:
    """The `traceparent` of a run: one trace for each tree, one span for each run.

    Args:
        database: What tells it from all other databases.
        root: The root of the tree.
        context_id: Whose run it is.
        epoch: Which run.
        given: That of whoever started the tree, whose trace it continues with; None for one of its
            own.

    Source: W3C Trace Context, version 00.
    """
    trace = sha256(f"{database}/{root}".encode()).hexdigest()[:32]
    span = sha256(f"{database}/{context_id}/{epoch}".encode()).hexdigest()[:16]
    if isinstance(given, str) and (found := GIVEN.fullmatch(given)):
        return f"00-{found[1]}-{span}-{found[2]}"
    return f"00-{trace}-{span}-01"
