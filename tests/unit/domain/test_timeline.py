"""What a run went through, from the kinds and times of its events."""

from datetime import UTC, datetime, timedelta

import pytest

from dama.domain.timeline import Mark, course, total_usage

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def marks(*told: str) -> list[Mark]:
    """One a second: `STARTED`, or `/load:DONE` for a step."""
    return [
        Mark(n, f"a.b{each if each.startswith('/') else f':{each}'}", BEGIN + timedelta(seconds=n),
             epoch=n)
        for n, each in enumerate(told)
    ]  # fmt: skip


def spans(*told: str) -> list[tuple[str, float, float | None]]:
    return [
        (
            each.kind,
            (each.begin - BEGIN).total_seconds(),
            None if each.end is None else (each.end - BEGIN).total_seconds(),
        )
        for each in course(marks(*told)).spans
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((), []),
        (("INITIAL",), [("queued", 0, None)]),
        (("INITIAL", "STARTED", "FINAL"), [("queued", 0, 1), ("running", 1, 2)]),
        (
            ("INITIAL", "STARTED", "RETRYING", "STARTED", "ERROR"),
            [("queued", 0, 1), ("running", 1, 2), ("retrying", 2, 3), ("running", 3, 4)],
        ),
        (
            ("INITIAL", "STARTED", "/s:SPAWNED", "/s:DONE", "/t:DONE", "FINAL"),
            [("queued", 0, 1), ("running", 1, 2), ("waiting", 2, 3), ("running", 3, 5)],
        ),
        (
            ("INITIAL", "STARTED", "/w:WAITING", "STARTED"),
            [("queued", 0, 1), ("running", 1, 2), ("waiting", 2, 3), ("running", 3, None)],
        ),
        (
            ("INITIAL", "CANCELLED", "RESUMED", "STARTED"),
            [("queued", 0, 1), ("queued", 2, 3), ("running", 3, None)],
        ),
        (("/t:DONE", "FINAL"), [("running", 0, 1)]),  # the begin is not known
    ],
)
def test_the_states_of_a_run_follow_each_other_without_gaps(told, expected):
    assert spans(*told) == expected


def test_a_step_takes_from_what_came_before_and_one_with_subtasks_from_their_start():
    found = course(marks("INITIAL", "STARTED", "/map:SPAWNED", "/a:DONE", "/b:FAILED", "/map:DONE"))

    assert [(s.name, s.kind, (s.end - s.begin).total_seconds()) for s in found.steps] == [
        ("a", "done", 1), ("b", "failed", 1), ("map", "done", 3),
    ]  # fmt: skip


def test_an_attempt_whose_worker_died_is_lost_and_an_adopted_one_is_the_same():
    told = ("INITIAL", "STARTED", "STARTED", "ADOPTED", "RETRYING", "STARTED", "FINAL")

    found = course(marks(*told)).attempts

    assert [(each.number, each.epoch, each.outcome) for each in found] == [
        (1, 1, "lost"), (2, 3, "failed"), (3, 5, "done"),
    ]  # fmt: skip


def test_what_attempts_used_is_summed_and_of_memory_the_most():
    first, *others = marks("STARTED", "RETRYING", "STARTED", "FINAL")
    used = [{"user": 1.5, "max_rss": 7}, None, {"user": 0.5, "max_rss": 5, "odd": "x"}]
    told = [m._replace(usage=u) for m, u in zip(others, used, strict=True)]

    assert total_usage(course([first, *told]).attempts) == {"user": 2.0, "max_rss": 7}
    assert total_usage([]) is None
