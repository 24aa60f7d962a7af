"""A Gantt chart: what contexts and steps did when, on one scale in which idle time is cut short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dama.domain.timeline import Span, Try
from dama.operations.timelines import Lane
from dama.pages.shown import shown_duration

if TYPE_CHECKING:
    from dama.operations.timelines import Timeline

WIDTH = 1000
NARROWEST = 2
SHORTEST_GAP = 0.15  # of all that is shown: idle time that is as long is cut
LEAST_GAP = 5.0  # seconds
GAP = 30  # what is left of it, of 1000
STEPS = 60
ATTEMPTS = 50
BUSY = ("running", "done", "failed")
WORDS = {
    "queued": "queued",
    "running": "ran",
    "waiting": "waited",
    "retrying": "paused for a retry",
}
COLOURS = {
    "failed": "error",
    "lost": "error",
}  # of a step or an attempt; all others are those of their kind


@dataclass(frozen=True)
class Part:
    """A part of a row.

    Attributes:
        x: Where it begins, of 1000.
        width: How long it is.
        kind: Its colour: that of a state.
    """

    x: float
    width: float
    kind: str


@dataclass(frozen=True)
class Row:
    """One context or step.

    Attributes:
        lane: The context; None for a step.
        step: The step; None for a context.
        parts: What it did.
        seconds: How long it took, until now when it is open.
        text: What it did, in words.
        begin: Seconds after the begin of the timeline.
        end: The same of its end.
    """

    lane: Lane | None
    step: Span | None
    parts: Sequence[Part]
    seconds: float
    text: str
    begin: float
    end: float


@dataclass(frozen=True)
class Gantt:
    """A timeline as it is drawn.

    Attributes:
        lanes: The context, and what it started.
        steps: The latest of its steps, in their order.
        attempts: A bar for each of its attempts, by their numbers.
        left_out: How many earlier steps there are.
        begin: The time of the left edge.
        end: That of the right one.
        cuts: Where idle time was cut: the place of 1000, and how long it was.
        zoom: The seconds shown, from the begin of the context.
        whole: How many seconds there are.
    """

    lanes: Sequence[Row]
    steps: Sequence[Row]
    attempts: Mapping[int, Row]
    left_out: int
    begin: datetime
    end: datetime
    cuts: Sequence[tuple[float, str]]
    zoom: tuple[float, float]
    whole: float

    def zoomed(self, factor: float) -> str:
        """The zoom that shows so much of the time around the same middle."""
        low, high = self.zoom
        middle, half = (low + high) / 2, (high - low) * factor / 2
        return f"{max(middle - half, 0):.3f}-{min(middle + half, self.whole):.3f}"


class Scale:
    """Where a time is, of 1000: linear, but for the idle times, which are short.

    Args:
        low: The seconds of the left edge.
        high: Those of the right one.
        busy: When something was done; between them it was idle.
        is_true: Nothing is cut.
    """

    def __init__(
        self, low: float, high: float, busy: Sequence[tuple[float, float]], *, is_true: bool
    ) -> None:
        whole = max(high - low, 0.001)
        self.gaps: list[tuple[float, float]] = []
        reached = low
        for begin, end in [*sorted(busy), (high, high)] if busy else ():
            begin = min(max(begin, low), high)  # noqa: PLW2901 - clipped
            if begin - reached > max(whole * SHORTEST_GAP, LEAST_GAP) and not is_true:
                self.gaps.append((reached, begin))
            reached = max(reached, min(end, high))
        left = whole - sum(end - begin for begin, end in self.gaps)
        self.low, self.high = low, high
        self._unit = (WIDTH - GAP * len(self.gaps)) / max(left, 0.001)

    def __call__(self, seconds: float) -> float:
        """The place of a time; one that is not shown is at the edge."""
        at = min(max(seconds, self.low), self.high)
        place, reached = 0.0, self.low
        for begin, end in self.gaps:
            if at <= begin:
                break
            place += (begin - reached) * self._unit
            if at < end:
                return place + GAP * (at - begin) / (end - begin)
            place, reached = place + GAP, end
        return min(place + (at - reached) * self._unit, WIDTH)


def gantt(
    told: Timeline, zoom: tuple[float, float] | None = None, *, is_true: bool = False
) -> Gantt:
    """Draw a timeline.

    Args:
        told: What happened when.
        zoom: Only these seconds of it.
        is_true: Idle time is as long as it was.
    """
    steps = told.steps[-STEPS:]
    every = [told.own, *told.children]
    clock = _Clock(told.own.begin, told.now)
    whole = max([0.001, *(clock(lane.end) for lane in every)])
    low, high = zoom or (0.0, whole)
    high = min(max(high, low + 0.001), max(whole, low + 0.001))
    spans = [span for lane in every for span in lane.spans]
    busy = [(clock(s.begin), clock(s.end)) for s in [*spans, *steps] if s.kind in BUSY]
    scale = Scale(low, high, busy, is_true=is_true)
    rows = _Rows(clock, scale)
    return Gantt(
        lanes=[rows.of_lane(lane) for lane in every],
        steps=[rows.of_step(step) for step in steps],
        attempts={each.number: rows.of_attempt(each) for each in told.attempts[-ATTEMPTS:]},
        left_out=len(told.steps) - len(steps),
        begin=told.own.begin + timedelta(seconds=low),
        end=told.own.begin + timedelta(seconds=high),
        cuts=[(round(scale(b) + GAP / 2, 1), shown_duration(e - b)) for b, e in scale.gaps],
        zoom=(low, high),
        whole=whole,
    )


@dataclass(frozen=True)
class _Clock:
    """Seconds after the begin of the timeline; what lasts lasts until now."""

    origin: datetime
    now: datetime

    def __call__(self, moment: datetime | None) -> float:
        return max(((moment or self.now) - self.origin).total_seconds(), 0.0)


@dataclass(frozen=True)
class _Rows:
    """Makes the rows of a chart."""

    clock: _Clock
    scale: Scale

    def of_lane(self, lane: Lane) -> Row:
        begin, end = self.clock(lane.begin), self.clock(lane.end)
        found = [(s.kind, self.clock(s.begin), self.clock(s.end)) for s in lane.spans]
        if found and lane.context.status == "ERROR":
            found[-1] = ("error", *found[-1][1:])
        if not lane.is_whole or not found:
            found.insert(0, ("open", begin, found[0][1] if found else end))
        words = _words(lane, self.clock.now)
        return Row(lane, None, self._parts(*found), end - begin, words, begin, end)

    def of_step(self, step: Span) -> Row:
        begin, end = self.clock(step.begin), self.clock(step.end)
        shown = self._parts((COLOURS.get(step.kind, step.kind), begin, end))
        return Row(None, step, shown, end - begin, step.kind, begin, end)

    def of_attempt(self, attempt: Try) -> Row:
        begin, end = self.clock(attempt.begin), self.clock(attempt.end)
        outcome = attempt.outcome or "running"
        shown = self._parts((COLOURS.get(outcome, outcome), begin, end))
        text = f"attempt {attempt.number}: {outcome}, {shown_duration(end - begin)}"
        return Row(None, None, shown, end - begin, text, begin, end)

    def _parts(self, *found: tuple[str, float, float]) -> Sequence[Part]:
        low, high = self.scale.low, self.scale.high
        return [self._part(*each) for each in found if each[2] >= low and each[1] <= high]

    def _part(self, kind: str, begin: float, end: float) -> Part:
        x = self.scale(begin)
        width = max(self.scale(end) - x, NARROWEST)
        return Part(round(min(x, WIDTH - NARROWEST), 1), round(width, 1), kind)


def _words(lane: Lane, now: datetime) -> str:
    """How long it was in each state, in words."""
    sums: dict[str, float] = {}
    for span in lane.spans:
        length = ((span.end or now) - span.begin).total_seconds()
        sums[span.kind] = sums.get(span.kind, 0.0) + length
    known = "" if lane.is_whole else "of the latest events: "
    return known + ", ".join(f"{WORDS[kind]} {shown_duration(s)}" for kind, s in sums.items())
