"""JSON that somebody gives a command: itself, a file, standard input."""

import io
import sys
from decimal import Decimal

import click
import pytest

from dama.cli.json_input import read_json, read_object


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the files are."""
    (tmp_path / "params.json").write_text('\ufeff{"a": 3}\n')
    (tmp_path / "empty.json").write_text("\n")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "image").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "7").write_text('{"a": 7}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(text, monkeypatch):
    """Standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_document_a_file_and_standard_input_are_taken(folder, monkeypatch):
    typed('{"a": 2}', monkeypatch)

    assert read_object('{"a": 1}', "--params") == {"a": 1}
    assert read_object("-", "--params") == {"a": 2}
    assert read_object("params.json", "--params") == {"a": 3}
    assert read_object(str(folder / "params.json"), "--params") == {"a": 3}


def test_numbers_keep_their_digits():
    found = read_json("[12345678901234567890, 0.1234567890123456789]", "--payload")

    assert [str(found[0]), Decimal(str(found[1]))] == [
        "12345678901234567890",
        Decimal("0.1234567890123456789"),
    ]


@pytest.mark.parametrize(
    ("given", "stdin", "words"),
    [
        ("[1]", "", "'[1]' is not an object"),
        ("null", "", "'null' is not an object"),
        ("7", "", "'7' is not an object"),  # JSON first, whatever files there are
        ("list.json", "", "'list.json' is not an object"),
        ("none.json", "", "'none.json' is neither JSON"),
        ("{'a': 1}", "", "neither JSON"),
        ("", "", "neither JSON"),
        ("empty.json", "", "empty.json is not JSON: It is empty"),
        ("-", "", "Standard input is not JSON: It is empty"),
        ("-", "a=1", "Standard input is not JSON"),
        ("-", "[]", "Standard input is not an object"),
        (".", "", "Is a directory"),
        ("image", "", "image: "),
        ('{"a": 1, "a": 2}', "", 'an object has "a" twice'),
        ("-", '[{"a": {"b": 1, "b": 1}}]', 'an object has "b" twice'),
        ("x" * 10_000, "", "neither JSON"),
        ("a\0b", "", "neither JSON"),
    ],
)
def test_what_is_no_object_is_refused_in_one_line(monkeypatch, given, stdin, words):
    typed(stdin, monkeypatch)

    with pytest.raises(click.BadParameter) as caught:
        read_object(given, "--params")

    assert words in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.param_hint == "--params"
