"""Clusters of a test's own: programs of PostgreSQL on them, and what they ask for."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg

from dama.embedded import launcher
from dama.embedded.account import choose_account

OTHERS = sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def command(server, data, program, *arguments, cwd):
    """Execute a program of PostgreSQL as the account that the data belong to; its output."""
    account = choose_account(data)
    account.own(cwd)
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-S", launcher.__file__, account.word),
            str(server.binaries / program),
            *map(str, arguments),
        ],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def configure(url, **settings):
    """Set what a server reads when it starts."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")


def values(url, query, *params):
    """The rows of a query."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query, params or None).fetchall()


def dump(binaries, source):
    """What pg_dump tells of a database, for whoever owns it then."""
    options = ("--no-owner", "--no-privileges")
    return _spoken(binaries / "pg_dump", *options, source)


def restore(binaries, dumped, target):
    """A dump into an empty database."""
    _spoken(binaries / "psql", "-qX", "-v", "ON_ERROR_STOP=1", target, told=dumped)


def _spoken(*arguments, told=b""):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(arguments, input=told, capture_output=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
