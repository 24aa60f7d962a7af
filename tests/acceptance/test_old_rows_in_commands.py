"""Commands on contexts that hold what older writers stored: they end well, and say something."""

import json

import psycopg
import pytest

from tests.integration.old_rows import digits, nested, store_row

POISON = {
    "5,000 digits": digits(5000),
    "60,000 digits": digits(60_000),
    "1,100 levels": nested(1100),
    "5,000 levels": nested(5000),
}
TASKS = """
from dama import Service, Task
old = Service("old")

@old.task
async def load(task: Task) -> int:
    return 7
"""


@pytest.fixture
def project(tmp_path):
    """A folder with a task."""
    (tmp_path / "tasks.py").write_text(TASKS)
    (tmp_path / "dama.toml").write_text('services = ["tasks"]\n')
    return tmp_path


def well(done):
    """What a command printed that ended well."""
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert done.stdout.strip()
    return done.stdout


@pytest.fixture
def odd(database_url):
    """Make a context of the types given, which all hold the same."""

    def make(payload, *types, meta="NULL"):
        with psycopg.connect(database_url, autocommit=True) as sql:
            item = {"task": "old.load", "event": {"type": "old.load:INITIAL", "payload": {}}}
            statement = "SELECT context_id FROM _data_manager_admin.start_contexts(%s)"
            (context,) = sql.execute(statement, [json.dumps([item])]).fetchone()
        for type_ in types:
            store_row(database_url, context, type_, payload, meta)
        with psycopg.connect(database_url, autocommit=True) as sql:  # as the ERROR did it
            if "old.load:ERROR" in types:
                ended = "SELECT _data_manager_admin.settle_runs(%s::bigint[], %s::bigint[])"
                sql.execute(ended, [[context], [context]])
        return context

    return make


@pytest.mark.parametrize("name", POISON)
def test_what_reads_a_context_reads_what_is_odd(dama, odd, name):
    """As text and as JSON, while it is open and when it has ended."""
    payload = POISON[name]
    contexts = [
        odd(payload, "odd", "old.load/a:DONE", "old.load:PROGRESS"),
        odd(payload, "old.load:FINAL"),
    ]

    for context in contexts:
        for command in ("show", "events", "state", "tree"):
            assert str(context) in well(dama(command, context)) or command in ("events", "state")
        for command in ("show", "events", "state"):
            assert "9" * 5000 in (told := well(dama(command, context, "--json"))) or "[" in told
    well(dama("events", "--all"))


@pytest.mark.parametrize("name", POISON)
def test_a_run_that_failed_with_what_is_odd_is_resumed(dama, odd, name):
    context = odd(POISON[name], "odd", "old.load:ERROR")

    well(dama("show", context))
    well(dama("resume", context))

    assert "DONE" in well(dama("show", context))


def test_odd_meta_is_read_too(dama, odd):
    for payload in POISON.values():
        context = odd("'1'", "odd", "old.load:ERROR", meta=payload)
        for command in ("show", "events", "state", "tree"):
            well(dama(command, context))
        well(dama("resume", context))


@pytest.mark.parametrize(
    "command", [("lineage",), ("schedule", "show"), ("ls", "--task"), ("queue", "why"), ("call",)]
)
def test_an_argument_that_is_not_utf_8_is_refused(dama, command):
    done = dama(*command, "caf\udcff")
    assert done.returncode not in {0, 1}
    assert "bug" not in done.stderr
    assert "Error: " in done.stderr
