"""Every function of the schema locks in the order of docs/concepts/locks.md.

Read from the sources as the database has them: a function that is added is looked at as well.
"""

import re

import psycopg
import pytest

ARCHIVE, TREES, CONTEXTS, KEYS, QUEUES, WORKERS, RUNS = range(7)
TABLES = {"etl_context": CONTEXTS, "queue_setting": QUEUES, "worker": WORKERS, "run_queue": RUNS}
ADVISORY = {"1635017576": ARCHIVE, "1953653093": TREES, "1801812339": KEYS}
S = r"_data_manager_admin\."
LOCKING = re.compile(
    # A statement that locks rows of a table, as far as the end of its FOR UPDATE.
    rf"(?:UPDATE|DELETE FROM) {S}(?P<written>\w+)"
    rf"|FROM {S}(?P<read>\w+)[^;]*?FOR (?:NO KEY UPDATE|UPDATE|KEY SHARE)(?: OF \w+)?"
    r"(?P<skips> SKIP LOCKED)?"
    r"|pg_advisory_xact_lock(?:_shared)?\((?P<advisory>\d+)"
    rf"|{S}(?P<called>\w+)\("
)
# What a function waits for only because it does not know that its caller, or itself, has it.
HAD = {
    "settle_runs": {CONTEXTS},  # the caller appends to them
    "end_late": {CONTEXTS, KEYS},  # lock_ends() has tried
    "start_clean_ups": {TREES},  # what it starts has no parent, so start_contexts locks no tree
    "start_contexts": {
        CONTEXTS,
        KEYS,
    },  # the parent was locked before the keys; its SPAWNED is OPEN
    "resume_tree": {CONTEXTS, KEYS},  # what is reopened has no run, so nothing of line 6 is held
    "fork_context": {KEYS},  # what it made is known to nobody yet
    "place_runs": {CONTEXTS, KEYS},  # it has tried the contexts; a PLACED ends nothing, so no keys
    "unplace_run": {CONTEXTS, KEYS},  # locked before the run
    "rebuild": {CONTEXTS},  # alone with the tables, while no worker lives
    "rebuild_queue": {CONTEXTS, KEYS, WORKERS},  # the same
}


@pytest.fixture
def functions(database_url):
    """The source of each function, by name."""
    query = """
    SELECT proname, string_agg(prosrc, E';\n') FROM pg_proc
      WHERE pronamespace = '_data_manager_admin'::regnamespace GROUP BY proname
    """
    with psycopg.connect(database_url) as connection:
        return {
            name: re.sub(r"--[^\n]*", "", source)
            for name, source in connection.execute(query).fetchall()
        }


def taken(functions, name, had, above=()):
    """The lines of the table that a function waits for, in its order, with what it calls."""
    for found in LOCKING.finditer(functions[name]):
        if found["advisory"]:
            yield ADVISORY.get(found["advisory"], KEYS)
        elif found["called"] in functions and found["called"] not in (name, *above):
            lines = taken(functions, found["called"], had, (*above, name))
            yield from (line for line in lines if line not in had.get(found["called"], ()))
        elif not found["skips"] and (table := found["written"] or found["read"]) in TABLES:
            yield TABLES[table]


def wrong_ones(functions, had):
    """Which functions wait for something of an earlier line than what they have."""
    wrong = {}
    for name in functions:
        held = 0
        for line in taken(functions, name, had):
            if line < held and line not in had.get(name, ()):
                wrong.setdefault(name, []).append((held, line))
            held = max(held, line)
    return wrong


def test_each_function_locks_in_the_one_order(functions):
    """Who has something of a later line never waits for something of an earlier one."""
    assert wrong_ones(functions, HAD) == {}


def test_the_locks_of_functions_are_seen(functions):
    """The check would pass, too, if it found none."""
    assert list(dict.fromkeys(taken(functions, "cancel_trees", HAD)))[:2] == [TREES, CONTEXTS]
    assert RUNS in taken(functions, "park_run", HAD)
    assert KEYS in taken(functions, "settle_runs", HAD)
    assert list(taken(functions, "try_lock_tree", HAD)) == []
    backwards = """
      PERFORM FROM _data_manager_admin.run_queue q FOR UPDATE;
      PERFORM FROM _data_manager_admin.etl_context c FOR NO KEY UPDATE;
    """
    assert wrong_ones({"f": backwards}, {}) == {"f": [(RUNS, CONTEXTS)]}


def test_what_functions_compose_waits_for_no_row(functions):
    """A statement of text is not read above: it may only try."""
    locking = re.compile(r"%\d?\$?I[^;]*?FOR (?:NO KEY )?UPDATE(?! SKIP LOCKED)")

    assert "FOR UPDATE SKIP LOCKED" in functions["scrub_table"]
    assert [name for name, source in functions.items() if locking.search(source)] == []


def test_every_exception_is_needed(functions):
    """One that is not would hide what is wrong tomorrow."""
    needless = [
        name
        for name in HAD
        if wrong_ones(functions, {k: v for k, v in HAD.items() if k != name}) == {}
    ]
    assert needless == []
