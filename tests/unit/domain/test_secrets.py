"""Secrets are found however a program prints them."""

import base64
import json
import os
from urllib.parse import quote

import pytest

from dama.domain.secrets import Secrets, passwords_in, without_password

ODD = 'pä"ss\\w0rd /&?'


@pytest.mark.parametrize(
    "text",
    [
        ODD,
        f"before {ODD} after",
        json.dumps({"a": ODD}),
        json.dumps({"a": ODD}, ensure_ascii=False),
        quote(ODD, safe=""),
        base64.b64encode(ODD.encode()).decode(),
        base64.b64encode(f"user:{ODD}".encode()).decode(),
        base64.b64encode(f"u:{ODD}".encode()).decode(),
        base64.b64encode(f"us:{ODD}".encode()).decode(),
    ],
)
def test_a_secret_is_struck_out_in_every_form(text):
    struck = Secrets([ODD]).strike(text)
    assert struck != text
    assert "***" in struck
    assert "ss" not in struck.replace("***", "").replace("user", "")


def test_values_of_json_are_struck_out_however_deep():
    secrets = Secrets(["hunter22", "998877"])
    value = {"hunter22": [{"a": "x hunter22 y"}, 998877, 1, None, True, 99887.7], "n": 9988770}
    assert secrets.strike_all(value) == {
        "***": [{"a": "x *** y"}, "***", 1, None, True, 99887.7],
        "n": 9988770,
    }


def test_the_longest_is_struck_out_first():
    """Of a secret that begins with another nothing is left over."""
    assert Secrets(["abcd", "abcdefgh"]).strike("abcdefgh abcd") == "*** ***"


def test_short_values_are_passed_over():
    secrets = Secrets(["", "x", "abc"])
    assert not secrets
    assert secrets.strike("abc") == "abc"


def test_each_long_line_of_a_key_is_a_secret():
    key = "-----BEGIN KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END KEY-----\n"
    struck = Secrets([key]).strike("-----BEGIN KEY-----\nline BgkqhkiG9w0B end")
    assert struck == "-----BEGIN KEY-----\nline *** end"


PEM = (
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7\nq1A=\n"
    "-----END PRIVATE KEY-----\n"
)


@pytest.mark.parametrize("stored", [PEM, PEM.replace("\n", "\r\n"), PEM.replace("\n", "\\n")])
@pytest.mark.parametrize("printed", ["{}", "  {}", "{}\r", "b'{}\\n'", '"{}",'])
def test_a_key_of_several_lines_is_struck_out_however_its_lines_are_printed(stored, printed):
    """Also its last line, which is short, and with `\\n` in a file of variables."""
    secrets = Secrets([stored])
    lines = [line for line in PEM.splitlines() if "-----" not in line]
    for line in lines:
        shown = printed.format(line)
        assert line not in secrets.strike(shown)
        masked = secrets.mask(f"a\n{shown}\nb".encode())
        assert line.encode() not in masked
        assert len(masked) == len(shown) + 4
    assert not any(line in secrets.strike(" ".join(lines)) for line in lines)


def test_a_mask_keeps_lines_and_places():
    masked = Secrets([PEM]).mask(f"begin\n{PEM}::dama:: {{}}\n".encode())
    assert masked.count(b"\n") == PEM.count("\n") + 2
    assert masked.endswith(b"\n::dama:: {}\n")


def test_what_overlaps_is_one_secret():
    """Of neither a part is left."""
    assert Secrets(["abcdef", "efghij"]).strike("x abcdefghij y") == "x *** y"


def test_a_secret_that_is_not_utf_8_is_struck_out_as_well():
    """As the environment of Linux may have it."""
    value = os.fsdecode(b"pa\xffss\xfeword")
    secrets = Secrets([value, f"postgresql://me:{value}x@h/d", f"a={value}%41"])
    assert secrets.mask(b"is pa\xffss\xfeword.") == b"is **********."
    assert secrets.strike(b"is pa\xffss\xfeword.".decode(errors="replace")) == "is ***."


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://me:p%40ss%2Fword@db.example.org/etl",
        "host=db password='p@ss/word' user=me",
        "host=db PASSWORD = p@ss/word user=me",
        "postgresql://db/etl?user=me&password=p%40ss%2Fword",
    ],
)
def test_the_password_of_a_connection_string_is_a_secret_by_itself(conninfo):
    assert "p@ss/word" in passwords_in(conninfo)
    assert Secrets([conninfo]).strike("it is p@ss/word!") == "it is ***!"
    assert "word" not in without_password(conninfo).replace("password", "")


@pytest.mark.parametrize(
    "malformed",
    [
        "postgresql://me:hunter22@db:port/etl",
        "postgresql://me:hun/ter22@db/etl",
        "postgresql://me:hunter22@[::1/etl",
        "postgres:/me:hunter22@db/etl",
        "password=hunter22 more dbname",
        "password='hunter22 dbname=x",
        "postgresql://me:hun@ter22@db/etl",
        "could not parse postgresql://me:hunter22@db!",
    ],
)
def test_a_malformed_connection_string_shows_no_password(malformed):
    assert "hun" not in without_password(malformed)
    assert "ter22" not in without_password(malformed)


def test_a_repr_shows_no_secret():
    assert "hunter22" not in repr(Secrets(["hunter22"]))
