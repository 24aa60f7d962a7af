"""Pages of the log: what `read_log` is asked and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama.domain.event import LoggedEvent
from dama.domain.exact import reader
from dama.store.rows import LogFilter, LogPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.store.database import Row

_read = reader(LoggedEvent)


def query(
    after: int, filter_: LogFilter, limit: int, *, up_to: int | None = None
) -> dict[str, object]:
    """The params of `read_log`, but for the subscription."""
    return {
        "after": after,
        "up_to": up_to,
        "demand": limit,
        "types": None if filter_.types is None else list(filter_.types),
        "prefix": filter_.prefix,
        "root": filter_.root,
        "context": filter_.context,
    }


def page_of(rows: Sequence[Row]) -> LogPage:
    """The rows of `read_log`; the last one says how far the log was looked through."""
    events = [_read(text) for _, text in rows if text is not None]
    return LogPage(events, rows[-1][0])
