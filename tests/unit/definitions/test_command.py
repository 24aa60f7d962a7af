"""Commands: each value is one argument, whatever it has in it, and options come and go with it."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dama.definitions.command import as_text, escape, expand, fill


@given(st.text())
def test_a_value_is_one_argument_whatever_it_has_in_it(value):
    """No shell reads it: spaces, quotes, $(...) and further braces are text."""
    assert expand(("load", "--name", "{name}"), {"name": value}) == ["load", "--name", value]


@pytest.mark.parametrize(
    ("command", "values", "argv"),
    [
        (("--year={year}",), {"year": 2013}, ["--year=2013"]),
        (("{a}..{b}",), {"a": 1, "b": 2}, ["1..2"]),
        (("--year={year}", "x"), {"year": None}, ["x"]),
        ((("--year", "{year}"), "x"), {"year": None}, ["x"]),
        ((("--year", "{year}"),), {"year": 0}, ["--year", "0"]),
        ((("--from", "{a}", "--to", "{b}"),), {"a": 1, "b": None}, []),
        (("--check{?check}",), {"check": True}, ["--check"]),
        (("--check{?check}",), {"check": False}, []),
        (("--no-check{!check}",), {"check": False}, ["--no-check"]),
        (("--no-check{!check}",), {"check": True}, []),
        ((("--log", "x{?months}"),), {"months": []}, []),
        (("--n{?n}",), {"n": 0}, ["--n"]),
        (("{files}",), {"files": ["a", "b c"]}, ["a", "b c"]),
        ((("-m", "{months}"),), {"months": [1, 2]}, ["-m", "1", "-m", "2"]),
        (
            (("-m", "{year}-{months}"),),
            {"year": 13, "months": (1, 2)},
            ["-m", "13-1", "-m", "13-2"],
        ),
        (("{files}",), {"files": []}, []),
        (("{gone}",), {}, []),
        (("",), {}, [""]),
    ],
)
def test_elements_and_groups_drop_out_and_are_repeated(command, values, argv):
    """With a value of None an element or its group is left out; a list repeats it."""
    assert expand(command, values) == argv


@pytest.mark.parametrize(
    "text", ["{{year}}", "${year}", "{print $1}", '{"a": {"b": 1}}', "[0-9]{4}"]
)
def test_other_braces_are_text(text):
    """awk, JSON, regular expressions and shells have their own."""
    assert fill(text, {"year": 2013}) == text.replace("{{year}}", "{year}")


@given(st.text(alphabet="{}$?!ab "))
@example("{{a}}")
@example("${{!b}} {a}")
def test_an_escaped_text_comes_out_as_it_was(text):
    """So that what others wrote can be put into a declaration."""
    assert fill(escape(text), {"a": "X", "b": "X", "ab": "X"}) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.5, "1.5"),
        (date(2013, 1, 31), "2013-01-31"),
        (datetime.fromisoformat("2013-01-31T12:00:00"), "2013-01-31T12:00:00"),
        (datetime(2013, 1, 31, 12, tzinfo=UTC), "2013-01-31T12:00:00Z"),
        (Path("a/b"), "a/b"),
        (["é", 1], '["é", 1]'),
    ],
)
def test_a_value_is_written_as_the_params_have_it(value, text):
    """Whether the params come from an event or were just validated."""
    assert as_text(value) == text
