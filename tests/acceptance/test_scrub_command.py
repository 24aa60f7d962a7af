"""`dama scrub` as it is used: the secret comes from anywhere but the command line."""

import psycopg
import pytest

SECRET = "tok-4711-xyz"  # noqa: S105 - made for the test


@pytest.fixture
def typed(dama):
    """Type a command; returns what it printed and its exit code."""

    def run(*arguments, stdin="", **environ):
        done = dama(*arguments, text=stdin, **environ)
        return done.stdout + done.stderr, done.returncode

    return run


def test_a_secret_that_was_printed_is_gone_from_all_that_shows_it(typed, tmp_path, database_url):
    """From logs, results and events; the act can be read."""
    script = f"""echo it is {SECRET}; printf '"{SECRET}"' > $DAMA_RESULT"""
    assert typed("run", "--", "sh", "-c", script)[1] == 0
    assert SECRET in typed("logs", "1")[0]
    looked, code = typed("scrub", "--all", "--dry-run", stdin=f"{SECRET}\n")
    assert (code, "Would strike" in looked) == (0, True)
    assert SECRET in typed("show", "1", "--json")[0]

    told, code = typed("scrub", "1", "--env", "OLD", "--reason", "leaked", OLD=SECRET)
    assert code == 0, told
    assert SECRET not in told
    for command in (("logs", "1"), ("show", "1", "--json"), ("events", "1", "--json"), ("ls",)):
        assert SECRET not in typed(*command)[0], command
    assert "leaked" in typed("events", "2", "--json")[0]
    (tmp_path / "secret").write_text(SECRET)
    assert "rows: 0." in typed("scrub", "--all", "--file", "secret")[0]
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
def test_what_is_wanted_is_said(typed, arguments, said):
    """Nothing is struck by mistake."""
    text, code = typed("scrub", *arguments)
    assert (code, said in text) == (2, True), text
