"""Traces: the W3C trace context of a run, the same whoever makes it."""

from __future__ import annotations

from hashlib import sha256


def traceparent(database: str, root: int, context_id: int, epoch: int) -> str:
    """The `traceparent` of a run: one trace for each tree, one span for each run.

    Args:
        database: What tells it from all other databases.
        root: The root of the tree.
        context_id: Whose run it is.
        epoch: Which run.

    Source: W3C Trace Context, version 00.
    """
    trace = sha256(f"{database}/{root}".encode()).hexdigest()[:32]
    span = sha256(f"{database}/{context_id}/{epoch}".encode()).hexdigest()[:16]
    return f"00-{trace}-{span}-01"
