"""Passwords of databases are in no message and in no list of processes."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from dama.config.config import ExternalDatabase
from dama.store.conninfo import split_secrets

DAMA = str(Path(sys.executable).with_name("dama"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hunter2@[bad/db",
        "postgres//u:hunter2@h/db",
        "host=x pass word=hunter2",
        "postgresql://u:hun%ter2@h/db",
        "password=hunter2 foo",
        "hunter2",
    ],
)
@pytest.mark.parametrize("command", [("ls",), ("db", "url"), ("doctor",), ("--debug", "ls")])
def test_a_malformed_address_is_not_repeated(tmp_path, address, command, forked):
    environ = {**os.environ, "DAMA_DATABASE_URL": address}
    done = subprocess.run(
        [forked.dama, *command],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout + done.stderr
    assert done.returncode == 2, text
    assert "DAMA_DATABASE_URL cannot be read" in text
    for part in ("hunter2", "hun%ter2", "ter2"):
        assert part not in text


def test_psql_gets_the_password_by_its_environment(tmp_path):
    """Everybody on the machine sees arguments."""
    fake = tmp_path / "psql"
    fake.write_text('#!/bin/sh\necho "args: $*"\necho "password: $PGPASSWORD"\n')
    fake.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "DAMA_DATABASE_URL": "postgresql://u:hunter2@h/db",
    }
    done = subprocess.run(
        [DAMA, "db", "psql", "--", "-c", "x"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    arguments, password = done.stdout.splitlines()
    assert "hunter2" not in arguments
    assert arguments.endswith("-c x")
    assert password.endswith(": hunter2")


def test_an_address_is_split_and_hidden():
    address, secrets = split_secrets("postgresql://u:p%40ss@h:5/db?sslmode=require")
    assert secrets == {"password": "p@ss"}
    assert "ss" not in address.replace("sslmode", "")
    assert "p@ss" not in repr(ExternalDatabase("postgresql://u:p@ss@h/d", "x"))


@pytest.mark.parametrize("as_url", [True, False])
def test_psql_gets_other_secrets_by_a_file_of_its_own(tmp_path, database_url, as_url):
    """They have no variable. psql connects, also a second time, and no argument has them."""
    address = f"{database_url}&sslpassword=hun%20ter2"
    if not as_url:
        found = psycopg.conninfo.conninfo_to_dict(address)
        address = psycopg.conninfo.make_conninfo("", **found)
    environ = {**os.environ, "DAMA_DATABASE_URL": address}
    show = "tr '\\0' ' ' < /proc/$PPID/cmdline; cat $PGSERVICEFILE"
    done = subprocess.run(
        [DAMA, "db", "psql", "--", "-X", "-t", "-c", "SELECT 6 * 7", "-c", r"\connect", "-c",
         "SELECT 6 * 7", "-c", rf"\! {show}"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("42") == 2
    arguments, _, file = done.stdout.partition("[dama]")
    assert "psql" in arguments
    assert "ter2" not in arguments
    assert "sslpassword=hun ter2" in file


def test_all_that_libpq_hides_is_split_off():
    """Also what a newer libpq knows."""
    options = psycopg.pq.Conninfo.get_defaults()
    hidden = {bytes(option.keyword).decode() for option in options if option.dispchar == b"*"}
    assert hidden >= {"password", "sslpassword"}
    given = dict.fromkeys(hidden, "x")
    address, secrets = split_secrets(psycopg.conninfo.make_conninfo("host=h", **given))
    assert (address, secrets) == ("host=h", given)
