"""The board: what a tree of contexts is doing, told from its events; and the lines of it."""

from datetime import UTC, datetime, timedelta

import pytest

from dama.cli.board import Board, progress_text
from dama.cli.lines import Lines, described
from dama.domain.event import StoredEvent

START = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture
def board():
    return Board(root=42)


def event(type_, payload=None, *, context_id=42, second=0):
    return StoredEvent(
        type=type_,
        payload=payload,
        event_id=1,
        context_id=context_id,
        version=1,
        created_at=START + timedelta(seconds=second),
    )


def test_a_run_is_told_from_its_events(board):
    for second, (type_, payload) in enumerate(
        [
            ("flights.load:INITIAL", {}),
            ("flights.load:STARTED", None),
            ("flights.load/count:DONE", 3),
            ("flights.load:RETRYING", {"message": "lost connection"}),
            ("flights.load:STARTED", None),
            ("flights.load/copy:DONE", None),
        ]
    ):
        row = board.apply(event(type_, payload, second=second))

    assert (row.task, row.status, row.attempts) == ("flights.load", "running", 2)
    assert (row.steps, row.step) == (2, "copy")
    assert row.error == "lost connection"
    assert row.seconds == 5


@pytest.mark.parametrize(
    ("type_", "status"),
    [
        ("flights.load:FINAL", "done"),
        (":FINAL", "done"),
        ("flights.load:ERROR", "failed"),
        ("flights.load:CANCELLED", "cancelled"),
        ("flights.load:RESUMED", "queued"),
        ("rows/month_loaded", "running"),
    ],
)
def test_status_after_an_event(board, type_, status):
    board.apply(event("flights.load:INITIAL"))
    board.apply(event("flights.load:STARTED"))

    assert board.apply(event(type_, {"message": "x"})).status == status


def test_a_user_s_event_that_looks_like_a_step_is_none(board):
    """Only `<task>/<step>:DONE` is one: others may end their types as they like."""
    board.apply(event("flights.load:INITIAL"))

    assert board.apply(event("other.task/count:DONE")).steps == 0


def test_subtasks_are_as_deep_as_who_started_them(board):
    board.apply(event("a.load:INITIAL"))
    board.apply(event("a.load/map:SPAWNED", {"context_ids": [43]}))
    board.apply(event("a.month:INITIAL", context_id=43))
    board.apply(event("a.month/map:SPAWNED", {"context_ids": [44]}, context_id=43))
    board.apply(event("a.day:INITIAL", context_id=44))

    assert [row.depth for row in board.rows.values()] == [0, 1, 2]
    assert board.rows[42].subtasks == 1


@pytest.mark.parametrize(
    ("type_", "payload", "text"),
    [
        ("a.b:INITIAL", None, "queued"),
        ("a.b:STARTED", None, "started"),
        ("a.b:PROGRESS", {"done": 5000, "total": 27004, "unit": "rows"}, "5,000 of 27,004 rows"),
        ("a.b:LOG", {"message": "Counting", "length": 3}, "Counting  length=3"),
        ("a.b/copy:DONE", {"rows": 1}, "step copy done"),
        ("a.b/map:SPAWNED", {"context_ids": [1, 2]}, "map: 2 subtasks"),
        ("rows/month_loaded", {"month": 1}, "rows/month_loaded"),
        ("x:y", [1], "x:y"),
    ],
)
def test_an_event_in_words(board, type_, payload, text):
    board.apply(event("a.b:INITIAL"))
    happened = event(type_, payload)

    assert described(happened, board.apply(happened)) == text


def test_progress_is_written_at_most_every_few_seconds(board, capsys):
    """A task may report each of a million rows; a log must stay readable."""
    lines = Lines(board)
    lines.show(event("a.b:INITIAL"))
    for second in range(12):
        lines.show(event("a.b:PROGRESS", {"done": second}, second=second))

    written = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in written] == ["queued", "0", "5", "10"]


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        ({"done": 1, "total": None, "unit": "files"}, "1 files"),
        ({"message": "sorting"}, "sorting"),
        ({}, ""),
    ],
)
def test_progress_in_words(progress, text):
    assert progress_text(progress) == text
