"""Output: the same bytes for programs, aligned columns for people."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from dama.cli.output import counted, duration, json_text, print_table, shortened


@dataclass
class Row:
    created_at: datetime


class Model(BaseModel):
    rows: int


def test_json_takes_dataclasses_dates_and_models():
    document = json_text([Row(datetime(2013, 1, 1, tzinfo=UTC)), Model(rows=1)])

    assert json.loads(document) == [{"created_at": "2013-01-01T00:00:00Z"}, {"rows": 1}]


def test_json_lines_are_one_line():
    assert json_text({"a": [1, None]}, indent=0) == '{"a":[1,null]}'


def test_columns_are_aligned_and_not_cut_in_a_pipe(capsys):
    print_table(["id", "status", "task"], [[1, "DONE", "x" * 300], [100, None, "y"]])

    head, first, second = capsys.readouterr().out.splitlines()
    assert head == "id   status  task"
    assert first == f"1    DONE    {'x' * 300}"
    assert second == "100  -       y"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.1, "0.0 s"),
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (59.7, "1 min 00 s"),
        (184, "3 min 04 s"),
        (7500, "2 h 05 min"),
        (timedelta(days=3, hours=4), "3 d 04 h"),
    ],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text


def test_a_count_that_was_stopped_says_so():
    assert (counted(9_999), counted(10_000)) == ("9999", "10000+")


def test_a_long_text_is_cut_to_its_first_line():
    assert shortened("one\ntwo", 10) == "one"
    assert shortened("1234567890x", 10) == "123456789…"
