"""Charts: numbers over time as SVG, drawn here, with what a table beside each shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from dama.pages.shown import shown_duration

if TYPE_CHECKING:
    from dama.operations.activity import ActivityReport, QueueHistory

WIDTH, HEIGHT = 600, 60


@dataclass(frozen=True)
class Bar:
    """A part of a piece, from below.

    Attributes:
        x: Where it begins, of 600.
        y: Its upper edge, of 60.
        width: How wide it is.
        height: How high it is.
        kind: The colour: that of a status.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Chart:
    """Numbers over time.

    Attributes:
        title: What they are.
        begin: When the first piece begins.
        end: When the last one ends.
        most: The highest of them, in words.
        bars: Those that are not 0.
        names: Of the series, each with its colour.
        rows: When, and each of the series in words, where one is not 0.
    """

    title: str
    begin: datetime
    end: datetime
    most: str
    bars: Sequence[Bar]
    names: Sequence[tuple[str, str]]
    rows: Sequence[tuple[datetime, Sequence[str]]]


class Span(NamedTuple):
    """The time of a chart.

    Attributes:
        begin: When it begins.
        end: When it ends.
        seconds: How long each piece of it is.
    """

    begin: datetime
    end: datetime
    seconds: float


class Series(NamedTuple):
    """What a chart shows.

    Attributes:
        names: Each with the status whose colour it has.
        pieces: When each begins, and a number for each name.
        word: Writes a number.
        stacked: They stand on each other; else each begins below, the highest first.
    """

    names: Sequence[tuple[str, str]]
    pieces: Sequence[tuple[datetime, Sequence[float]]]
    word: Callable[[float], str] = lambda value: f"{value:.0f}"
    stacked: bool = True


def chart(title: str, span: Span, series: Series) -> Chart:
    """A chart of bars."""
    names, pieces, word, stacked = series
    join: Callable[[Sequence[float]], float] = sum if stacked else max
    most = max((join(values) for _, values in pieces), default=0)
    seconds = (span.end - span.begin).total_seconds()
    step = WIDTH * span.seconds / seconds
    bars: list[Bar] = []
    for at, values in pieces:
        x = (at - span.begin).total_seconds() / seconds * WIDTH
        top = 0.0
        for (_, kind), value in zip(names, values, strict=True):
            height = value / most * HEIGHT if most else 0
            top = top + height if stacked else height
            if value:
                place = (round(x, 1), round(HEIGHT - top, 1), round(step, 1), round(height, 1))
                bars.append(Bar(*place, kind))
    rows = [(at, [word(value) for value in values]) for at, values in pieces if any(values)]
    return Chart(title, span.begin, span.end, word(most), bars, names, rows)


def of_activity(found: ActivityReport) -> list[Chart]:
    """Throughput, failures and durations."""
    end = found.at + timedelta(seconds=found.seconds * len(found.pieces))
    span = Span(found.at, end, found.seconds)
    kinds = [("done", "done"), ("failed", "error"), ("cancelled", "cancelled")]
    ended = Series(kinds, [(p.at, (p.done, p.error, p.cancelled)) for p in found.pieces])
    failed = Series(kinds[1:2], [(p.at, (p.error,)) for p in found.pieces])
    shares = [("p95", "waiting"), ("p50", "running")]
    took = [(p.at, (p.p95 or 0, p.p50 or 0)) for p in found.pieces]
    return [
        chart("Ended", span, ended),
        chart("Failed", span, failed),
        chart("Duration", span, Series(shares, took, shown_duration, stacked=False)),
    ]


def of_queue(found: QueueHistory, begin: datetime, end: datetime) -> list[Chart]:
    """Depth and age of a queue."""
    span = Span(begin, end, found.seconds)
    kinds = [("running", "running"), ("queued", "queued")]
    depth = Series(kinds, [(p.at, (p.running, p.queued)) for p in found.pieces])
    age = Series([("age", "retrying")], [(p.at, (p.age,)) for p in found.pieces], shown_duration)
    return [chart("Depth", span, depth), chart("Age of the oldest", span, age)]


def of_ages(found: Sequence[QueueHistory], begin: datetime, end: datetime) -> Chart:
    """The age of the oldest queued run, of all queues."""
    ages: dict[datetime, float] = {}
    for queue in found:
        for piece in queue.pieces:
            ages[piece.at] = max(ages.get(piece.at, 0), piece.age)
    pieces = [(at, (age,)) for at, age in sorted(ages.items())]
    span = Span(begin, end, found[0].seconds if found else 720.0)
    return chart("Age of queues", span, Series([("age", "retrying")], pieces, shown_duration))
