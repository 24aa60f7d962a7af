"""Activity: how much was done in a time, how long it took, and what waited in the queues."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dama.store.errors import InvalidValueError

if TYPE_CHECKING:
    from dama.app import App
    from dama.store.activity import Count

MOST_PIECES = 120
GRAIN = 240.0  # seconds: what the store counts together
HOURS, MOST_HOURS = 24, 168
ENDS = ("done", "error", "cancelled")


@dataclass(frozen=True)
class Piece:
    """A piece of a time.

    Attributes:
        at: When it begins.
        started: Contexts that began in it, subtasks too.
        done: That were done.
        error: That failed.
        cancelled: That were cancelled.
        p50: The seconds that half of the ended took at most, within a fifth; None for none.
        p95: The same of 95 of a hundred.
    """

    at: datetime
    started: int = 0
    done: int = 0
    error: int = 0
    cancelled: int = 0
    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True)
class ActivityReport(Piece):
    """A time, with its pieces.

    Attributes:
        seconds: How long each piece is.
        pieces: All of them, also those in which nothing happened.
    """

    seconds: float = 0.0
    pieces: Sequence[Piece] = ()


@dataclass(frozen=True)
class QueuePiece:
    """The most that was in a queue in a piece of a time.

    Attributes:
        at: When it begins.
        queued: Runs that could start.
        running: Runs.
        age: Seconds for which the oldest had been queued.
    """

    at: datetime
    queued: int
    running: int
    age: float


@dataclass(frozen=True)
class QueueHistory:
    """What was in a queue.

    Attributes:
        queue: Its name.
        seconds: How long each piece is.
        pieces: Those in which somebody looked.
    """

    queue: str
    seconds: float
    pieces: Sequence[QueuePiece]


async def read(app: App, hours: int = HOURS) -> ActivityReport:
    """What happened in the latest hours, in 120 pieces at most.

    It is noted while a gateway runs, every ten seconds.

    Raises:
        InvalidValueError: It is asked for less than an hour, or more than seven days.
    """
    since, width, pieces = await span(app, hours)
    found = await app.store.activity.counts(since, width)
    counts = [each for each in found if each.piece < pieces]
    of_piece: dict[int, list[Count]] = {}
    for each in counts:
        of_piece.setdefault(each.piece, []).append(each)
    places = ((n, since + n * timedelta(seconds=width)) for n in range(pieces))
    parts = [_piece(at, of_piece.get(n, ())) for n, at in places]
    return ActivityReport(**vars(_piece(since, counts)), seconds=width, pieces=parts)


async def queues(app: App, hours: int = HOURS) -> list[QueueHistory]:
    """What was in the queues in the latest hours, in 120 pieces at most.

    A gateway looks every ten seconds.

    Raises:
        InvalidValueError: It is asked for less than an hour, or more than seven days.
    """
    since, width, _ = await span(app, hours)
    found: dict[str, list[QueuePiece]] = {}
    for each in await app.store.activity.queues(since, width):
        at = since + each.piece * timedelta(seconds=width)
        piece = QueuePiece(at, each.queued, each.running, each.age)
        found.setdefault(each.queue, []).append(piece)
    return [QueueHistory(name, width, pieces) for name, pieces in found.items()]


async def span(app: App, hours: int = HOURS) -> tuple[datetime, float, int]:
    """Since when, the seconds of a piece, and how many there are."""
    if not 1 <= hours <= MOST_HOURS:
        raise InvalidValueError(
            f"Activity of {hours} hours is asked for: 1 to {MOST_HOURS} are kept."
        )
    width = math.ceil(hours * 3600 / MOST_PIECES / GRAIN) * GRAIN
    pieces = math.ceil(hours * 3600 / width)
    end = math.ceil((await app.store.now()).timestamp() / GRAIN) * GRAIN
    return datetime.fromtimestamp(end - pieces * width, UTC), width, pieces


def _piece(at: datetime, counts: Iterable[Count]) -> Piece:
    outcomes: Counter[str] = Counter()
    took: Counter[int] = Counter()
    for each in counts:
        outcomes[each.outcome] += each.count
        if each.outcome in ENDS and each.bucket >= 0:
            took[each.bucket] += each.count
    return Piece(at, **outcomes, p50=_share(took, 0.5), p95=_share(took, 0.95))


def _share(took: Mapping[int, int], share: float) -> float | None:
    """The seconds that a share of all took at most."""
    left = share * sum(took.values())
    for bucket, count in sorted(took.items()):
        left -= count
        if left <= 0:
            return round(2 ** (bucket / 4) / 1000, 3)
    return None


async def now(app: App) -> datetime:
    """What time it is, by the clock of the database."""
    return await app.store.now()
