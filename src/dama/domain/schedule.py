"""Schedules: when a task is to be started, by a cron expression in a time zone.

Times are aware, and a time is always a parameter. Around a change of the clock it is as Debian's
cron has it: an expression with a fixed hour fires once a day, right after the gap when its time is
skipped, and at the first of two equal times; one with `*` or `*/n` in its hour follows the time
that passes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from dama.domain.errors import EmptyRangeError, InvalidScheduleError
from dama.domain.profile import flaw_of_name

if TYPE_CHECKING:
    from collections.abc import Iterator

CatchUp = Literal["none", "one", "all"]
Overlap = Literal["allow", "skip", "queue"]

ON_TIME = timedelta(minutes=1)
NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What cron calls some expressions."""
FIELDS = ("minute", "hour", "day of month", "month", "day of week")
LARGEST_CATCH_UP = 1000
LONGEST_CRON = 1_000  # reading it takes as long as it is
LARGEST_BACKFILL = 10_000
LONGEST_NAME = 900  # bytes: it is a part of the keys of its firings
LARGEST_JITTER = 36_500 * 86_400  # seconds; as long as a start can be delayed
TIME_FIELD = "{time"


@dataclass(frozen=True)
class Schedule:
    """When a task is to be started, and with which params.

    Attributes:
        name: Its name.
        task: The full name of the task.
        cron: Five fields: minute, hour, day of month, month, day of week; or a name such as
            `@daily`.
        zone: Whose clock it follows, such as `Europe/Berlin`.
        params: What the task takes. A text may hold `{time:%Y-%m-%d}`: when it was to fire.
        catch_up: How firings are handled that were missed while nobody looked: "none" of them is
            made up for, the latest "one", or "all".
        overlap: When the run of an earlier firing is open: "allow" another beside it, "skip" the
            firing, or "queue" it until the earlier one has ended.
        jitter: Seconds over which firings are spread, so that many do not start at once.
    """

    name: str
    task: str
    cron: str
    zone: str = "UTC"
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    catch_up: CatchUp = "one"
    overlap: Overlap = "skip"
    jitter: float = 0.0

    def check(self) -> None:
        """Refuse what would be found out later, when it fires or is asked for.

        Raises:
            InvalidScheduleError: Its name cannot be kept, or its jitter is not a number of seconds.
        """
        if flaw := flaw_of_name(self.name, LONGEST_NAME):
            raise InvalidScheduleError(f"The name of a schedule {flaw}", "Such as nightly.")
        if not 0 <= self.jitter <= LARGEST_JITTER:
            raise InvalidScheduleError(
                f"The jitter must be 0 to {LARGEST_JITTER:,} seconds, got {self.jitter}."
            )

    def firings(self, after: datetime) -> Iterator[datetime]:
        """The times at which it fires, without end.

        Args:
            after: The first one is later.

        Raises:
            InvalidScheduleError: The expression or the zone is none.
        """
        zone = zone_of(self.zone)
        check_cron(self.cron)  # cronsim would take seconds too
        yield from CronSim(expanded(self.cron), after.astimezone(zone))

    def due(self, first: datetime, now: datetime) -> Due:
        """What to start now.

        Args:
            first: When it was to fire next, as it was known.
            now: What time it is.
        """
        # Times of one zone are compared by its clock, which shows an hour twice in autumn.
        first, now = first.astimezone(UTC), now.astimezone(UTC)
        if first > now:
            return Due([], first, 0)
        passed, latest = [first], first
        count = 1
        for firing in self.firings(first):
            if firing > now:
                made_up_for = self._made_up_for(passed, latest, now)
                return Due(made_up_for, firing, count - len(made_up_for))
            if self.catch_up == "all" and count == LARGEST_CATCH_UP:
                return Due(passed, firing, 0)  # the rest comes with the next look
            if self.catch_up == "all":
                passed.append(firing)
            latest = firing
            count += 1
        raise InvalidScheduleError(f"{self.cron!r} never fires.", "Is there such a day?")

    def _made_up_for(
        self, passed: Sequence[datetime], latest: datetime, now: datetime
    ) -> Sequence[datetime]:
        if self.catch_up == "all":
            return passed
        return [latest] if self.catch_up == "one" or now - latest < ON_TIME else []

    def delay(self, firing: datetime) -> float:
        """The seconds by which a firing is spread: the same whoever asks."""
        number = zlib.crc32(f"{self.name}@{firing.timestamp()}".encode())
        return self.jitter * number / 2**32

    def key(self, firing: datetime) -> str:
        """The idempotency key of a firing."""
        return f"schedule/{self.name}@{firing.astimezone(UTC).isoformat()}"

    def params_at(self, firing: datetime) -> dict[str, Any]:
        """The params of a firing, with its time filled in, by the clock of the zone.

        Raises:
            InvalidScheduleError: A text has a field that is not the time.
        """
        local = firing.astimezone(zone_of(self.zone))
        return {name: self._filled(name, value, local) for name, value in self.params.items()}

    def _filled(self, name: str, value: object, time: datetime) -> object:
        if not isinstance(value, str) or TIME_FIELD not in value:
            return value
        try:
            return value.format(time=time)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise InvalidScheduleError(
                f"The param {name} is {value!r}, which cannot be filled in: {error}.",
                "A text may hold the time of the firing, such as {time:%Y-%m-%d}.",
            ) from error


