"""Counts in sentences: 1 context, 2,000 contexts."""

from __future__ import annotations


def number_of(count: int, one: str, several: str = "", *, more: bool = False) -> str:
    """A number and what is counted, in agreement.

    Args:
        count: How many.
        one: What one of them is called, with its verb if need be: "context is".
        several: What several are called; with an "s" by default.
        more: Whether there are more than were counted.
    """
    name = one if count == 1 and not more else several or f"{one}s"
    return f"{count:,}{'+' if more else ''} {name}"
