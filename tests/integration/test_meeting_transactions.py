"""A step's transaction that gives way to another one is done again, and costs no try."""

import asyncio
import threading
from collections import Counter

import psycopg
import pytest

from dama import Service, Task
from dama.run import steps

meeting = Service("meeting")
SIDES = ("left", "right")
called = Counter()
barrier = threading.Barrier(2)
PAIRS = {
    "schema": ["CREATE SCHEMA IF NOT EXISTS met"],
    "table": ["CREATE TABLE IF NOT EXISTS public.met (n int)"],
    "function": ["CREATE OR REPLACE FUNCTION public.met() RETURNS int RETURN 1"],
    "grant": ["GRANT SELECT ON public.pair TO PUBLIC"],
    "view": ["CREATE OR REPLACE VIEW public.seen AS SELECT * FROM public.pair"],
    "rows": [
        "UPDATE public.pair SET n = n + 1 WHERE side = 'left'",
        "UPDATE public.pair SET n = n + 1 WHERE side = 'right'",
    ],
}


def do_statements(connection, pair, side):
    """What both do, each from its own side on; they meet before the first and after it."""
    statements = PAIRS[pair] if side == "left" else PAIRS[pair][::-1]
    called[side] += 1
    if called[side] == 1:
        barrier.wait(30)
    for statement in statements:
        connection.execute(statement)
        if called[side] == 1 and statement is not statements[-1]:
            barrier.wait(30)


@meeting.task
async def both(task: Task, pair: str) -> None:
    """Two transactions at once."""
    await asyncio.gather(*(task.transaction(side, do_statements, pair, side) for side in SIDES))


@pytest.mark.parametrize("pair", PAIRS)
def test_transactions_that_make_or_change_the_same_are_both_done(pair, dama):
    called.clear()
    with psycopg.connect(dama.database_url) as connection:
        connection.execute("CREATE TABLE public.pair (side text, n int)")
        connection.execute("INSERT INTO public.pair VALUES ('left', 0), ('right', 0)")

    ran = dama.run(both, {"pair": pair})

    assert (ran.status, set(ran.steps)) == ("DONE", set(SIDES)), ran.error
    with psycopg.connect(dama.database_url) as connection:
        counts = {n for (n,) in connection.execute("SELECT n FROM public.pair")}
    assert counts == ({2} if pair == "rows" else {0})


def fail(connection, state):
    called[state] += 1
    connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'met' USING ERRCODE = '{state}'; END $$")


@meeting.task(retries=1, backoff=0)
async def fails(task: Task, state: str) -> None:
    """Fail in the same way each time."""
    await task.transaction("fail", fail, state)


@pytest.mark.parametrize("state", ["40001", "40P01", "23505", "42P07", "XX000"])
def test_what_always_gives_way_fails_in_the_end_and_other_errors_at_once(state, dama, monkeypatch):
    monkeypatch.setattr(steps, "LONGEST_PAUSE", 0)
    called.clear()
    ran = dama.run(fails, {"state": state})
    tries = 1 + steps.MEETINGS if state.startswith("40") else 1
    assert (ran.status, called[state]) == ("ERROR", 2 * tries)
