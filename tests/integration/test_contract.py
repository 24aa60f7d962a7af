"""The table of docs/concepts/tasks.md: what happens to what a task has written, cell by cell."""

import asyncio
import re
import sys
from pathlib import Path

import psycopg
import pytest

from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.run.starts import start_of
from dama.store import Store
from dama.worker.worker import Worker
from tests.conftest import fresh_database
from tests.integration.contract import COLUMNS, ROWS, contract, lasting, limited

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/concepts/tasks.md"
ONCE = dict.fromkeys(COLUMNS, 1)
ENDED = {**{column: ["DONE"] for column in COLUMNS}, "cancelled": ["CANCELLED"]}
QUEUE = "SELECT task FROM _data_manager_admin.run_queue WHERE state <> ALL (%s)"
TYPES = "SELECT etl_context_id FROM _data_manager_admin.event_store_prototype WHERE type LIKE %s"
WORK = """
import asyncio, sys
from tests.integration.contract import contract
from tests.integration.interrupting import work
asyncio.run(work(contract, sys.argv[1], 60))
"""
# What is true of each row, column by column.
CELLS = {
    "a step": {"noted": ONCE},
    "a transaction": {"inserted": ONCE},
    "an event": {"moved": ONCE},
    "a read": {"result": {**dict.fromkeys(COLUMNS, True), "cancelled": None}, "moved": ONCE},
    "an awaited subtask": {"children": ENDED},
    "a started subtask": {"children": ENDED},
    "a wait": {"waits": ONCE, "result": {**dict.fromkeys(COLUMNS, 1), "cancelled": None}},
    "plain code": {"noted": {**dict.fromkeys(COLUMNS, 2), "cancelled": 1}},
    "finally": {
        "noted": {"parked": 2, "killed": 1, "cancelled": 1, "timed out": 2, "failed": 2},
        "inserted": {"parked": 1, "killed": 1, "cancelled": 0, "timed out": 1, "failed": 1},
    },
    "a clean-up": {"cleaned": {**dict.fromkeys(COLUMNS, 0), "cancelled": 1}},
}


@pytest.fixture(scope="module", params=COLUMNS)
def facts(request, server, template, tmp_path_factory):
    """What is true after all rows have been at the place of a column."""
    folder = tmp_path_factory.mktemp("noted")
    for url in fresh_database(server, template):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE public.contract (name text)")
            yield request.param, asyncio.run(Column(request.param, url, folder, connection).facts())


class Column:
    """All rows at the place of one column."""

    def __init__(self, name, url, folder, connection):
        self.name, self.url, self.folder, self.connection = name, url, folder, connection

    async def facts(self):
        async with Store.opened(self.url) as store, asyncio.timeout(50):
            self.store = store
            task = limited if self.name == "timed out" else lasting
            params = {"column": self.name, "folder": str(self.folder)}
            self.contexts = await store.start([start_of(task, {"row": r, **params}) for r in ROWS])
            if self.name == "killed":
                await self._killed()
            park_after = 0 if self.name == "parked" else 60
            async with self._worker(park_after).working():
                await self._at_the_place()
                await self._until_ended()
            return {
                row: await self._facts_of(row, context)
                for row, context in zip(ROWS, self.contexts, strict=True)
            }

    def _worker(self, park_after):
        home = self.folder / "home"
        return Worker(self.store, Registry([contract]), park_after=park_after, home=home)

    async def _killed(self):
        """A worker that is killed when all of them wait."""
        arguments = [sys.executable, "-c", WORK, self.url]
        process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT)
        try:
            await self._until(self._all_wait)
        finally:
            process.kill()
            await process.wait()

    async def _at_the_place(self):
        """Until all are where the column has them; then they may continue."""
        if self.name == "parked":
            await self._until(lambda: not self._rows(QUEUE, ["waiting"]))
        elif self.name == "timed out":
            await self._until(lambda: len(self._rows(TYPES, "%:RETRYING")) == len(ROWS))
        elif self.name == "cancelled":
            await self._until(self._all_wait)
            await self.store.cancel(self.contexts, "not needed", {})

    async def _until_ended(self):
        """Signals for whoever waits, until all have ended, and their clean-ups."""
        told = set()
        while self._rows(QUEUE, []):
            for context in set() if self.name == "cancelled" else self._waiting() - told:
                told.add(context)
                await self.store.append(context, [Event("go", 1)])
            await asyncio.sleep(0.05)

    async def _until(self, condition):
        while not condition():  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.05)

    def _all_wait(self):
        """The tasks of the rows, but for that which waits for its subtask; and both subtasks."""
        return len(self._waiting()) == len(ROWS) + 1

    def _waiting(self):
        return {context for (context,) in self._rows(TYPES, "%/wait:go:WAITING")}

    def _rows(self, query, argument):
        return self.connection.execute(query, [argument]).fetchall()

    async def _facts_of(self, row, context):
        events = await self.store.events(context, limit=1000)
        types = [event.type.rpartition("/")[2] for event in events]
        tree = await self.store.tree(context)
        file = self.folder / row
        rows = await self.store.contexts(task="contract.clean", limit=100)
        firsts = [(await self.store.events(each.context_id, limit=1))[0].meta for each in rows]
        own = next(each for each in tree if each.context_id == context)
        assert own.status == ("CANCELLED" if self.name == "cancelled" else "DONE"), events[-1]
        result = events[-1].payload if own.status == "DONE" else None
        inserted = "SELECT count(*) FROM public.contract WHERE name = %s"
        return {
            "result": result,
            "noted": len(file.read_text().splitlines()) if file.exists() else 0,
            "inserted": self.connection.execute(inserted, [row]).fetchone()[0],
            "moved": types.count("moved"),
            "waits": types.count("wait:go:WAITING"),
            "children": [each.status for each in tree if each.parent_id == context],
            "cleaned": [meta["cleans_up"] for meta in firsts].count(context),
        }


@pytest.mark.parametrize("row", ROWS)
def test_cell(facts, row):
    column, found = facts
    wanted = {name: columns[column] for name, columns in CELLS[row].items()}
    assert {name: found[row][name] for name in wanted} == wanted


def test_each_cell_of_the_table_has_its_test():
    lines = [line.strip("| ") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    assert tuple(table[0][1:]) == COLUMNS
    assert [re.sub("`|<.*", "", row[0]).split(":")[0] for row in table[2:]] == list(ROWS)
    for row in table[2:]:
        assert len(row) == len(COLUMNS) + 1, row
        assert all(row), row
    assert set(CELLS) == set(ROWS)
    for columns in CELLS.values():
        assert all(set(each) == set(COLUMNS) for each in columns.values())