@dataclass(frozen=True)
class Due:
    """What a schedule wants now.

    Attributes:
        firings: To be started now, the oldest first.
        following: When to look again.
        missed: How many firings are not made up for.
    """

    firings: Sequence[datetime]
    following: datetime
    missed: int


def firings_between(schedule: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    """The firings of a range, its begin included and its end not.

    Raises:
        EmptyRangeError: It ends before it begins, or where it begins.
        InvalidScheduleError: There are more than 10,000.
    """
    if end.astimezone(UTC) <= begin.astimezone(UTC):
        raise EmptyRangeError(
            f"The range from {begin} to {end} is empty.",
            "Its end is the first moment that is not meant: it must be after its begin.",
        )
    begin, end = begin.astimezone(UTC), end.astimezone(UTC)
    most = LARGEST_BACKFILL
    found: list[datetime] = []
    for firing in islice(schedule.firings(begin - timedelta(seconds=1)), most + 1):
        if firing >= end:
            return found
        found.append(firing)
    raise InvalidScheduleError(
        f"There are more than {most} firings from {begin} to {end}.", "Take a shorter range."
    )


def latest_firings(schedule: Schedule, begin: datetime, end: datetime, most: int) -> list[datetime]:
    """The latest firings of a range, its begin included and its end not, at most so many."""
    begin, end = begin.astimezone(UTC), end.astimezone(UTC)
    zone = zone_of(schedule.zone)
    check_cron(schedule.cron)
    back = CronSim(expanded(schedule.cron), end.astimezone(zone), reverse=True)
    found = list(takewhile(lambda at: at.astimezone(UTC) >= begin, islice(back, most)))
    # Again forwards: in a night in which the clock changes, only that way is as it fires.
    return firings_between(schedule, found[-1], end)[-most:] if found else []


def expanded(cron: str) -> str:
    """A cron expression in five fields, of a name such as `@daily` too."""
    return NICKNAMES.get(cron.strip().lower(), cron)


def check_cron(cron: str) -> None:
    """Refuse what is not a cron expression.

    Raises:
        InvalidScheduleError: It is not one; a name such as `@reboot` has no times at all.
    """
    if len(cron) > LONGEST_CRON:
        raise InvalidScheduleError(
            f"The cron expression has {len(cron):,} characters; {LONGEST_CRON:,} are allowed.",
            "Write ranges and steps, such as 0-59/5.",
        )
    expression = expanded(cron)
    if len(expression.split()) != len(FIELDS):
        raise _no_cron(cron, "Wrong number of fields")
    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise _no_cron(cron, error) from error


def _no_cron(text: str, why: object) -> InvalidScheduleError:
    return InvalidScheduleError(
        f"{text!r} is not a cron expression: {why}.",
        f'It has five fields: {", ".join(FIELDS)}, such as "30 6 * * 1-5"; or it is one of '
        f"{', '.join(NICKNAMES)}.",
    )


def zone_of(name: str) -> ZoneInfo:
    """A time zone.

    Raises:
        InvalidScheduleError: There is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        near = [zone for zone in sorted(available_timezones()) if name.lower() in zone.lower()]
        raise InvalidScheduleError(
            f"{name!r} is not a time zone.",
            f"Did you mean {near[0]}?" if near and name else "Such as Europe/Berlin, or UTC.",
        ) from error
