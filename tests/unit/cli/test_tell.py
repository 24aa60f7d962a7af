"""`dama emit` within a program: one line, so cheap that it may stand in a loop."""

import json
import os
import subprocess
import sys

import pytest

from dama.cli import main


@pytest.fixture
def events(tmp_path, monkeypatch):
    """The file that a program tells by."""
    path = tmp_path / "events"
    monkeypatch.setenv("DAMA_EVENTS", str(path))
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-5", -5),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ("", ""),
        ("007", "007"),
        ("²", "²"),
        ("2013-01-01", "2013-01-01"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ('{"a": [1, "é"]}', {"a": [1, "é"]}),
        ("[1", "[1"),
        ('"quoted"', "quoted"),
        ("a=b", "a=b"),
        ("line\nbreak", "line\nbreak"),
    ],
)
def test_what_is_json_is_taken_as_json_and_the_rest_as_text(events, text, value):
    assert main(["emit", "rows/loaded", f"name={text}"]) == 0
    assert events.read_text().count("\n") == 1
    assert json.loads(events.read_text()) == {"type": "rows/loaded", "payload": {"name": value}}


def test_each_call_appends_a_line(events):
    for number in range(3):
        assert main(["emit", ":PROGRESS", f"done={number}"]) == 0
    main(["emit", "over"])
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line.get("payload", {}).get("done") for line in lines] == [0, 1, 2, None]
    assert lines[-1] == {"type": "over"}


@pytest.mark.parametrize("pairs", [["a=1", "a=2"], ['a={"b": [{"c": 1, "c": 1}]}']])
def test_what_says_something_twice_is_refused(events, capsys, pairs):
    assert main(["emit", "rows/loaded", *pairs]) == 2
    assert "twice" in capsys.readouterr().err
    assert not events.exists()


def test_what_is_no_pair_is_refused_with_an_example(events, capsys):
    assert main(["emit", "rows/loaded", "rows"]) == 2
    assert "'rows' is no name=value" in capsys.readouterr().err
    assert not events.exists()


def test_a_file_that_can_not_be_written_is_named(monkeypatch, capsys):
    monkeypatch.setenv("DAMA_EVENTS", "/no/such/folder/events")
    assert main(["emit", "a"]) == 3
    assert "/no/such/folder/events" in capsys.readouterr().err


def test_it_loads_nothing_that_takes_time(events):
    """Start-up is all that it costs: no click, no driver, not even re or typing."""
    script = (
        "import sys; before = set(sys.modules); from dama.cli import main\n"
        "assert main(['emit', 'a', 'rows=3', 'name=x']) == 0\n"
        "heavy = {'click', 'psycopg', 're', 'json', 'typing', 'asyncio'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert json.loads(events.read_text()) == {"type": "a", "payload": {"rows": 3, "name": "x"}}
