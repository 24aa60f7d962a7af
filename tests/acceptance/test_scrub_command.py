"""`dama scrub` as it is used: the secret comes from anywhere but the command line."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

DAMA = str(Path(sys.executable).with_name("dama"))
SECRET = "tok-4711-xyz"  # noqa: S105 - made for the test


@pytest.fixture
def dama(tmp_path, database_url):
    """Run a command in a folder of its own; returns what it printed and its exit code."""

    def run(*arguments, stdin="", **environ):
        done = subprocess.run(
            [DAMA, *arguments], cwd=tmp_path, input=stdin, capture_output=True, text=True,
            check=False, env={**os.environ, "DAMA_DATABASE_URL": database_url, **environ},
        )  # fmt: skip
        return done.stdout + done.stderr, done.returncode

    return run


def test_a_secret_that_was_printed_is_gone_from_all_that_shows_it(dama, tmp_path, database_url):
    """From logs, results and events; the act can be read."""
    script = f"""echo it is {SECRET}; printf '"{SECRET}"' > $DAMA_RESULT"""
    assert dama("run", "--", "sh", "-c", script)[1] == 0
    assert SECRET in dama("logs", "1")[0]
    looked, code = dama("scrub", "--all", "--dry-run", stdin=f"{SECRET}\n")
    assert (code, "Would strike" in looked) == (0, True)
    assert SECRET in dama("show", "1", "--json")[0]

    told, code = dama("scrub", "1", "--env", "OLD", "--reason", "leaked", OLD=SECRET)
    assert code == 0, told
    assert SECRET not in told
    for command in (("logs", "1"), ("show", "1", "--json"), ("events", "1", "--json"), ("ls",)):
        assert SECRET not in dama(*command)[0], command
    assert "leaked" in dama("events", "2", "--json")[0]
    (tmp_path / "secret").write_text(SECRET)
    assert "rows: 0." in dama("scrub", "--all", "--file", "secret")[0]
    with psycopg.connect(database_url) as database:
        assert database.execute(
            "SELECT count(*) FROM _data_manager_admin.etl_context"
        ).fetchone() == (2,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--all",), "0 characters"),
        (("--all", "--env", "NOWHERE"), "no variable NOWHERE"),
        (("--all", "--file", "nowhere"), "cannot be read"),
        (("--all", "--env", "A", "--file", "b"), "Give one of them"),
        ((), "What is to be searched"),
        (("1", "--all"), "What is to be searched"),
        (("--all", "--tree"), "What is to be searched"),
    ],
)
def test_what_is_wanted_is_said(dama, arguments, said):
    """Nothing is struck by mistake."""
    text, code = dama("scrub", *arguments)
    assert (code, said in text) == (2, True), text
