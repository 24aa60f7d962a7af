"""Schedules: when they fire, around changes of the clock too, and what is made up for."""

from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dama.domain.errors import EmptyRangeError, InvalidScheduleError
from dama.domain.schedule import Schedule, firings_between

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"


def at(text, zone="UTC"):
    """A moment."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def local(schedule, after, count):
    """The next firings, by the clock of the zone, with the offset from UTC."""
    return [firing.isoformat() for firing in islice(schedule.firings(after), count)]


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            BERLIN,
            "2026-03-28T12:00",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
            id="its time is skipped: right after the gap",
        ),
        pytest.param(
            "30 2 * * *",
            BERLIN,
            "2026-10-24T12:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
            id="its time comes twice: the first",
        ),
        pytest.param(
            "*/30 * * * *",
            BERLIN,
            "2026-03-29T01:15",
            ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"],
            id="half-hourly: nothing in the gap",
        ),
        pytest.param(
            "*/30 * * * *",
            BERLIN,
            "2026-10-25T02:15",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:30:00+01:00"],
            id="half-hourly: both hours",
        ),
        pytest.param(
            "30 1 * * *",
            NEW_YORK,
            "2026-10-31T12:00",
            ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"],
            id="another zone, its time comes twice",
        ),
        pytest.param(
            "0 6 * * 1-5",
            BERLIN,
            "2026-11-20T12:00",
            ["2026-11-23T06:00:00+01:00", "2026-11-24T06:00:00+01:00"],
            id="working days",
        ),
    ],
)
def test_a_schedule_follows_the_clock_of_its_zone(cron, zone, after, expected):
    """Once a day stays once a day when the clock changes; what follows the hours does so."""
    schedule = Schedule("s", "a.b", cron, zone)

    assert local(schedule, at(after, zone), len(expected)) == expected


@pytest.mark.parametrize(
    ("catch_up", "fired", "missed"),
    [("none", [], 3), ("one", ["T02"], 2), ("all", ["T00", "T01", "T02"], 0)],
)
def test_firings_that_were_missed_are_made_up_for_as_was_wished(catch_up, fired, missed):
    """Three were, and nobody looked until long after the last."""
    schedule = Schedule("s", "a.b", "0 * * * *", catch_up=catch_up)

    due = schedule.due(at("2026-01-01T00:00"), at("2026-01-01T02:30"))

    assert [firing.isoformat()[10:13] for firing in due.firings] == fired
    assert (due.following, due.missed) == (at("2026-01-01T03:00"), missed)


def test_a_firing_that_is_on_time_was_not_missed():
    """Whoever makes up for none starts it a moment later all the same."""
    schedule = Schedule("s", "a.b", "0 * * * *", catch_up="none")

    due = schedule.due(at("2026-01-01T00:00"), at("2026-01-01T00:00") + timedelta(seconds=3))

    assert due.firings == [at("2026-01-01T00:00")]


def test_nothing_is_due_before_its_time():
    """The next firing stays what it is."""
    due = Schedule("s", "a.b", "0 * * * *").due(at("2026-01-01T01:00"), at("2026-01-01T00:59"))

    assert (due.firings, due.following) == ([], at("2026-01-01T01:00"))


def test_a_long_absence_is_made_up_for_in_parts():
    """A thousand at a time, none of them lost."""
    schedule = Schedule("s", "a.b", "* * * * *", catch_up="all")
    first, now = at("2026-01-01T00:00"), at("2026-01-02T00:00")
    found = []
    while (due := schedule.due(first, now)).firings:
        found += due.firings
        first = due.following

    assert len(found) == len(set(found)) == 24 * 60 + 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cron": "61 * * * *"}, "'61 \\* \\* \\* \\*' is not a cron expression: Bad minute"),
        ({"cron": "daily"}, "is not a cron expression"),
        ({"cron": "*/1," * 100_000 + "1 * * * *"}, "has 400,009 characters; 1,000 are allowed"),
        ({"cron": "* * * * * *"}, "is not a cron expression: Wrong number of fields"),
        ({"cron": "0 0 31 2 *"}, "is not a cron expression: Bad day-of-month"),
        ({"zone": "Berlin"}, "'Berlin' is not a time zone"),
        ({"zone": "../etc/passwd"}, "is not a time zone"),
    ],
)
def test_a_wrong_schedule_says_what_was_found(wrong, said):
    """Before it is kept."""
    schedule = Schedule(**{"name": "s", "task": "a.b", "cron": "0 0 * * *", **wrong})

    with pytest.raises(InvalidScheduleError, match=said):
        next(schedule.firings(at("2026-01-01T00:00")))


def test_the_time_of_the_firing_goes_into_the_params():
    """By the clock of the zone; what is no text stays as it is."""
    params = {"day": "{time:%Y-%m-%d}", "n": 1, "text": "a {brace}"}
    schedule = Schedule("s", "a.b", "0 0 * * *", BERLIN, params)

    assert schedule.params_at(at("2026-06-30T22:00")) == {**params, "day": "2026-07-01"}


@pytest.mark.parametrize("text", ["{time.nothing}", "{time[0]}", "{time:%Y} {other}", "{time"])
def test_a_text_that_can_not_be_filled_in_is_refused(text):
    """With the param and its text."""
    schedule = Schedule("s", "a.b", "0 0 * * *", params={"day": text})

    with pytest.raises(InvalidScheduleError, match="The param day is"):
        schedule.params_at(at("2026-01-01T00:00"))


def test_a_range_holds_its_begin_and_not_its_end():
    """Ranges that meet fire nothing twice."""
    schedule = Schedule("s", "a.b", "0 0 * * *", BERLIN)
    days = [at(f"2026-03-{day}T00:00", BERLIN) for day in ("28", "29", "30")]

    assert firings_between(schedule, days[0], days[2]) == days[:2]


def test_ranges_that_meet_in_the_gap_of_spring_lose_nothing():
    """The skipped firing comes right after the gap, which is where one of them begins."""
    schedule = Schedule("s", "a.b", "30 2 * * *", BERLIN)
    night, three, evening = (at(f"2026-03-29T{hour}:00", BERLIN) for hour in ("00", "03", "20"))

    assert firings_between(schedule, night, three) == []
    assert len(firings_between(schedule, three, evening)) == 1
    assert len(firings_between(schedule, night, evening)) == 1


@pytest.mark.parametrize(
    ("now", "fired"), [("2026-10-25T00:45", ["00:30"]), ("2026-10-25T01:10", ["00:30", "01:00"])]
)
def test_the_hour_that_comes_twice_is_not_mistaken_for_the_other(now, fired):
    """Also when all times are of one zone, as a session of the database may give them."""
    schedule = Schedule("s", "a.b", "*/30 * * * *", BERLIN, catch_up="all")
    first, moment = (at(text).astimezone(ZoneInfo(BERLIN)) for text in ("2026-10-25T00:30", now))

    due = schedule.due(first, moment)

    assert [f"{firing.astimezone(ZoneInfo('UTC')):%H:%M}" for firing in due.firings] == fired


def test_a_range_that_ends_before_it_begins_is_refused():
    """It would start nothing, and say nothing; one in which nothing fires is a range."""
    schedule = Schedule("s", "a.b", "0 4 * * *")
    early, late = at("2026-01-01T00:00"), at("2026-01-02T00:00")

    for begin, end in ((late, early), (early, early)):
        with pytest.raises(EmptyRangeError, match="is empty"):
            firings_between(schedule, begin, end)
    assert firings_between(schedule, early, at("2026-01-01T04:00")) == []


def test_a_range_without_end_is_refused():
    """Ten thousand are enough."""
    schedule = Schedule("s", "a.b", "* * * * *")

    with pytest.raises(InvalidScheduleError, match="more than 10000"):
        firings_between(schedule, at("2026-01-01T00:00"), at("2027-01-01T00:00"))


@given(st.integers(0, 2**31), st.floats(0, 3600))
def test_jitter_is_the_same_for_all_and_within_its_bound(seconds, jitter):
    """Two schedulers would start the same run."""
    schedule = Schedule("s", "a.b", "0 0 * * *", jitter=jitter)
    firing = datetime.fromtimestamp(seconds, ZoneInfo("UTC"))

    assert 0 <= schedule.delay(firing) == schedule.delay(firing) <= jitter
