"""What statements touch: their plans, executed, with the rows that each node of them met."""

import json
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files
from typing import Self

import psycopg

from dama.store import Store, session
from dama.store.database import Database

EXPLAIN = """
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_format = json;
SET client_min_messages = log;
"""
GROWING = {
    "activity_count", "queue_sample",
    "etl_context", "event_store_prototype", "event_log", "run_queue",
    "archived_context", "archived_event", "subscription_parked",
}  # fmt: skip

# What a role, a database or a server may say.
SWITCHES = (
    "SET enable_nestloop = off",
    "SET enable_sort = off; SET enable_material = off; SET enable_memoize = off",
    "SET enable_indexonlyscan = off",
    "SET join_collapse_limit = 1; SET from_collapse_limit = 1; SET geqo_threshold = 2",
    "SET plan_cache_mode = force_custom_plan",
    "SET effective_cache_size = '8kB'; SET work_mem = '64kB'; SET cursor_tuple_fraction = 1",
    "SET effective_cache_size = '1TB'; SET work_mem = '1GB'; SET cursor_tuple_fraction = 0",
    "SET random_page_cost = 1000; SET seq_page_cost = 0.001",
    "SET random_page_cost = 0; SET seq_page_cost = 1000; SET cpu_tuple_cost = 100",
    "SET cpu_index_tuple_cost = 1000; SET cpu_operator_cost = 1000",
    "SET debug_parallel_query = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0",
)


class Recording(Database):
    """A database that remembers what it was asked."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)
        self.asked: list[tuple[str, object]] = []

    async def rows(self, name, params=None, *, again=True):
        """As usual."""
        self.asked.append((name, params))
        return await super().rows(name, params, again=again)


class Explained:
    """A session that tells the plans of what it executes.

    It is one for all modes of planning: a connection for each would compile the functions anew.

    Args:
        url: The database.
    """

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.add_notice_handler(self._keep)
        self._connection.execute("LOAD 'auto_explain'")
        self._found: list[dict] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def plan_by(self, mode: str, setting: str = "") -> None:
        """Plan from now on by this mode and setting; what was planned before is forgotten."""
        self._connection.execute("DISCARD ALL")
        self._connection.execute(setting)
        session.pin_blocking(self._connection, alone=True)
        self._connection.execute(EXPLAIN)
        self._connection.execute(f"SET plan_cache_mode = {mode}")

    def plans(self, query: str | bytes, params: object) -> Iterator[dict]:
        """The plans of a statement and of all that its functions execute, with what was read."""
        self._found.clear()
        with self._connection.transaction(force_rollback=True):  # what writes is asked again
            self._connection.execute(query, params, prepare=True)
        for plan in self._found:
            yield from nodes(plan)

    def _keep(self, notice: psycopg.errors.Diagnostic) -> None:
        text = notice.message_primary or ""
        if "plan:" in text:
            self._found.append(json.loads(text.partition("plan:")[2])["Plan"])


def plans_of_query(url: str, query: str, params: object) -> Iterator[dict]:
    """The plans of one statement, as a session plans that nobody set anything for."""
    with Explained(url) as explained:
        explained.plan_by("auto")
        yield from explained.plans(query, params)


def nodes(plan: dict) -> Iterator[dict]:
    """A plan's nodes."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def touched(node: dict) -> float:
    """How many rows a node met."""
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return (node["Actual Rows"] + removed) * node["Actual Loops"]


async def assert_bounded(
    url: str, store: Store, read: Callable[[Store], Awaitable[object]], most: int
) -> None:
    """No node of a plan scans a table that grows, or meets more rows than `most`."""
    store.database.asked.clear()
    await read(store)

    asked = [
        (files("dama.store").joinpath("sql", f"{name}.sql").read_bytes(), params)
        for name, params in store.database.asked
    ]
    modes = [("auto", ""), *(("force_generic_plan", each) for each in ("", *SWITCHES))]
    with Explained(url) as explained:
        for mode, setting in modes:
            explained.plan_by(mode, setting)
            for query, params in asked:
                for node in explained.plans(query, params):
                    scanned = node["Node Type"] == "Seq Scan"
                    scanned = scanned and node.get("Relation Name") in GROWING
                    assert not scanned, (setting, json.dumps(node))
                    assert touched(node) <= most, (setting, json.dumps(node))
